"""What dead attempts leave is known by name and goes, and what may still be committed stays."""

from __future__ import annotations

import signal
import sqlite3
from pathlib import Path

import pytest

import input_files
import moulin
from landed_table import LandedTable
from worker_process import NewWorker, WorkerProcess, run_moulin, until

KEY = moulin.JobKey(dag_id="dag", run_id="run", task_id="land")


def _dies_and_fails(worker: WorkerProcess, table: LandedTable, folder: Path, name: str) -> str:
    """A job whose first attempt is killed with its files written, and whose second finds no input; its id."""
    client = worker.start(MOULIN_FAULT_POINT="files_written:kill")
    handle = client.submit(input_files.job(folder), KEY)
    assert worker.wait_end() == -signal.SIGKILL
    assert table.files_on_disk()
    for file in folder.iterdir():
        file.unlink()
    with pytest.raises(moulin.MoulinError, match=name):
        worker.start().job(handle.job_id).wait(60)
    return handle.job_id


def test_files_of_an_attempt_that_died_go_when_its_job_fails(
    worker: WorkerProcess, new_worker: NewWorker, table: LandedTable, tmp_path: Path
) -> None:
    _dies_and_fails(worker, table, tmp_path / "input", "csv")
    worker.close()
    new_worker("next").start()
    until("a worker that starts has removed them", lambda: table.files_on_disk() == [])


def test_the_command_line_shows_and_removes_them(
    worker: WorkerProcess, table: LandedTable, state: Path, tmp_path: Path
) -> None:
    job_id = _dies_and_fails(worker, table, tmp_path / "input", "csv")
    worker.close()
    files = len(table.files_on_disk())
    listed = run_moulin(state, "orphans", "list").stdout.splitlines()
    assert len(listed) == files
    assert all(line.startswith("dead ") and job_id in line for line in listed)
    dry = run_moulin(state, "orphans", "remove", "--dry-run")
    assert f"{files} files would be removed" in dry.stdout, dry.stderr
    assert len(table.files_on_disk()) == files
    assert f"{files} files removed" in run_moulin(state, "orphans", "remove").stdout
    assert table.files_on_disk() == []
    assert run_moulin(state, "orphans", "list").stdout.strip() == "no files are left over"


def test_files_of_an_attempt_that_may_have_committed_stay_while_its_job_runs(
    new_worker: NewWorker, table: LandedTable, state: Path, tmp_path: Path
) -> None:
    zombie, heir = new_worker("zombie", MOULIN_LEASE="1s"), new_worker("heir")
    folder = tmp_path / "input"
    handle = zombie.start(MOULIN_FAULT_POINT="before_commit:pause").submit(input_files.job(folder), KEY)
    zombie.wait_paused()
    files = table.files_on_disk()
    client = heir.start(MOULIN_FAULT_POINT="files_claimed:pause")
    heir.wait_paused()
    for file in folder.iterdir():
        file.unlink()
    settings = {"MOULIN_STORE_URL": f"sqlite://{state}/jobs.db", "MOULIN_CATALOG_URI": f"sqlite://{state}/catalog.db"}
    settings["MOULIN_WAREHOUSE"] = f"file://{state}/warehouse"
    assert "0 files removed" in run_moulin(state, "orphans", "remove", **settings).stdout
    listed = run_moulin(state, "orphans", "list", **settings).stdout
    assert listed.count("unknown ") == len(files) > 0
    assert table.files_on_disk() == files

    heir.resume()
    with pytest.raises(moulin.MoulinError):
        client.job(handle.job_id).wait(60)
    assert f"{len(files)} files removed" in run_moulin(state, "orphans", "remove", **settings).stdout
    assert table.files_on_disk() == []
    zombie.resume()
    until("the zombie has given up", lambda: "the attempt failed" in zombie.log())
    assert table.ids() == []


def test_a_file_that_a_sleeping_writer_makes_after_its_job_has_landed_is_known_and_goes(
    new_worker: NewWorker, table: LandedTable, state: Path, tmp_path: Path
) -> None:
    zombie, heir = new_worker("zombie", MOULIN_LEASE="1s"), new_worker("heir", MOULIN_LEASE="1s")
    handle = zombie.start(MOULIN_FAULT_POINT="files_written:pause").submit(input_files.job(tmp_path / "input"), KEY)
    zombie.wait_paused()
    (late, *_) = table.files_on_disk()
    written = late.read_bytes()
    heir.start().job(handle.job_id).wait(60)
    table.holds_each_row_once(input_files.LANDED_IDS)
    heir.close()

    # What was sent to an object store, and is complete only now.
    late.write_bytes(written)
    day = 24 * 3600 * 1_000_000
    with sqlite3.connect(state / "jobs.db") as store:
        store.execute("UPDATE staged_files SET removed_at = removed_at - ?", (day,))
    settings = {"MOULIN_STORE_URL": f"sqlite://{state}/jobs.db", "MOULIN_CATALOG_URI": f"sqlite://{state}/catalog.db"}
    settings["MOULIN_WAREHOUSE"] = f"file://{state}/warehouse"
    assert run_moulin(state, "orphans", "remove", **settings).returncode == 0
    table.holds_each_row_once(input_files.LANDED_IDS)
    with sqlite3.connect(state / "jobs.db") as store:
        assert store.execute("SELECT count(*) FROM staged_files").fetchone() == (0,)


def test_a_job_that_lands_leaves_nothing_over(client: moulin.Client, state: Path, tmp_path: Path) -> None:
    client.submit(input_files.job(tmp_path / "input")).wait(60)
    assert run_moulin(state, "orphans", "list").stdout.strip() == "no files are left over"


def test_old_files_of_rejects_go_and_their_rows_stay(
    worker: WorkerProcess, new_worker: NewWorker, state: Path, tmp_path: Path
) -> None:
    spec = {**input_files.job(tmp_path / "input").to_dict(), "on_bad_row": "quarantine"}
    handle = worker.start().submit(spec).wait(60)
    assert len(list(state.glob("rejects/*/*.parquet"))) == 1
    worker.close()
    client = worker.start(MOULIN_KEEP_REJECTS="1ms")
    until("the old file is gone", lambda: not list(state.glob("rejects/*/*.parquet")))
    assert client.rejects(handle.job_id).read_all().num_rows == input_files.BAD_ROWS
