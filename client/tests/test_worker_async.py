"""The client for asyncio against a real worker."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from conftest import ROWS, StalledSource
from local_stack.worker import LocalWorker

import moulin
from moulin import JobSpec, JobState, csv, iceberg

COLUMNS = {"id": "long", "name": "string", "score": "double", "since": "date"}


@pytest.fixture
async def aclient(worker: LocalWorker) -> AsyncIterator[moulin.AsyncClient]:
    async with moulin.AsyncClient(worker.address) as made:
        yield made


async def test_a_job_is_submitted_followed_and_read(aclient: moulin.AsyncClient, people: Path, table: str) -> None:
    spec = JobSpec(source=csv(people, null_values=["NA"]), target=iceberg(table))
    seen: list[JobState] = []

    async def saw(job: moulin.Job) -> None:
        seen.append(job.state)

    handle = await (await aclient.submit(spec)).wait(60, saw)
    assert seen[-1] is JobState.SUCCEEDED
    assert handle.receipt is not None
    assert handle.receipt.rows_landed == ROWS
    assert (await handle.to_arrow()).num_rows == ROWS
    assert sum([batch.num_rows async for batch in handle.batches()]) == ROWS
    assert [job.job_id async for job in aclient.list(table=table)] == [handle.job_id]
    assert (await aclient.job(handle.job_id)).receipt == handle.receipt
    assert (await aclient.plan(spec)).table_exists
    assert (await aclient.describe(check=True)).healthy


async def test_a_running_job_can_be_read_and_cancelled(
    aclient: moulin.AsyncClient, stalled: StalledSource, table: str
) -> None:
    spec = JobSpec(source=csv(stalled.uris, null_values=["NA"], columns=COLUMNS), target=iceberg(table))
    handle = await aclient.submit(spec)
    assert await asyncio.to_thread(stalled.reached.wait, 30)
    reading = asyncio.ensure_future(anext(handle.batches(), None))
    waiting = asyncio.ensure_future(handle.wait(60))
    await handle.cancel("enough")
    with pytest.raises(moulin.JobCancelled, match="enough"):
        await waiting
    # It either got rows before the cancel or is told of it; it never hangs.
    with contextlib.suppress(moulin.JobCancelled):
        assert await asyncio.wait_for(reading, 30) is not None


async def test_leaving_a_watch_leaves_the_job_alone(
    aclient: moulin.AsyncClient, stalled: StalledSource, table: str
) -> None:
    spec = JobSpec(source=csv(stalled.uris, null_values=["NA"], columns=COLUMNS), target=iceberg(table))
    handle = await aclient.submit(spec)
    waiting = asyncio.ensure_future(handle.wait())
    assert await asyncio.to_thread(stalled.reached.wait, 30)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    with pytest.raises(moulin.WaitTimeout):
        await handle.wait(0.2)
    stalled.release()
    await handle.wait(60)


async def test_errors_are_those_of_the_other_client(aclient: moulin.AsyncClient, people: Path, table: str) -> None:
    spec = JobSpec(source=csv("/nowhere/a.csv"), target=iceberg(table))
    with pytest.raises(moulin.NotFound, match=r"/nowhere/a\.csv"):
        await aclient.submit(spec)
    with pytest.raises(moulin.NotFound, match="job-nobody"):
        await aclient.get("job-nobody")


async def test_readings_that_wait_leave_the_threads_of_the_event_loop_alone(
    aclient: moulin.AsyncClient, stalled: StalledSource, table: str
) -> None:
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(2))
    spec = JobSpec(source=csv(stalled.uris, null_values=["NA"], columns=COLUMNS), target=iceberg(table))
    handle = await aclient.submit(spec)
    assert await asyncio.to_thread(stalled.reached.wait, 30)

    async def count() -> int:
        return sum([batch.num_rows async for batch in handle.batches(on_dropped=lambda _: None)])

    readings = [asyncio.create_task(count()) for _ in range(8)]
    try:
        # What is asked of these threads is done in turn: beginning to read, then this, then waiting for rows.
        for _ in range(3):
            assert await asyncio.wait_for(asyncio.to_thread(lambda: "done"), 30) == "done"
        assert not any(one.done() for one in readings)
    finally:
        stalled.release()
        await handle.wait(60)
        await asyncio.gather(*readings)
