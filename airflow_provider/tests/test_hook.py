"""The connection: hosts, TLS, the button "Test", and rows for a task downstream."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
from airflow.sdk import Connection
from local_stack.certificates import Authority
from local_stack.worker import LocalWorker
from moulin import Client, JobSpec, NotFound, csv, iceberg
from moulin.connection import TLSConfig
from moulin.errors import MoulinError

from moulin_provider.hooks.connection import client_arguments, targets
from moulin_provider.hooks.moulin import MoulinHook, id_of

NOBODY = "127.0.0.1:1"


@pytest.fixture
def connect(monkeypatch):
    """Makes a connection and gives its hook."""

    def connect(**values) -> MoulinHook:
        monkeypatch.setenv("AIRFLOW_CONN_MADE", json.dumps({"conn_type": "moulin", **values}))
        return MoulinHook("made")

    return connect


@pytest.fixture
def landed(worker, tmp_path):
    """The id of a job that landed three rows."""
    path = tmp_path / "three.csv"
    path.write_text("id\n1\n2\n3\n")
    with Client(worker.address) as client:
        return client.submit(JobSpec(source=csv(path), target=iceberg("hooked.three"))).wait().job_id


@pytest.mark.parametrize(
    ("hosts", "expected"),
    [
        ("a", ["a:7070"]),
        ("a, b:7071 ,c", ["a:7070", "b:7071", "c:7070"]),
        ("::1", ["[::1]:7070"]),
        ("[::1]:7071,[fe80::1]", ["[::1]:7071", "[fe80::1]:7070"]),
        (" ,", ["localhost:7070"]),
    ],
)
def test_hosts_without_a_port_have_that_of_the_connection(hosts, expected):
    assert targets(hosts, 7070) == expected


def test_certificates_are_paths_or_texts_and_turn_tls_on():
    pem = "-----BEGIN CERTIFICATE-----\\nabc\\n-----END CERTIFICATE-----"
    extra = {"ca_certificate": pem, "client_certificate": "/c.pem", "private_key": "/k.pem", "server_name": "w"}
    tls = client_arguments(Connection(conn_id="c", conn_type="moulin", extra=json.dumps(extra)))["tls"]
    assert tls == TLSConfig(
        root_certificates=b"-----BEGIN CERTIFICATE-----\nabc\n-----END CERTIFICATE-----\n",
        client_certificate="/c.pem",
        client_key="/k.pem",
        server_name="w",
    )


@pytest.mark.parametrize(
    ("extra", "expected"),
    [({"tls": "true"}, True), ({"tls": True}, True), ({"tls": "false"}, False), ({"tls": False}, False), ({}, False)],
)
def test_tls_is_a_boolean_or_a_text_as_forms_and_uris_give_it(extra, expected):
    connection = Connection(conn_id="c", conn_type="moulin", extra=json.dumps(extra))
    assert client_arguments(connection)["tls"] is expected


def test_a_certificate_without_its_key_fails_the_test_of_the_connection(connect):
    ok, said = connect(extra=json.dumps({"client_certificate": "/c.pem"})).test_connection()
    assert not ok
    assert "client_key" in said


TOKEN = "the-token-of-the-connection"


@pytest.fixture(scope="module")
def secure(worker, tmp_path_factory):
    """A second worker of the same store, which asks for a token and a certificate; its authority; a client's own."""
    authority = Authority(tmp_path_factory.mktemp("certificates"))
    server, mine = authority.issue("worker.test"), authority.issue("airflow.test")
    state = worker.state_dir.resolve()
    settings = {
        "MOULIN_STORE_URL": f"sqlite://{state}/jobs.db",
        "MOULIN_CATALOG_URI": f"sqlite://{state}/catalog.db",
        "MOULIN_WAREHOUSE": worker.warehouse,
        "MOULIN_TLS_CERTIFICATE": str(server[0]),
        "MOULIN_TLS_PRIVATE_KEY": str(server[1]),
        "MOULIN_TLS_CLIENT_CA": str(authority.certificate),
        "MOULIN_AUTH_TOKENS": TOKEN,
    }
    started = LocalWorker(worker.binary, tmp_path_factory.mktemp("secure"), env=settings)
    started.start()
    yield SimpleNamespace(worker=started, authority=authority, mine=mine)
    started.stop_all()


def test_certificates_and_token_of_the_form_reach_calls_and_rows(secure, landed, connect):
    known = {"ca_certificate": str(secure.authority.certificate), "server_name": "worker.test"}
    shown = {"client_certificate": secure.mine[0].read_text(), "private_key": str(secure.mine[1])}
    extra = json.dumps({**known, **shown})
    hook = connect(host="127.0.0.1", port=secure.worker.port, password=TOKEN, extra=extra)
    ok, said = hook.test_connection()
    assert ok, said
    assert hook.reader(landed).read_all().num_rows == 3


