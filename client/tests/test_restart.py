"""A worker that dies and comes back while somebody waits."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import ROWS
from local_stack.processes import wait_until
from local_stack.worker import LocalWorker

import moulin
from moulin import JobKey, JobSpec, csv, iceberg

NewWorker = Callable[..., LocalWorker]


@pytest.fixture
def spec(people: Path) -> JobSpec:
    return JobSpec(source=csv(people, null_values=["NA"]), target=iceberg("client.people"))


def test_waiting_goes_on_over_a_restart(new_worker: NewWorker, spec: JobSpec) -> None:
    worker = new_worker()
    worker.start(MOULIN_FAULT_POINT="before_commit:kill")
    with moulin.Client(worker.address) as client:
        handle = client.submit(spec)
        again = start_again_when_dead(worker)
        receipt = handle.wait(timeout=90).receipt
        again.join()
        assert receipt is not None
        assert receipt.attempt == 2, "the first attempt died"
        assert handle.to_arrow().num_rows == ROWS


async def test_waiting_goes_on_over_a_restart_in_asyncio(new_worker: NewWorker, spec: JobSpec) -> None:
    worker = new_worker()
    worker.start(MOULIN_FAULT_POINT="files_written:kill")
    async with moulin.AsyncClient(worker.address) as client:
        handle = await client.submit(spec)
        again = start_again_when_dead(worker)
        receipt = (await handle.wait(timeout=90)).receipt
        await asyncio.to_thread(again.join)
        assert receipt is not None
        assert receipt.attempt == 2


def test_a_lost_answer_of_submit_is_found_again_by_its_key(new_worker: NewWorker, spec: JobSpec) -> None:
    worker = new_worker()
    worker.start(MOULIN_FAULT_POINT="before_claim:kill")
    key = JobKey("people", run_id="r1")
    with moulin.Client(worker.address) as client:
        with pytest.raises(moulin.Unavailable) as lost:
            client.submit(spec, key)
        assert lost.value.retryable
        start_again_when_dead(worker).join()
        with moulin.Client(worker.address) as fresh:
            handle = fresh.submit(spec, key, epoch=2)
            assert not handle.created
            receipt = handle.wait(90).receipt
            assert receipt is not None
            assert receipt.rows_landed == ROWS


def test_waiting_ends_when_the_worker_stays_away(new_worker: NewWorker, spec: JobSpec) -> None:
    worker = new_worker()
    worker.start(MOULIN_FAULT_POINT="mid_read:kill")
    with moulin.Client(worker.address, reconnect=1.0) as client:
        handle = client.submit(spec)
        started = time.monotonic()
        with pytest.raises(moulin.Unavailable, match="no answer from a moulin worker at"):
            handle.wait()
        assert 0.5 < time.monotonic() - started < 30


def test_nobody_there_is_said_at_once(new_worker: NewWorker, spec: JobSpec) -> None:
    worker = new_worker()
    with moulin.Client(worker.address) as client, pytest.raises(moulin.Unavailable, match="moulin serve") as raised:
        client.submit(spec)
    assert worker.address in raised.value.message


def start_again_when_dead(worker: LocalWorker) -> threading.Thread:
    def watch() -> None:
        wait_until("the worker is dead", lambda: not worker.alive(), timeout=60, every=0.02)
        worker.start()

    thread = threading.Thread(target=watch, name="start the worker again")
    thread.start()
    return thread
