"""A job that takes its workers with it does not go round the pool: it fails, unless it has landed."""

from __future__ import annotations

import signal
import sqlite3
from pathlib import Path

import pytest

import input_files
import moulin
from landed_table import LandedTable
from worker_process import WorkerProcess

KEY = moulin.JobKey(dag_id="dag", run_id="run", task_id="land")
# `job.max_lost_workers` as it is when nobody sets it.
MOST = 5


def _dies(worker: WorkerProcess, point: str, times: int) -> None:
    for _ in range(times):
        worker.start(MOULIN_FAULT_POINT=f"{point}:kill")
        assert worker.wait_end() == -signal.SIGKILL


def _killed_once(worker: WorkerProcess, spec: moulin.JobSpec) -> None:
    worker.start(MOULIN_FAULT_POINT="mid_read:kill").submit(spec, KEY)
    assert worker.wait_end() == -signal.SIGKILL


def test_a_job_that_kills_one_worker_after_the_other_fails_and_says_so(
    worker: WorkerProcess, table: LandedTable, state: Path, tmp_path: Path
) -> None:
    spec = input_files.job(tmp_path / "input")
    _killed_once(worker, spec)
    _dies(worker, "mid_read", MOST - 1)
    client = worker.start()
    handle = client.submit(spec, KEY)
    with pytest.raises(moulin.JobFailed, match="5 workers in a row were lost while they ran this job") as failed:
        handle.wait(60)
    last = (state / "worker_id").read_text()
    assert f"the last was {last}" in failed.value.fault.message
    assert "job.threads" in failed.value.fault.hint
    assert not failed.value.retryable
    assert table.snapshot_id() is None
    # Whoever asks anew may lose as many again.
    assert client.submit(spec, KEY, epoch=2).wait(60).job.attempt == MOST + 2
    table.holds_each_row_once(input_files.LANDED_IDS)


def test_one_that_has_landed_is_settled_however_many_workers_it_took(
    worker: WorkerProcess, table: LandedTable, tmp_path: Path
) -> None:
    spec = input_files.job(tmp_path / "input")
    _killed_once(worker, spec)
    _dies(worker, "mid_read", MOST - 2)
    _dies(worker, "rows_committed", 1)
    receipt = worker.start().submit(spec, KEY).wait(60).receipt
    assert receipt is not None
    assert receipt.attempt == MOST
    table.holds_each_row_once(input_files.LANDED_IDS)


def test_a_worker_that_is_told_to_end_is_not_lost(worker: WorkerProcess, state: Path, tmp_path: Path) -> None:
    spec = input_files.job(tmp_path / "input")
    worker.start(MOULIN_FAULT_POINT="mid_read:pause", MOULIN_DRAIN="0s").submit(spec, KEY)
    worker.wait_paused()
    worker.send(signal.SIGTERM)
    worker.resume()
    assert worker.wait_end(30) == 0
    assert "they are given back" in worker.log()
    with sqlite3.connect(state / "jobs.db") as store:
        assert store.execute("SELECT outcome FROM attempts").fetchall() == [("again",)]
        assert store.execute("SELECT state FROM jobs").fetchall() == [("queued",)]
