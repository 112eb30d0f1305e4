"""How a worker is reached: address, TLS, token, limits; the same for calls and for Flight."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import grpc

MESSAGE_MAX_BYTES = 64 * 1024 * 1024

Pem = bytes | str | os.PathLike[str]

_OPTIONS: tuple[tuple[str, int], ...] = (
    ("grpc.max_receive_message_length", MESSAGE_MAX_BYTES),
    ("grpc.max_send_message_length", MESSAGE_MAX_BYTES),
    # A fault travels in the trailers; with long causes it passes the 8 KiB that gRPC allows otherwise.
    ("grpc.max_metadata_size", 256 * 1024),
    ("grpc.absolute_max_metadata_size", 256 * 1024),
    # A worker whose machine is gone is noticed within 40 s, also while nothing but a watch is open.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    # While another ping of gRPC's own is on its way, such as one that measures the line, it sends none to keep alive.
    ("grpc.http2.ping_timeout_ms", 10_000),
    ("grpc.http2.max_pings_without_data", 0),
    # A restarted worker is found again within about two seconds; gRPC's own pause grows to two minutes.
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 2_000),
    # A machine that answers nothing at all is given up after this long; gRPC's own patience is 20 s.
    ("grpc.min_reconnect_backoff_ms", 5_000),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TLSConfig:
    """Certificates as PEM bytes or as paths of PEM files; all absent: the system's authorities."""

    root_certificates: Pem | None = None
    client_certificate: Pem | None = None
    """With `client_key`: for a worker that asks for the client's certificate."""
    client_key: Pem | None = field(default=None, repr=False)
    server_name: str | None = None
    """The name in the worker's certificate, when it is not the one in the address."""

    def __post_init__(self) -> None:
        # gRPC ends the whole process when it is given one without the other.
        if (self.client_certificate is None) != (self.client_key is None):
            raise ValueError("TLSConfig: client_certificate and client_key go together, but only one is given")


@dataclass(frozen=True, slots=True)
class Connection:
    """Where a worker is and what is sent with every call."""

    target: str
    tls: TLSConfig | None = None
    metadata: tuple[tuple[str, str], ...] = field(default=(), repr=False)

    @classmethod
    def of(
        cls, target: str, tls: bool | TLSConfig, token: str | None, metadata: Mapping[str, str] | None
    ) -> Connection:
        """Checks the arguments of a client.

        Raises:
            ValueError: the target is not `host:port`.

        """
        (found,) = cls.several(target, tls, token, metadata)
        return found

    @classmethod
    def several(
        cls,
        targets: str | Iterable[str],
        tls: bool | TLSConfig,
        token: str | None,
        metadata: Mapping[str, str] | None,
    ) -> tuple[Connection, ...]:
        """One connection for each target, `host:port`; a text may name several with commas between them.

        Raises:
            ValueError: a target is not `host:port`, or there is none.

        """
        named = targets.split(",") if isinstance(targets, str) else list(targets)
        for target in named:
            host, _, port = target.strip().rpartition(":")
            if not host or not port.isdigit() or "/" in target:
                raise ValueError(f"target: found {target!r}, expected host:port, e.g. 'localhost:7070'")
        if not named:
            raise ValueError("target: found none, expected host:port, e.g. 'localhost:7070'")
        pairs = [(name.lower(), value) for name, value in (metadata or {}).items()]
        if token is not None:
            pairs.append(("authorization", f"Bearer {token}"))
        config = (TLSConfig() if tls else None) if isinstance(tls, bool) else tls
        return tuple(cls(target.strip(), config, tuple(pairs)) for target in named)

    @property
    def encrypted(self) -> bool:
        """Whether TLS is spoken."""
        return self.tls is not None

    @property
    def certified(self) -> bool:
        """Whether a certificate of the client's own is shown."""
        return self.tls is not None and self.tls.client_certificate is not None

    def open(self, module: Any) -> Any:
        """A channel of this module, `grpc` or `grpc.aio`; the first call connects it."""
        credentials, options = self.credentials(), self.options()
        if credentials is None:
            return module.insecure_channel(self.target, options=options)
        if self.tls is not None and self.tls.server_name:
            options.append(("grpc.ssl_target_name_override", self.tls.server_name))
        return module.secure_channel(self.target, credentials, options=options)

    def options(self) -> list[tuple[str, int | str]]:
        """Channel options of gRPC, for calls and for Flight, but for the name of the certificate."""
        return list(_OPTIONS)

    def credentials(self) -> grpc.ChannelCredentials | None:
        """Channel credentials of gRPC; None: no TLS."""
        import grpc

        if self.tls is None:
            return None
        return grpc.ssl_channel_credentials(
            pem_bytes(self.tls.root_certificates),
            pem_bytes(self.tls.client_key),
            pem_bytes(self.tls.client_certificate),
        )


def pem_bytes(value: Pem | None) -> bytes | None:
    """PEM bytes as they are, or out of the file that is named."""
    return value if value is None or isinstance(value, bytes) else Path(value).read_bytes()
