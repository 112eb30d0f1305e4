"""A worker that is killed at any point and started again leaves each row in the table once."""

from __future__ import annotations

import contextlib
import re
import signal
from dataclasses import replace
from pathlib import Path

import pytest

import input_files
import moulin
from build import ROOT
from landed_table import LandedTable
from worker_process import WorkerProcess, until

KEY = moulin.JobKey(dag_id="dag", run_id="run", task_id="land")

# The attempt that commits, when the worker is killed at a point in the first one.
COMMITTED_BY = {
    "before_claim": 1,
    "files_claimed": 2,
    "mid_read": 2,
    "files_written": 2,
    "before_commit": 2,
    "rows_committed": 1,
    "rejects_written": 1,
    "committed_not_recorded": 1,
    "recorded_not_reported": 1,
    "after_report": 1,
}


def test_every_fault_point_has_a_test() -> None:
    source = (ROOT / "worker/core/src/fault_point.rs").read_text()
    assert set(re.findall(r'=> "(\w+)"', source)) == set(COMMITTED_BY)


@pytest.mark.parametrize("point", COMMITTED_BY)
def test_a_kill_and_a_restart_leave_each_row_once(
    point: str, worker: WorkerProcess, table: LandedTable, tmp_path: Path
) -> None:
    spec = input_files.job(tmp_path / "input")
    if point == "rejects_written":
        spec = replace(spec, on_bad_row="quarantine")
    client = worker.start(MOULIN_FAULT_POINT=f"{point}:kill")
    with contextlib.suppress(moulin.Unavailable):  # at before_claim the answer is lost, too
        client.submit(spec, KEY)
    assert worker.wait_end() == -signal.SIGKILL

    again = worker.start().submit(spec, KEY)
    assert not again.created
    receipt = again.wait(60).receipt

    table.holds_each_row_once(input_files.LANDED_IDS)
    assert receipt is not None
    assert receipt.attempt == COMMITTED_BY[point]
    _is_the_truth(receipt, table, tmp_path / "input")


def test_a_worker_killed_twice_still_lands_each_row_once(
    worker: WorkerProcess, table: LandedTable, tmp_path: Path
) -> None:
    spec = input_files.job(tmp_path / "input")
    worker.start(MOULIN_FAULT_POINT="files_written:kill").submit(spec, KEY)
    assert worker.wait_end() == -signal.SIGKILL
    worker.start(MOULIN_FAULT_POINT="committed_not_recorded:kill")
    assert worker.wait_end() == -signal.SIGKILL

    receipt = worker.start().submit(spec, KEY).wait(60).receipt

    table.holds_each_row_once(input_files.LANDED_IDS)
    assert receipt is not None
    assert receipt.attempt == 2
    _is_the_truth(receipt, table, tmp_path / "input")


def test_a_commit_that_cannot_be_looked_for_is_not_called_a_failure(
    worker: WorkerProcess, table: LandedTable, state: Path, tmp_path: Path
) -> None:
    spec = input_files.job(tmp_path / "input")
    client = worker.start(MOULIN_FAULT_POINT="committed_not_recorded:kill")
    client.submit(spec, KEY)
    assert worker.wait_end() == -signal.SIGKILL
    (metadata,) = state.glob("warehouse/**/metadata")
    hidden = metadata.rename(tmp_path / "hidden")

    config = tmp_path / "one_attempt.toml"
    config.write_text("[job]\nmax_attempts = 1\nslots = 1\n")
    client = worker.start(MOULIN_CONFIG=str(config))
    job = client.submit(spec, KEY)
    waiting = until("it is said what the job waits for", lambda: _waiting(job))
    assert waiting.fault is not None
    assert waiting.fault.message == "it cannot be found out whether an earlier attempt has committed"
    assert "once this is put right" in waiting.fault.hint
    # Others are not kept waiting, and a cancel does not make a failure of it.
    other = input_files.job(tmp_path / "input", table="bronze.others")
    client.submit(other, moulin.JobKey(dag_id="dag", run_id="run", task_id="other")).wait(60)
    before = until("it waits", lambda: _waiting(job))
    client.cancel(job.job_id, "enough", epoch=1)
    after = until(
        "it was looked for again", lambda: next((j for j in [_waiting(job)] if j and j.attempt > before.attempt), None)
    )
    assert after.state is moulin.JobState.QUEUED
    hidden.rename(metadata)

    receipt = job.wait(60).receipt
    table.holds_each_row_once(input_files.LANDED_IDS)
    assert receipt is not None
    assert receipt.attempt == 1
    _is_the_truth(receipt, table, tmp_path / "input")


def _waiting(handle: moulin.JobHandle) -> moulin.Job | None:
    """The job, when it is not running and says why."""
    job = handle.get()
    assert job.state in {moulin.JobState.QUEUED, moulin.JobState.RUNNING}
    return job if job.fault is not None else None


def _is_the_truth(receipt: moulin.Receipt, table: LandedTable, folder: Path) -> None:
    assert (receipt.rows_read, receipt.rows_landed, receipt.rows_rejected, receipt.rows_filtered) == (
        input_files.GOOD_ROWS + input_files.BAD_ROWS,
        len(input_files.LANDED_IDS),
        input_files.BAD_ROWS,
        input_files.FILTERED_ROWS,
    )
    assert [reject.place.column for reject in receipt.rejects] == ["id"] * input_files.BAD_ROWS
    assert (receipt.files, receipt.bytes_read) == (input_files.FILES, input_files.size_bytes(folder))
    files = table.data_files()
    assert (receipt.data_files, receipt.bytes_written) == (len(files), sum(file.stat().st_size for file in files))

    loaded = table.load()
    snapshots = loaded.snapshots()
    assert [snapshot.snapshot_id for snapshot in snapshots] == [receipt.snapshot_id]
    assert receipt.metadata_location == loaded.metadata_location
    summary = snapshots[0].summary
    assert summary is not None
    assert (summary["moulin.job"], summary["moulin.attempt"]) == (receipt.token, str(receipt.attempt))
    assert summary["added-records"] == summary["total-records"] == str(receipt.rows_landed)


def test_what_a_killed_worker_had_put_aside_goes_with_the_next_start(
    worker: WorkerProcess, table: LandedTable, tmp_path: Path
) -> None:
    rows = 1_500_000
    spec = moulin.JobSpec(
        source=moulin.csv(input_files.numbered(tmp_path / "input", rows), columns={"id": "long"}),
        transform=moulin.sql("SELECT * FROM input ORDER BY name, id DESC"),
        target=moulin.iceberg("bronze.numbers"),
    )
    spill = worker.state / "spill"
    worker.start(MOULIN_MEMORY_BYTES=str(32 << 20)).submit(spec, KEY)
    until("rows are put aside", lambda: [file for file in spill.rglob("*") if file.is_file() and file.stat().st_size])
    (killed,) = (folder for folder in spill.iterdir() if folder.is_dir())
    worker.send(signal.SIGKILL)
    assert worker.wait_end() == -signal.SIGKILL
    assert any(killed.iterdir())

    receipt = worker.start().submit(spec, KEY).wait(60).receipt

    assert not killed.exists()
    assert receipt is not None
    assert (receipt.rows_landed, receipt.attempt) == (rows, 2)
    table.holds_each_row_once(list(range(rows)))