async def test_triggers_reach_a_worker_that_asks_for_certificates_and_token(secure, landed, connect):
    known = {"ca_certificate": secure.authority.certificate.read_text(), "server_name": "worker.test"}
    shown = {"client_certificate": str(secure.mine[0]), "private_key": secure.mine[1].read_text()}
    extra = json.dumps({**known, **shown})
    hook = connect(host="127.0.0.1", port=secure.worker.port, password=TOKEN, extra=extra)
    async with hook.shared_async_conn() as client:
        assert (await client.get(landed)).state == "succeeded"


async def test_a_renewed_certificate_reaches_triggers_beside_those_that_wait(secure, landed, connect, tmp_path):
    certificate, key, another = tmp_path / "c.pem", tmp_path / "k.pem", tmp_path / "new"
    for path, issued in zip((certificate, key), Authority(another).issue("airflow.test"), strict=True):
        path.write_bytes(issued.read_bytes())
    known = {"ca_certificate": str(secure.authority.certificate), "server_name": "worker.test"}
    shown = {"client_certificate": str(certificate), "private_key": str(key)}
    extra = json.dumps({**known, **shown})
    hook = connect(host="127.0.0.1", port=secure.worker.port, password=TOKEN, extra=extra)
    async with hook.shared_async_conn() as waiting:
        with pytest.raises(MoulinError):
            await waiting.get(landed)
        async with hook.shared_async_conn() as same:
            assert same is waiting
        # Renewed as secrets are: another file takes the place of the old one.
        for path, issued in zip((certificate, key), secure.mine, strict=True):
            (tmp_path / "next").write_bytes(issued.read_bytes())
            (tmp_path / "next").replace(path)
        async with hook.shared_async_conn() as renewed:
            assert (await renewed.get(landed)).state == "succeeded"


@pytest.mark.parametrize(
    ("left_out", "instead", "words"),
    [
        ("client_certificate private_key", {}, "showed no certificate"),
        ("password", {}, "carries no token"),
        ("password", {"password": "another-token-altogether"}, "not one that this worker knows"),
        ("ca_certificate", {"tls": True}, "is not trusted"),
        ("server_name", {}, "is for another name"),
        ("ca_certificate server_name client_certificate private_key", {}, "does the worker speak TLS"),
    ],
)
def test_the_connection_test_says_which_field_is_wrong(secure, connect, left_out, instead, words):
    values = {
        "ca_certificate": str(secure.authority.certificate),
        "server_name": "worker.test",
        "client_certificate": str(secure.mine[0]),
        "private_key": str(secure.mine[1]),
        "password": TOKEN,
    }
    values = {**{name: value for name, value in values.items() if name not in left_out.split()}, **instead}
    password = values.pop("password", None)
    hook = connect(host="127.0.0.1", port=secure.worker.port, password=password, extra=json.dumps(values))
    ok, said = hook.test_connection()
    assert not ok
    assert words in said, said
    assert "what to do" in said


def test_a_host_that_is_gone_is_left_for_the_next(worker, landed, connect):
    hook = connect(host=f"{NOBODY},127.0.0.1", port=worker.port)
    with hook.get_conn() as client:
        assert client.get(landed).job_id == landed
    assert hook.reader(landed).read_all()["id"].to_pylist() == [1, 2, 3]


def test_the_connection_test_tells_of_every_host(worker, connect):
    ok, said = connect(host=f"{NOBODY},127.0.0.1", port=worker.port).test_connection()
    assert not ok
    gone, well = said.split(" | ")
    assert gone.startswith(f"{NOBODY}: no answer")
    assert well.startswith(f"{worker.address}: moulin ")
    assert "catalog ok" in well


def test_rows_are_read_by_the_xcom_of_the_task_that_landed_them(landed, connect, worker):
    hook = connect(host="127.0.0.1", port=worker.port)
    assert hook.reader({"job_id": landed, "rows_landed": 3}).read_all().num_rows == 3
    assert id_of(SimpleNamespace(job_id=landed)) == landed
    with pytest.raises(TypeError, match="expected a job's id"):
        hook.reader({"rows_landed": 3})
    with pytest.raises(NotFound):
        hook.reader("job-00000000000000000000")


async def test_rows_are_read_in_asyncio(landed, connect, worker):
    hook = connect(host="127.0.0.1", port=worker.port)
    assert [batch.num_rows async for batch in hook.batches(landed)] == [3]


def test_rows_that_were_left_out_are_read_too(worker, connect, tmp_path):
    path = tmp_path / "bad.csv"
    path.write_text("id\n1\nnone\n")
    spec = JobSpec(source=csv(path, columns={"id": "long"}), target=iceberg("hooked.bad"), on_bad_row="quarantine")
    with Client(worker.address) as client:
        job = client.submit(spec).wait().job_id
    hook = connect(host="127.0.0.1", port=worker.port)
    assert hook.rejects({"job_id": job}).read_all()["raw"].to_pylist() == [b"none"]
