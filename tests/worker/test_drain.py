"""SIGTERM ends a worker in time and loses nothing."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

import input_files
import moulin
from landed_table import LandedTable
from worker_process import WorkerProcess

KEY = moulin.JobKey(dag_id="dag", run_id="run", task_id="land")


def test_an_idle_worker_ends_at_once(worker: WorkerProcess) -> None:
    worker.start()
    worker.send(signal.SIGTERM)
    assert worker.wait_end(10) == 0


def test_a_running_job_is_finished_before_the_end(worker: WorkerProcess, table: LandedTable, tmp_path: Path) -> None:
    spec = input_files.job(tmp_path / "input")
    worker.start(MOULIN_FAULT_POINT="mid_read:pause").submit(spec, KEY)
    worker.wait_paused()
    worker.send(signal.SIGTERM)
    worker.resume()
    assert worker.wait_end(30) == 0

    job = worker.start().submit(spec, KEY).wait(60).job
    assert job.attempt == 1
    table.holds_each_row_once(input_files.LANDED_IDS)


def test_a_job_that_takes_longer_than_the_drain_goes_on_in_the_next_process(
    worker: WorkerProcess, table: LandedTable, tmp_path: Path
) -> None:
    spec = input_files.job(tmp_path / "input")
    worker.start(MOULIN_FAULT_POINT="mid_read:pause", MOULIN_DRAIN="0s").submit(spec, KEY)
    worker.wait_paused()
    worker.send(signal.SIGTERM)
    worker.resume()
    assert worker.wait_end(30) == 0

    worker.start().submit(spec, KEY).wait(60)
    table.holds_each_row_once(input_files.LANDED_IDS)


def test_a_draining_worker_takes_no_new_job_but_answers(client: moulin.Client, tmp_path: Path) -> None:
    client.drain()
    assert client.describe().draining
    with pytest.raises(moulin.ResourceExhausted) as refused:
        client.submit(input_files.job(tmp_path / "input"), KEY)
    assert refused.value.retryable
