"""TLS, certificates of clients, and tokens: asked for by the worker itself, for calls and for rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pyarrow.flight
import pytest
from local_stack.certificates import Authority
from local_stack.worker import LocalWorker

import moulin
from moulin import TLSConfig

TOKEN = "first-token-of-the-tests"
OTHER = "second-token-of-the-tests"


class Secure:
    """A worker that asks for a token and a client's certificate, and all that a client of it may know."""

    def __init__(self, new_worker: Callable[..., LocalWorker], folder: Path) -> None:
        self.authority = Authority(folder / "ours", "ours")
        self.stranger = Authority(folder / "theirs", "theirs")
        server = self.authority.issue("worker.test")
        self.mine = self.authority.issue("client.test")
        self.worker = new_worker(
            MOULIN_TLS_CERTIFICATE=str(server[0]),
            MOULIN_TLS_PRIVATE_KEY=str(server[1]),
            MOULIN_TLS_CLIENT_CA=str(self.authority.certificate),
            MOULIN_AUTH_TOKENS=f"{TOKEN}, {OTHER}",
            MOULIN_LOG="info,h2=trace,hyper=trace,tonic=trace,tower=trace,rustls=trace",
        )
        self.worker.start()

    def tls(self, **changes: Any) -> TLSConfig:
        """What a client has to know; `changes` of it."""
        known = {
            "root_certificates": self.authority.certificate,
            "client_certificate": self.mine[0],
            "client_key": self.mine[1],
            "server_name": "worker.test",
        }
        return TLSConfig(**{**known, **changes})

    def client(self, token: str | None = TOKEN, **changes: Any) -> moulin.Client:
        return moulin.Client(self.worker.address, tls=self.tls(**changes), token=token, timeout=10)


@pytest.fixture(scope="module")
def secure(new_worker: Callable[..., LocalWorker], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secure]:
    found = Secure(new_worker, tmp_path_factory.mktemp("certificates"))
    yield found
    assert found.worker.alive()


@pytest.fixture
def landed(secure: Secure, people: Path, table: str) -> moulin.JobHandle:
    """A job that has landed, of a client that stays open."""
    spec = moulin.JobSpec(source=moulin.csv(people, null_values=["NA"]), target=moulin.iceberg(table))
    return secure.client().submit(spec).wait(60)


def test_calls_and_rows_travel_encrypted(secure: Secure, landed: moulin.JobHandle, table: str) -> None:
    assert landed.to_arrow().num_rows == 1000
    with secure.client(OTHER) as client:
        assert client.get(landed.job_id).state == "succeeded"
        assert client.query(f"SELECT count(*) AS n FROM {table}").read_all()["n"].to_pylist() == [1000]


async def test_asyncio_asks_in_the_same_way(secure: Secure, landed: moulin.JobHandle) -> None:
    async with moulin.AsyncClient(secure.worker.address, tls=secure.tls(), token=TOKEN) as client:
        handle = await client.job(landed.job_id)
        assert sum([batch.num_rows async for batch in handle.batches()]) == 1000
    async with moulin.AsyncClient(secure.worker.address, tls=secure.tls(), token="wrong") as client:
        with pytest.raises(moulin.PermissionDenied, match="token is not one that this worker knows"):
            await client.get(landed.job_id)
    unknown = secure.tls(root_certificates=secure.stranger.certificate)
    async with moulin.AsyncClient(secure.worker.address, tls=unknown, token=TOKEN, timeout=10) as client:
        with pytest.raises(moulin.PermissionDenied, match="is not trusted"):
            await client.get(landed.job_id)


@pytest.mark.parametrize(
    ("token", "words"),
    [(None, "carries no token"), ("wrong", "not one that this worker knows"), (TOKEN[:-1], "not one")],
)
def test_a_call_without_the_token_is_refused_in_words(secure: Secure, token: str | None, words: str) -> None:
    with secure.client(token) as client, pytest.raises(moulin.PermissionDenied, match=words) as caught:
        client.describe()
    assert not caught.value.retryable
    assert "[auth]" in caught.value.hint


def test_a_client_without_a_certificate_is_refused_in_words(secure: Secure) -> None:
    with secure.client(client_certificate=None, client_key=None) as client:
        with pytest.raises(moulin.PermissionDenied, match="showed no certificate") as caught:
            client.describe()
        assert "certificate" in caught.value.hint
        with pytest.raises(moulin.PermissionDenied, match="showed no certificate"):
            client.query("SELECT 1")


