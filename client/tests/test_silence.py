"""A worker whose machine vanishes sends no goodbye: who reads of it hears of that all the same."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from conftest import StalledSource
from local_stack.worker import LocalWorker
from silent_proxy import SilentProxy

import moulin
from moulin import JobSpec, connection, csv, flight, iceberg

COLUMNS = {"id": "long", "name": "string", "score": "double", "since": "date"}


@pytest.fixture
def proxy(worker: LocalWorker) -> Iterator[SilentProxy]:
    made = SilentProxy(worker.address)
    yield made
    made.close()


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same options, with pings that come sooner."""
    sooner = {
        "grpc.keepalive_time_ms": 500, "grpc.keepalive_timeout_ms": 2_000, "grpc.http2.ping_timeout_ms": 2_000,
    }  # fmt: skip
    monkeypatch.setattr(connection, "_OPTIONS", tuple({**dict(connection._OPTIONS), **sooner}.items()))


@pytest.mark.usefixtures("soon")
def test_a_reader_notices_a_worker_that_fell_silent(
    client: moulin.Client, proxy: SilentProxy, stalled: StalledSource, table: str
) -> None:
    spec = JobSpec(source=csv(stalled.uris, null_values=["NA"], columns=COLUMNS), target=iceberg(table))
    handle = client.submit(spec)
    assert stalled.reached.wait(30)
    rows = flight.Rows(connection.Connection(proxy.address), handle.job_id, lambda _: None)
    proxy.fall_silent()
    pool = ThreadPoolExecutor(1)
    try:
        with pytest.raises(moulin.Unavailable, match="cannot be read"):
            pool.submit(list, rows).result(30)
    finally:
        proxy.close()
        pool.shutdown()
        stalled.release()
        handle.wait(timeout=60)
