"""A job store that was lost, or a second one: what another store's attempt has landed is not landed again, nor taken for one's own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

import input_files
import moulin
from landed_table import LandedTable
from worker_process import NewWorker, WorkerProcess, until

KEY = moulin.JobKey(dag_id="dag", run_id="run", task_id="land")
NOT_OURS = "carries this job's token from attempt 1, which this job store does not know"


def _is_told_of_the_other_one(handle: moulin.JobHandle) -> moulin.Fault:
    with pytest.raises(moulin.JobFailed, match=NOT_OURS) as refused:
        handle.wait(60)
    fault = refused.value.fault
    assert "the rows are landed" in fault.hint
    assert not fault.retryable
    return fault


def test_a_job_whose_store_was_lost_reads_nothing_and_says_that_it_is_landed(
    worker: WorkerProcess, table: LandedTable, state: Path, tmp_path: Path
) -> None:
    spec = input_files.job(tmp_path / "input")
    landed = worker.start().submit(spec, KEY).wait(60).receipt
    assert landed is not None
    worker.close()
    for file in state.glob("jobs.db*"):
        file.unlink()

    client = worker.start()
    handle = client.submit(spec, KEY)
    _is_told_of_the_other_one(handle)
    assert handle.get().progress.rows_read == 0
    table.holds_each_row_once(input_files.LANDED_IDS)
    assert table.snapshot_id() == landed.snapshot_id
    # A newer try finds the same.
    _is_told_of_the_other_one(client.submit(spec, KEY, epoch=2))
    assert len(table.load().snapshots()) == 1


@pytest.mark.parametrize("point", ["mid_read", "before_commit"])
def test_of_two_stores_that_run_one_job_at_once_one_lands_it_and_the_other_says_so(
    point: str, new_worker: NewWorker, table: LandedTable, state: Path, tmp_path: Path
) -> None:
    one, two = (new_worker(name, MOULIN_STORE_URL=f"sqlite://{state}/{name}.db") for name in ("one", "two"))
    spec = input_files.job(tmp_path / "input")
    late = one.start(MOULIN_FAULT_POINT=f"{point}:pause", MOULIN_LEASE="60s").submit(spec, KEY)
    one.wait_paused()
    landed = two.start().submit(spec, KEY).wait(60).receipt
    assert landed is not None
    one.resume()

    _is_told_of_the_other_one(late)
    assert table.ids() == input_files.LANDED_IDS
    assert table.snapshot_id() == landed.snapshot_id
    until("the files of the one that came late are gone", lambda: table.files_on_disk() == table.data_files())


def test_rejects_that_another_store_has_brought_alone_are_not_taken_for_ones_own(
    new_worker: NewWorker, table: LandedTable, state: Path, tmp_path: Path
) -> None:
    one, two = (new_worker(name, MOULIN_STORE_URL=f"sqlite://{state}/{name}.db") for name in ("one", "two"))
    spec = replace(input_files.job(tmp_path / "input"), on_bad_row="quarantine", transform=moulin.sql("SELECT * FROM input WHERE id < 0"))  # fmt: skip
    landed = one.start().submit(spec, KEY).wait(60).receipt
    assert landed is not None
    assert landed.rejects_snapshot_id is not None
    _is_told_of_the_other_one(two.start().submit(spec, KEY))
    rejects = LandedTable(state, "bronze.numbers__rejects")
    assert rejects.load().scan().to_arrow().num_rows == input_files.BAD_ROWS
    until("its files are gone", lambda: rejects.files_on_disk() == rejects.data_files())
    assert table.snapshot_id() is None
