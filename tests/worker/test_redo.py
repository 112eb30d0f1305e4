"""A cleared task is a redo: `on_rerun` says what becomes of the rows that are landed."""

from __future__ import annotations

import signal
from dataclasses import replace
from pathlib import Path

import pyarrow.compute as pc
import pytest

import moulin
from landed_table import LandedTable
from worker_process import WorkerProcess

KEY = moulin.JobKey(dag_id="dag", run_id="run", task_id="land")
POINTS = (
    "mid_read",
    "files_written",
    "before_commit",
    "committed_not_recorded",
    "recorded_not_reported",
    "after_report",
)


def _spec(folder: Path, ids: range, **target: str) -> moulin.JobSpec:
    folder.mkdir(exist_ok=True)
    (folder / "in.csv").write_text("id,part\n" + "".join(f"{n},{n % 4}\n" for n in ids))
    landing = moulin.iceberg("bronze.numbers", partition_by=["part"], **target)
    return moulin.JobSpec(source=moulin.csv(f"file://{folder}/in.csv"), target=landing)


def _land(client: moulin.Client, spec: moulin.JobSpec, generation: int, key: moulin.JobKey = KEY) -> moulin.Receipt:
    receipt = client.submit(spec, key, generation=generation).wait(60).receipt
    assert receipt is not None
    return receipt


def test_the_rows_of_the_generation_before_are_replaced_and_no_others(
    client: moulin.Client, table: LandedTable, tmp_path: Path
) -> None:
    first = _land(client, _spec(tmp_path / "a", range(100)), 0)
    other = moulin.JobKey(dag_id="dag", run_id="run", task_id="other")
    _land(client, _spec(tmp_path / "b", range(1000, 1010)), 0, other)
    second = _land(client, _spec(tmp_path / "a", range(50, 70)), 1)

    assert (second.rows_landed, second.rows_replaced, second.replaced_snapshot_id) == (20, 100, first.snapshot_id)
    assert "100 rows replaced" in str(second)
    assert table.ids() == [*range(50, 70), *range(1000, 1010)]
    loaded = table.load()
    summary = loaded.current_snapshot().summary
    assert summary.operation.value == "overwrite"
    assert (summary["deleted-records"], summary["added-records"], summary["total-records"]) == ("100", "20", "30")
    # What was replaced is there for whoever travels back.
    before = loaded.scan(snapshot_id=first.snapshot_id, selected_fields=("id",)).to_arrow()["id"]
    assert sorted(before.to_pylist()) == list(range(100))
    # And once more: the second is replaced now.
    third = _land(client, _spec(tmp_path / "a", range(3)), 2)
    assert (third.rows_replaced, third.replaced_snapshot_id) == (20, second.snapshot_id)
    assert table.ids() == [*range(3), *range(1000, 1010)]


def test_a_redo_without_rows_takes_the_old_ones_away(client: moulin.Client, table: LandedTable, tmp_path: Path) -> None:
    _land(client, _spec(tmp_path / "a", range(100)), 0)
    spec = replace(_spec(tmp_path / "a", range(100)), transform=moulin.sql("SELECT * FROM input WHERE id < 0"))
    receipt = _land(client, spec, 1)
    assert (receipt.rows_landed, receipt.rows_replaced) == (0, 100)
    assert table.ids() == []
    assert table.load().current_snapshot().summary.operation.value == "delete"


@pytest.mark.parametrize("point", POINTS)
def test_a_redo_that_is_killed_replaces_once(
    point: str, worker: WorkerProcess, table: LandedTable, tmp_path: Path
) -> None:
    _land(worker.start(), _spec(tmp_path / "a", range(100)), 0)
    worker.close()
    spec = _spec(tmp_path / "a", range(50, 70))
    worker.start(MOULIN_FAULT_POINT=f"{point}:kill").submit(spec, KEY, generation=1)
    assert worker.wait_end() == -signal.SIGKILL

    receipt = _land(worker.start(), spec, 1)

    assert (receipt.rows_landed, receipt.rows_replaced) == (20, 100)
    assert table.ids() == list(range(50, 70))
    assert len(table.load().snapshots()) == 2


@pytest.mark.parametrize("point", ["committed_not_recorded", "recorded_not_reported"])
def test_what_a_killed_generation_had_landed_is_replaced_by_the_next(
    point: str, worker: WorkerProcess, table: LandedTable, tmp_path: Path
) -> None:
    client = worker.start(MOULIN_FAULT_POINT=f"{point}:kill")
    client.submit(_spec(tmp_path / "a", range(100)), KEY)
    assert worker.wait_end() == -signal.SIGKILL

    receipt = _land(worker.start(), _spec(tmp_path / "a", range(50, 70)), 1)

    assert receipt.rows_replaced == 100
    assert table.ids() == list(range(50, 70))