def test_a_clients_certificate_of_another_authority_is_refused(secure: Secure) -> None:
    certificate, key = secure.stranger.issue("client.test")
    shown: dict[str, Any] = {"client_certificate": certificate, "client_key": key}
    with secure.client(**shown) as client, pytest.raises(moulin.PermissionDenied) as caught:
        client.describe()
    assert "refused the client's certificate" in caught.value.message
    assert "tls.client_ca" in caught.value.hint
    assert not caught.value.retryable
    assert "no TLS handshake" in secure.worker.tail(2000)


@pytest.mark.parametrize(
    ("changes", "message", "hint"),
    [
        ({"root_certificates": "stranger"}, "is not trusted", "authority that signed it"),
        ({"root_certificates": None}, "is not trusted", "authority that signed it"),
        ({"server_name": "other.test"}, "is for another name", "server_name"),
        ({"server_name": None}, "is for another name", "server_name"),
    ],
)
def test_a_worker_that_is_not_trusted_is_not_asked_again(
    secure: Secure, changes: dict[str, Any], message: str, hint: str
) -> None:
    if changes.get("root_certificates") == "stranger":
        changes = {"root_certificates": secure.stranger.certificate}
    with secure.client(**changes) as client:
        for ask in (client.describe, lambda: client.query("SELECT 1")):
            with pytest.raises(moulin.PermissionDenied, match=message) as caught:
                ask()
            assert not caught.value.retryable
            assert hint in caught.value.hint
            assert secure.worker.address in caught.value.message


def test_a_client_without_tls_is_told_what_may_be_missing(secure: Secure) -> None:
    with moulin.Client(secure.worker.address, token=TOKEN, timeout=10) as client:
        for ask in (client.describe, lambda: client.query("SELECT 1")):
            with pytest.raises(moulin.Unavailable) as caught:
                ask()
            assert "does the worker speak TLS" in caught.value.hint


def test_a_client_with_tls_is_told_of_a_worker_without(worker: LocalWorker, secure: Secure) -> None:
    encrypted = moulin.Client(worker.address, tls=secure.tls(), timeout=10)
    with encrypted as client, pytest.raises(moulin.PermissionDenied, match="speaks no TLS"):
        client.describe()


def test_any_flight_client_reads_with_certificate_and_token(secure: Secure, landed: moulin.JobHandle) -> None:
    known = {
        "tls_root_certs": secure.authority.certificate.read_bytes(),
        "cert_chain": secure.mine[0].read_bytes(),
        "private_key": secure.mine[1].read_bytes(),
        "override_hostname": "worker.test",
    }
    path = pyarrow.flight.FlightDescriptor.for_path("job", landed.job_id)

    def rows(client: pyarrow.flight.FlightClient, *headers: tuple[bytes, bytes]) -> int:
        options = pyarrow.flight.FlightCallOptions(headers=list(headers))
        info = client.get_flight_info(path, options)
        return int(client.do_get(info.endpoints[0].ticket, options).read_all().num_rows)

    address = f"grpc+tls://{secure.worker.address}"
    with pyarrow.flight.FlightClient(address, **known) as client:
        assert rows(client, (b"authorization", f"Bearer {TOKEN}".encode())) == 1000
        for headers in ([], [(b"authorization", b"Bearer wrong")]):
            with pytest.raises(pyarrow.flight.FlightUnauthenticatedError, match="token"):
                rows(client, *headers)
        with pytest.raises(pyarrow.flight.FlightUnauthenticatedError):
            client.authenticate_basic_token("somebody", TOKEN)


def test_health_is_answered_without_a_token_and_reflection_is_not(secure: Secure) -> None:
    roots = secure.authority.certificate.read_bytes()
    options = [("grpc.ssl_target_name_override", "worker.test")]
    with grpc.secure_channel(secure.worker.address, grpc.ssl_channel_credentials(roots), options) as channel:
        health: Any = channel.unary_unary("/grpc.health.v1.Health/Check")
        assert health(b"", timeout=10) == b"\x08\x01"  # SERVING
        reflection: Any = channel.stream_stream("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo")
        with pytest.raises(grpc.RpcError) as caught:
            list(reflection(iter([b"\x3a\x00"]), timeout=10))
        assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED


def test_no_token_is_in_the_log_whatever_its_level(secure: Secure) -> None:
    for token in (TOKEN, "wrong-but-still-somebodys"):
        with secure.client(token) as client:
            try:
                client.describe()
            except moulin.PermissionDenied:
                continue
    log = secure.worker.log.read_text()
    assert "refused" in log
    assert "frame" in log, "the libraries log at their finest level here"
    for token in (TOKEN, OTHER, "wrong-but-still-somebodys"):
        assert token not in log
