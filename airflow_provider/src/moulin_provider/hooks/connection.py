"""What an Airflow connection of type `moulin` says."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from moulin_provider.hooks.local import HOST, local_target

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Connection
    from moulin.connection import TLSConfig

DEFAULT_PORT = 7070
CALL_TIMEOUT = 30.0
RECONNECT = 600.0

_WITH_PORT = re.compile(r"(\[[^\]]+\]|[^:\[\]]+):(\d+)")


def client_arguments(connection: Connection) -> dict[str, Any]:
    """What an Airflow connection says, as the arguments of a client.

    Raises:
        ValueError: a client certificate without its key, or the other way round; or this process's own worker, which
            the host `local` asks for, did not start.

    """
    extra = connection.extra_dejson
    if connection.host == HOST:
        named = [local_target(extra)]
    else:
        named = targets(connection.host or "localhost", connection.port or DEFAULT_PORT)
    return {
        "target": named,
        "tls": _tls(extra),
        "token": connection.password or None,
        "timeout": float(extra.get("timeout") or CALL_TIMEOUT),
        "reconnect": float(extra.get("reconnect") or RECONNECT),
    }


def targets(hosts: str, port: int) -> list[str]:
    """`a,b:7071,[::1]` as `host:port` each; those that name no port have the connection's."""
    named = [host.strip() for host in hosts.split(",")]
    return [_target(host, port) for host in named if host] or [f"localhost:{port}"]


def _target(host: str, port: int) -> str:
    if _WITH_PORT.fullmatch(host):
        return host
    return f"[{host}]:{port}" if ":" in host and not host.startswith("[") else f"{host}:{port}"


def _tls(extra: dict[str, Any]) -> bool | TLSConfig:
    from moulin.connection import TLSConfig

    config = TLSConfig(
        root_certificates=_pem(extra.get("ca_certificate")),
        client_certificate=_pem(extra.get("client_certificate")),
        client_key=_pem(extra.get("private_key")),
        server_name=extra.get("server_name") or None,
    )
    if config == TLSConfig():
        return _flag(extra.get("tls"))
    return config


def _pem(value: str | None) -> str | bytes | None:
    """A certificate or key as it stands in the connection, or the path of its file."""
    text = (value or "").strip()
    if not text.startswith("-----BEGIN"):
        return text or None
    # A form with one line, and a connection in an environment variable, keep line ends as two characters.
    return text.replace("\\n", "\n").encode() + b"\n"


def _flag(value: object) -> bool:
    """Connections from a form hold booleans, those from a URI hold texts."""
    return value.strip().lower() in ("1", "true", "yes", "on") if isinstance(value, str) else bool(value)