def test_rows_are_replaced_also_when_their_snapshot_is_expired(
    client: moulin.Client, table: LandedTable, tmp_path: Path
) -> None:
    first = _land(client, _spec(tmp_path / "a", range(100)), 0)
    other = moulin.JobKey(dag_id="dag", run_id="run", task_id="other")
    _land(client, _spec(tmp_path / "b", range(1000, 1010)), 0, other)
    table.load().maintenance.expire_snapshots().by_id(first.snapshot_id).commit()

    receipt = _land(client, _spec(tmp_path / "a", range(50, 70)), 1)

    assert receipt.rows_replaced == 100
    assert table.ids() == [*range(50, 70), *range(1000, 1010)]


def test_files_that_another_engine_has_rewritten_are_a_refusal_that_says_what_to_do(
    client: moulin.Client, table: LandedTable, tmp_path: Path
) -> None:
    _land(client, _spec(tmp_path / "a", range(100)), 0)
    loaded = table.load()
    loaded.overwrite(loaded.scan().to_arrow().filter(pc.field("id") >= 10))
    with pytest.raises(moulin.JobFailed) as failed:
        _land(client, _spec(tmp_path / "a", range(50, 70)), 1)
    fault = failed.value.job.fault
    assert not fault.retryable
    assert "are not in the table any more" in fault.message
    assert "on_rerun: append" in fault.hint
    assert table.ids() == list(range(10, 100))
    # Nothing of the refused job is left.
    assert table.data_files() == [file for file in table.files_on_disk() if file in table.data_files()]


def test_a_redo_can_take_the_result_that_is_there(client: moulin.Client, table: LandedTable, tmp_path: Path) -> None:
    first = _land(client, _spec(tmp_path / "a", range(100)), 0)
    handle = client.submit(_spec(tmp_path / "a", range(50, 70), on_rerun="skip"), KEY, generation=1)
    receipt = handle.wait(60).receipt
    assert receipt is not None
    assert (receipt.attached_to, receipt.snapshot_id) == (first.token, first.snapshot_id)
    assert (receipt.rows_landed, receipt.job_id) == (100, handle.job_id)
    assert table.ids() == list(range(100))
    assert len(table.load().snapshots()) == 1


def test_a_redo_can_add_to_what_is_there(client: moulin.Client, table: LandedTable, tmp_path: Path) -> None:
    _land(client, _spec(tmp_path / "a", range(10)), 0)
    receipt = _land(client, _spec(tmp_path / "a", range(5, 15), on_rerun="append"), 1)
    assert (receipt.rows_landed, receipt.rows_replaced) == (10, 0)
    assert table.ids() == sorted([*range(10), *range(5, 15)])


def test_an_older_generation_that_wakes_up_late_does_not_land(
    worker: WorkerProcess, new_worker, table: LandedTable, tmp_path: Path
) -> None:
    late = worker.start(MOULIN_FAULT_POINT="files_written:pause")
    job = late.submit(_spec(tmp_path / "a", range(100)), KEY)
    worker.wait_paused()
    receipt = _land(new_worker("second").start(), _spec(tmp_path / "b", range(50, 70)), 1)
    assert receipt.rows_landed == 20
    worker.resume()
    with pytest.raises(moulin.MoulinError):
        job.wait(60)
    assert table.ids() == list(range(50, 70))


def test_an_older_generation_does_not_land_after_one_that_landed_nothing(
    worker: WorkerProcess, new_worker, table: LandedTable, tmp_path: Path
) -> None:
    late = worker.start(MOULIN_FAULT_POINT="files_written:pause")
    job = late.submit(_spec(tmp_path / "a", range(100)), KEY)
    worker.wait_paused()
    spec = replace(_spec(tmp_path / "b", range(100)), transform=moulin.sql("SELECT * FROM input WHERE id < 0"))
    receipt = _land(new_worker("second").start(), spec, 1)
    assert (receipt.rows_landed, receipt.rows_replaced) == (0, 0)
    worker.resume()
    with pytest.raises(moulin.JobFailed, match="generation 1 of this job has landed"):
        job.wait(60)
    assert table.ids() == []


def test_an_older_generation_does_not_land_after_one_whose_snapshot_is_expired(
    worker: WorkerProcess, new_worker, table: LandedTable, tmp_path: Path
) -> None:
    late = worker.start(MOULIN_FAULT_POINT="files_written:pause")
    job = late.submit(_spec(tmp_path / "a", range(100)), KEY)
    worker.wait_paused()
    client = new_worker("second").start()
    receipt = _land(client, _spec(tmp_path / "b", range(50, 70)), 1)
    _land(client, _spec(tmp_path / "c", range(1000, 1010)), 0, replace(KEY, task_id="other"))
    table.load().maintenance.expire_snapshots().by_id(receipt.snapshot_id).commit()
    worker.resume()
    with pytest.raises(moulin.JobFailed, match="generation 1 of this job has landed"):
        job.wait(60)
    assert table.ids() == [*range(50, 70), *range(1000, 1010)]


def test_the_plan_says_what_a_redo_would_do(client: moulin.Client, tmp_path: Path) -> None:
    assert client.plan(_spec(tmp_path / "a", range(3), on_rerun="skip")).on_rerun == "skip"
    assert client.plan(_spec(tmp_path / "a", range(3))).on_rerun == "replace"
