"""A worker that slept through its lease commits nothing when it wakes up."""

from __future__ import annotations

from pathlib import Path

import pytest

import input_files
import moulin
from landed_table import LandedTable
from worker_process import NewWorker, run_moulin, until

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


@pytest.mark.parametrize("how", ["failed", "cancelled"])
def test_a_job_that_ended_without_landing_does_not_land_later(
    how: str, new_worker: NewWorker, table: LandedTable, tmp_path: Path
) -> None:
    zombie, heir = new_worker("zombie", MOULIN_LEASE="1s"), new_worker("heir", MOULIN_LEASE="1s")
    asleep = zombie.start(MOULIN_FAULT_POINT="before_commit:pause")
    spec = input_files.job(tmp_path / "input")
    handle = asleep.submit(spec, KEY)
    zombie.wait_paused()

    (tmp_path / "input").rename(tmp_path / "elsewhere")
    awake = heir.start()
    if how == "cancelled":
        awake.cancel(handle.job_id, "enough", epoch=1)
    with pytest.raises(moulin.JobFailed) as ended:
        awake.job(handle.job_id).wait(60)
    assert isinstance(ended.value, moulin.JobCancelled) == (how == "cancelled")
    zombie.resume()
    until("the zombie has given up", lambda: asleep.describe().running == 0)
    assert table.ids() == []

    # A newer try lands as if there had been no other.
    (tmp_path / "elsewhere").rename(tmp_path / "input")
    job = awake.submit(spec, KEY, epoch=2).wait(60).job
    assert (job.state, job.attempt) == (moulin.JobState.SUCCEEDED, 3)
    assert table.ids() == input_files.LANDED_IDS


def test_rejects_of_a_job_that_failed_do_not_land_later(new_worker: NewWorker, state: Path, tmp_path: Path) -> None:
    zombie, heir = new_worker("zombie", MOULIN_LEASE="1s"), new_worker("heir", MOULIN_LEASE="1s")
    file = tmp_path / "only_bad.csv"
    file.write_text("id\nnot a number\n")
    source = moulin.csv(f"file://{file}", columns={"id": "long"})
    spec = moulin.JobSpec(source=source, target=moulin.iceberg("bronze.numbers"), on_bad_row="quarantine")
    asleep = zombie.start(MOULIN_FAULT_POINT="before_commit:pause")
    handle = asleep.submit(spec, KEY)
    zombie.wait_paused()
    file.unlink()
    with pytest.raises(moulin.JobFailed):
        heir.start().job(handle.job_id).wait(60)
    zombie.resume()
    until("the zombie has given up", lambda: asleep.describe().running == 0)
    rejects = LandedTable(state, "bronze.numbers__rejects")
    assert rejects.load().scan().to_arrow().num_rows == 0


@pytest.mark.parametrize("lines", ["", "not a number,0,x,1\n"], ids=["nothing", "only_rejects"])
def test_what_another_attempt_succeeded_without_does_not_land_later(
    lines: str, new_worker: NewWorker, table: LandedTable, state: Path, tmp_path: Path
) -> None:
    zombie, heir = new_worker("zombie", MOULIN_LEASE="1s"), new_worker("heir", MOULIN_LEASE="1s")
    file = tmp_path / "in.csv"
    file.write_text("id,part,name,amount\n1,0,x,1\n2,1,x,1\n")
    columns = {"id": "long", "part": "long", "name": "string", "amount": "double"}
    source = moulin.csv(f"file://{file}", columns=columns)
    spec = moulin.JobSpec(source=source, target=moulin.iceberg("bronze.numbers"), on_bad_row="quarantine")
    asleep = zombie.start(MOULIN_FAULT_POINT="before_commit:pause")
    handle = asleep.submit(spec, KEY)
    zombie.wait_paused()

    file.write_text("id,part,name,amount\n" + lines)
    receipt = heir.start().job(handle.job_id).wait(60).receipt
    assert receipt is not None
    assert (receipt.rows_landed, receipt.rows_rejected, receipt.attempt) == (0, len(lines.splitlines()), 2)
    zombie.resume()
    until("the zombie has given up", lambda: asleep.describe().running == 0)
    settings = {"MOULIN_STORE_URL": f"sqlite://{state}/jobs.db", "MOULIN_CATALOG_URI": f"sqlite://{state}/catalog.db"}
    swept = run_moulin(state, "orphans", "remove", MOULIN_WAREHOUSE=f"file://{state}/warehouse", **settings)
    assert swept.returncode == 0, swept.stderr
    # What the receipt denies is not there, and what is there can be read.
    assert table.ids() == []
    rejects = LandedTable(state, "bronze.numbers__rejects")
    if lines:
        assert rejects.load().scan().to_arrow().num_rows == 1


def test_rejects_of_an_attempt_whose_heir_landed_rows_do_not_come_later(
    new_worker: NewWorker, table: LandedTable, state: Path, tmp_path: Path
) -> None:
    zombie, heir = new_worker("zombie", MOULIN_LEASE="1s"), new_worker("heir", MOULIN_LEASE="1s")
    file = tmp_path / "in.csv"
    file.write_text("id\nnot a number\n")
    source = moulin.csv(f"file://{file}", columns={"id": "long"})
    spec = moulin.JobSpec(source=source, target=moulin.iceberg("bronze.numbers"), on_bad_row="quarantine")
    asleep = zombie.start(MOULIN_FAULT_POINT="before_commit:pause")
    handle = asleep.submit(spec, KEY)
    zombie.wait_paused()
    file.write_text("id\n1\n")
    receipt = heir.start().job(handle.job_id).wait(60).receipt
    assert receipt is not None
    assert (receipt.rows_landed, receipt.rows_rejected) == (1, 0)
    zombie.resume()
    until("the zombie has given up", lambda: asleep.describe().running == 0)
    assert table.ids() == [1]
    rejects = LandedTable(state, "bronze.numbers__rejects")
    assert rejects.load().scan().to_arrow().num_rows == 0
