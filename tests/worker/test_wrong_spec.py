"""A wrong job is refused within a second, by its name, in the client and on the command line alike."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import input_files
import moulin
from landed_table import LandedTable
from worker_process import WorkerProcess, run_moulin

Wrong = Callable[[dict[str, Any]], object]

# What is made wrong, and the name that the refusal must hold.
WRONG_SPECS: dict[str, tuple[Wrong, str]] = {
    "a column that the query does not find": (lambda job: job.update(transform={"sql": "SELECT nope FROM input"}), "nope"),
    "a query that does not parse": (lambda job: job.update(transform={"sql": "SELEKT * FROM input"}), "SELEKT"),
    "a table that the query does not find": (lambda job: job.update(transform={"sql": "SELECT * FROM elsewhere"}), "elsewhere"),
    "a file that is not there": (lambda job: job["source"].update(uris=["file:///nowhere/absent.csv"]), "file:///nowhere/absent.csv"),
    "a pattern that matches nothing": (lambda job: job["source"].update(uris=["file:///nowhere/*.csv"]), "file:///nowhere/*.csv"),
    "a declared column that the file does not have": (lambda job: job["source"].update(columns=[{"name": "absent", "type": "long"}]), "absent"),
    "a partition of a column that does not land": (lambda job: job["target"].update(partition_by=["month(absent)"]), "absent"),
    "a partition that does not fit its column": (lambda job: job["target"].update(partition_by=["month(name)"]), "name"),
    "a scheme that no store has": (lambda job: job["source"].update(uris=["ftp://host/a.csv"]), "ftp"),
}  # fmt: skip


@pytest.fixture(params=WRONG_SPECS)
def wrong(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[moulin.JobSpec, str]:
    """A job with one thing wrong, and that thing's name."""
    spoil, name = WRONG_SPECS[request.param]
    job = input_files.job(tmp_path / "input").to_dict()
    spoil(job)
    return moulin.JobSpec.from_dict(job), name


def test_the_client_is_told_at_submit(wrong: tuple[moulin.JobSpec, str], client: moulin.Client) -> None:
    spec, name = wrong
    begun = time.monotonic()
    with pytest.raises(moulin.MoulinError) as refused:
        client.submit(spec)
    assert time.monotonic() - begun < 1
    assert name in refused.value.message
    assert not refused.value.retryable
    assert refused.value.hint
    assert list(client.list()) == []


def test_the_command_line_tells_and_ends_with_2(wrong: tuple[moulin.JobSpec, str], state: Path) -> None:
    spec, name = wrong
    job = _job_file(state, spec)
    for command in ("run", "plan"):
        begun = time.monotonic()
        done = run_moulin(state, command, job)
        assert time.monotonic() - begun < 1
        assert (done.returncode, done.stdout) == (2, "")
        assert name in done.stderr
        assert "what to do: " in done.stderr


def test_a_job_file_with_an_unknown_field_ends_with_2(state: Path, tmp_path: Path) -> None:
    job = _job_file(state, input_files.job(tmp_path / "input"))
    job.write_text(job.read_text().replace("on_bad_row", "on_bad_rows"))
    done = run_moulin(state, "run", job)
    assert done.returncode == 2
    assert "on_bad_rows" in done.stderr


def test_a_bad_row_ends_the_command_with_1_and_its_place(state: Path, table: LandedTable, tmp_path: Path) -> None:
    spec = {**input_files.job(tmp_path / "input").to_dict(), "on_bad_row": "fail"}
    done = run_moulin(state, "run", _job_file(state, moulin.JobSpec.from_dict(spec)))
    line = input_files.GOOD_ROWS // input_files.FILES + 2
    assert done.returncode == 1
    assert all(word in done.stderr for word in (f"0.csv, line {line},", "not a number", "long", "id"))
    assert table.snapshot_id() is None


def test_a_good_job_ends_with_0_and_a_key_lands_it_once(state: Path, table: LandedTable, tmp_path: Path) -> None:
    job = _job_file(state, input_files.job(tmp_path / "input"))
    for _ in range(2):
        done = run_moulin(state, "run", job, "--key", "once")
        assert done.returncode == 0, done.stderr
        assert "moulin run" not in done.stderr
    table.holds_each_row_once(input_files.LANDED_IDS)


def test_a_plan_changes_nothing(state: Path, table: LandedTable, tmp_path: Path) -> None:
    done = run_moulin(state, "plan", _job_file(state, input_files.job(tmp_path / "input")))
    assert done.returncode == 0, done.stderr
    assert all(word in done.stdout for word in ("0.csv", "bronze.numbers", "decimal(12,2)", "part"))
    assert table.snapshot_id() is None
    assert table.files_on_disk() == []


def test_an_unreadable_catalog_is_named_on_the_command_line(state: Path, tmp_path: Path) -> None:
    job = _job_file(state, input_files.job(tmp_path / "input"))
    (state / "catalog.db").write_bytes(b"this is no database\n" * 100)
    begun = time.monotonic()
    done = run_moulin(state, "run", job)
    assert time.monotonic() - begun < 1
    assert done.returncode != 0
    assert "catalog" in done.stderr
    assert "catalog.db" in done.stderr


def test_a_catalog_that_goes_bad_is_named_at_submit(worker: WorkerProcess, state: Path, tmp_path: Path) -> None:
    client = worker.start()
    for file in state.glob("catalog.db*"):
        file.write_bytes(b"this is no database\n" * 100)
    begun = time.monotonic()
    with pytest.raises(moulin.MoulinError) as refused:
        client.submit(input_files.job(tmp_path / "input"))
    assert time.monotonic() - begun < 1
    assert "catalog" in refused.value.fault.report()
    checks = {check.name: check for check in client.describe(check=True).checks}
    assert not checks["catalog"].ok
    assert checks["store"].ok


def test_a_doctor_names_what_is_wrong(state: Path) -> None:
    assert run_moulin(state, "doctor").returncode == 0
    done = run_moulin(state, "doctor", MOULIN_CATALOG_URI="sqlite:///proc/nowhere/catalog.db")
    assert done.returncode != 0
    assert "/proc/nowhere" in done.stdout + done.stderr


def _job_file(state: Path, spec: moulin.JobSpec) -> Path:
    file = state / "job.yaml"
    file.write_text(spec.to_yaml())
    return file
