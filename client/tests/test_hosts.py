"""Several workers of one store: one that is gone is left for the next."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from conftest import ROWS
from local_stack.worker import LocalWorker

import moulin
from moulin import JobKey, JobSpec, csv, iceberg

if TYPE_CHECKING:
    from pathlib import Path

NewWorker = Callable[..., LocalWorker]
NOBODY = "127.0.0.1:1"


@pytest.fixture
def pair(new_worker: NewWorker, tmp_path: Path) -> tuple[LocalWorker, LocalWorker]:
    """Two workers of one store and catalog, not started."""
    shared = {
        "MOULIN_STORE_URL": f"sqlite://{tmp_path}/jobs.db",
        "MOULIN_CATALOG_URI": f"sqlite://{tmp_path}/catalog.db",
        "MOULIN_WAREHOUSE": f"file://{tmp_path}/warehouse",
        "MOULIN_LEASE": "1s",
    }
    return new_worker(**shared), new_worker(**shared)


@pytest.fixture
def spec(people: Path) -> JobSpec:
    return JobSpec(source=csv(people, null_values=["NA"]), target=iceberg("client.hosts"))


def test_waiting_goes_on_at_another_worker(pair: tuple[LocalWorker, LocalWorker], spec: JobSpec) -> None:
    first, second = pair
    first.start(MOULIN_FAULT_POINT="before_commit:kill")
    with moulin.Client(f"{first.address},{second.address}") as client:
        handle = client.submit(spec)
        second.start()
        receipt = handle.wait(timeout=90).receipt
        assert receipt is not None
        assert receipt.attempt == 2
        assert handle.to_arrow().num_rows == ROWS
        assert client.connection.target == second.address


async def test_asyncio_asks_the_next_host_too(worker: LocalWorker, spec: JobSpec) -> None:
    async with moulin.AsyncClient([NOBODY, worker.address]) as client:
        handles = await asyncio.gather(*(client.submit(spec, JobKey("t", run_id="hosts")) for _ in range(3)))
        assert len({handle.job_id for handle in handles}) == 1
        await handles[0].wait(timeout=60)


def test_threads_that_meet_a_host_that_is_gone_leave_it_once(worker: LocalWorker) -> None:
    with moulin.Client([NOBODY, worker.address, NOBODY]) as client, ThreadPoolExecutor(8) as pool:
        workers = list(pool.map(lambda _: client.describe(), range(24)))
        assert len({one.worker_id for one in workers}) == 1
        assert client.connection.target == worker.address


@pytest.fixture
def with_a_reject(worker: LocalWorker, tmp_path: Path, table: str) -> moulin.JobHandle:
    """A job that landed one row and kept another."""
    path = tmp_path / "bad.csv"
    path.write_text("id\n1\nnone\n")
    spec = JobSpec(source=csv(path, columns={"id": "long"}), target=iceberg(table), on_bad_row="quarantine")
    with moulin.Client(worker.address) as client:
        return client.submit(spec).wait(timeout=60)


def test_whatever_is_read_first_is_read_of_the_next_host(
    worker: LocalWorker, with_a_reject: moulin.JobHandle, table: str
) -> None:
    hosts = [NOBODY, worker.address]
    with moulin.Client(hosts) as client:
        assert client.rejects(with_a_reject.job_id).read_all()["raw"].to_pylist() == [b"none"]
    with moulin.Client(hosts) as client:
        (uri,) = client.files(table).read_all()["uri"].to_pylist()
    with moulin.Client(hosts) as client:
        assert client.explain_file(uri).read_all().num_rows == 1


async def test_asyncio_reads_of_the_next_host_too(
    worker: LocalWorker, with_a_reject: moulin.JobHandle, table: str
) -> None:
    hosts = [NOBODY, worker.address]
    async with moulin.AsyncClient(hosts) as client:
        assert [batch.num_rows async for batch in client.rejects(with_a_reject.job_id)] == [1]
    async with moulin.AsyncClient(hosts) as client:
        (batch,) = [batch async for batch in client.files(table)]
    async with moulin.AsyncClient(hosts) as client:
        assert [one.num_rows async for one in client.explain_file(batch["uri"][0].as_py())] == [1]


async def test_when_nobody_can_be_read_of_the_last_one_is_named() -> None:
    with moulin.Client([NOBODY, "127.0.0.1:2"]) as client, pytest.raises(moulin.Unavailable, match=r"127\.0\.0\.1:2"):
        client.files("a.b")
    async with moulin.AsyncClient([NOBODY, "127.0.0.1:2"]) as client:
        with pytest.raises(moulin.Unavailable, match=r"127\.0\.0\.1:2"):
            await anext(client.files("a.b"))


def test_when_nobody_answers_all_are_named() -> None:
    with moulin.Client(f"{NOBODY},127.0.0.1:2", reconnect=0) as client:
        with pytest.raises(moulin.Unavailable, match=r"127\.0\.0\.1:1, 127\.0\.0\.1:2"):
            client.describe()
        with pytest.raises(moulin.Unavailable):
            list(client.watch("job-1"))


def test_one_of_several_workers_is_not_drained_by_chance() -> None:
    with moulin.Client(f"{NOBODY},127.0.0.1:2") as client, pytest.raises(ValueError, match="one worker"):
        client.drain()


@pytest.mark.parametrize("target", ["", "a", "a:1,b", "a:1,", "http://a:1"])
def test_a_target_is_a_host_and_a_port(target: str) -> None:
    with pytest.raises(ValueError, match="expected host:port"):
        moulin.Client(target)
