"""A worker that slept through its lease commits nothing when it wakes up."""

from __future__ import annotations

from pathlib import Path

import pytest

import input_files
import moulin
from landed_table import LandedTable
from worker_process import NewWorker, until

KEY = moulin.JobKey(dag_id="dag", run_id="run", task_id="land")


@pytest.mark.parametrize(
    "point", ["mid_read", "files_written", "before_commit", "rows_committed", "committed_not_recorded"]
)
def test_a_worker_that_lost_its_lease_lands_nothing(
    point: str, new_worker: NewWorker, table: LandedTable, tmp_path: Path
) -> None:
    zombie, heir = new_worker("zombie", MOULIN_LEASE="1s"), new_worker("heir", MOULIN_LEASE="1s")
    asleep = zombie.start(MOULIN_FAULT_POINT=f"{point}:pause")
    handle = asleep.submit(input_files.job(tmp_path / "input"), KEY)
    zombie.wait_paused()

    job = heir.start().job(handle.job_id).wait(60).job
    assert (job.state, job.attempt) == (moulin.JobState.SUCCEEDED, 2)
    zombie.resume()
    until("the zombie has given up", lambda: asleep.describe().running == 0)

    table.holds_each_row_once(input_files.LANDED_IDS)
    assert table.snapshot_id() == job.receipt.snapshot_id
    assert len(table.load().snapshots()) == 1
    assert handle.get() == job
