"""A cancel ends a job before its commit, or leaves it alone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import input_files
import moulin
from landed_table import LandedTable
from worker_process import NewWorker, WorkerProcess, until

KEY = moulin.JobKey(dag_id="dag", run_id="run", task_id="land")


def test_a_cancelled_job_leaves_the_table_as_it_was(new_worker: NewWorker, table: LandedTable, tmp_path: Path) -> None:
    spec = input_files.job(tmp_path / "input", on_loaded_file="reload")
    before = new_worker("before").start().submit(spec).wait(60).receipt
    assert before is not None
    running, other = new_worker("running"), new_worker("other")
    handle = running.start(MOULIN_FAULT_POINT="mid_read:pause").submit(spec, KEY)
    running.wait_paused()

    asked = other.start().cancel(handle.job_id, "task marked failed", epoch=1)
    assert asked.state is moulin.JobState.RUNNING
    running.resume()

    with pytest.raises(moulin.JobCancelled, match="task marked failed"):
        handle.wait(60)
    assert table.snapshot_id() == before.snapshot_id
    until("the files of the cancelled job are gone", lambda: table.files_on_disk() == table.data_files())


def test_a_cancel_right_before_the_commit_is_still_kept(
    new_worker: NewWorker, table: LandedTable, tmp_path: Path
) -> None:
    running, other = new_worker("running"), new_worker("other")
    handle = running.start(MOULIN_FAULT_POINT="files_written:pause").submit(input_files.job(tmp_path / "input"), KEY)
    running.wait_paused()
    assert other.start().cancel(handle.job_id, "enough", epoch=1).state is moulin.JobState.RUNNING
    running.resume()
    with pytest.raises(moulin.JobCancelled, match="enough"):
        handle.wait(60)
    assert table.snapshot_id() is None
    until("the files of the cancelled job are gone", lambda: table.files_on_disk() == [])


def test_a_stale_cancel_is_refused_and_changes_nothing(
    new_worker: NewWorker, table: LandedTable, tmp_path: Path
) -> None:
    running, other = new_worker("running"), new_worker("other")
    spec = input_files.job(tmp_path / "input")
    handle = running.start(MOULIN_FAULT_POINT="mid_read:pause").submit(spec, KEY, epoch=2)
    running.wait_paused()
    with pytest.raises(moulin.StaleEpoch):
        other.start().cancel(handle.job_id, "the old try was cleared", epoch=1)
    running.resume()
    handle.wait(60)
    table.holds_each_row_once(input_files.LANDED_IDS)


def test_a_retry_takes_the_job_over_from_the_try_before(client: moulin.Client, tmp_path: Path) -> None:
    spec = input_files.job(tmp_path / "input")
    first = client.submit(spec, KEY, epoch=1)
    client.submit(spec, KEY, epoch=2).wait(60)
    with pytest.raises(moulin.StaleEpoch):
        first.cancel()


def test_a_finished_job_stays_as_it_is(client: moulin.Client, table: LandedTable, tmp_path: Path) -> None:
    handle = client.submit(input_files.job(tmp_path / "input"), KEY).wait(60)
    assert handle.cancel("too late").state is moulin.JobState.SUCCEEDED
    table.holds_each_row_once(input_files.LANDED_IDS)


def test_a_job_past_its_deadline_does_not_commit(worker: WorkerProcess, table: LandedTable, tmp_path: Path) -> None:
    spec = {**input_files.job(tmp_path / "input").to_dict(), "deadline": "1s"}
    handle = worker.start(MOULIN_FAULT_POINT="files_written:pause").submit(spec, KEY)
    worker.wait_paused()
    submitted = handle.job.submitted_at
    assert submitted is not None
    until("the deadline has passed", lambda: datetime.now(UTC) > submitted + timedelta(seconds=1))
    worker.resume()
    with pytest.raises(moulin.JobFailed) as failed:
        handle.wait(60)
    assert failed.value.kind is moulin.FaultKind.DEADLINE_EXCEEDED
    assert table.snapshot_id() is None
