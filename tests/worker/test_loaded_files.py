"""A file is loaded into a table once, whatever asks for it, and everybody can see when and why."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest

import input_files
import moulin
from landed_table import LandedTable
from worker_process import NewWorker, WorkerProcess, run_moulin, until

ROWS = 9


def _spec(pattern: str, on_loaded_file: str = "skip", **more: object) -> moulin.JobSpec:
    target = moulin.iceberg("bronze.numbers", on_loaded_file=on_loaded_file)  # type: ignore[arg-type]
    return moulin.JobSpec(source=moulin.csv(pattern, **more), target=target)  # type: ignore[arg-type]


def _key(task: str) -> moulin.JobKey:
    return moulin.JobKey(dag_id="dag", run_id="run", task_id=task)


def _land(client: moulin.Client, spec: moulin.JobSpec) -> moulin.Receipt:
    receipt = client.submit(spec).wait(60).receipt
    assert receipt is not None
    return receipt


def test_only_files_that_are_new_are_taken(client: moulin.Client, table: LandedTable, tmp_path: Path) -> None:
    pattern = input_files.numbered(tmp_path / "input", ROWS)
    first = _land(client, _spec(pattern))
    (tmp_path / "input" / "3.csv").write_text("id,part,name,amount\n9,0,x,1.5\n")
    second = _land(client, _spec(pattern))
    assert table.ids() == list(range(ROWS + 1))
    assert (first.files, first.files_skipped) == (3, 0)
    assert (second.files, second.files_skipped, second.rows_read, second.rows_landed) == (1, 3, 1, 1)
    skipped = second.skipped_files[0]
    assert skipped.uri == f"file://{tmp_path}/input/0.csv"
    assert first.job_id in skipped.reason
    assert str(first.snapshot_id) in skipped.reason


def test_a_job_whose_files_are_all_loaded_succeeds_without_a_snapshot(
    client: moulin.Client, table: LandedTable, tmp_path: Path
) -> None:
    spec = _spec(input_files.numbered(tmp_path / "input", ROWS))
    first = _land(client, spec)
    handle = client.submit(spec).wait(60)
    assert handle.receipt is not None
    assert (handle.receipt.files, handle.receipt.files_skipped, handle.receipt.rows_landed) == (0, 3, 0)
    assert handle.receipt.snapshot_id is None
    assert handle.to_arrow().num_rows == 0
    assert table.snapshot_id() == first.snapshot_id


def test_reload_and_fail_do_what_they_say(client: moulin.Client, table: LandedTable, tmp_path: Path) -> None:
    pattern = input_files.numbered(tmp_path / "input", ROWS)
    first = _land(client, _spec(pattern))
    with pytest.raises(moulin.MoulinError, match=f"0.csv: loaded into bronze.numbers already by {first.job_id}"):
        client.submit(_spec(pattern, "fail"))
    _land(client, _spec(pattern, "reload"))
    assert table.ids() == sorted([*range(ROWS), *range(ROWS)])


def test_a_file_whose_content_changed_is_another_file(
    client: moulin.Client, table: LandedTable, tmp_path: Path
) -> None:
    pattern = input_files.numbered(tmp_path / "input", ROWS, files=1)
    _land(client, _spec(pattern))
    file = tmp_path / "input" / "0.csv"
    before = file.stat()
    file.write_text(file.read_text().replace("\n0,", "\n7,"))
    # The same size and the same time of modification: only the time of change tells.
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (file.stat().st_size, file.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    assert _land(client, _spec(pattern)).files == 1
    assert len(table.ids()) == 2 * ROWS


def test_a_table_that_was_dropped_knows_no_file(client: moulin.Client, table: LandedTable, tmp_path: Path) -> None:
    pattern = input_files.numbered(tmp_path / "input", ROWS)
    _land(client, _spec(pattern))
    table.drop()
    assert _land(client, _spec(pattern)).files == 3
    assert table.ids() == list(range(ROWS))


def test_a_file_that_failed_or_is_damaged_is_taken_when_it_is_repaired(
    client: moulin.Client, table: LandedTable, tmp_path: Path
) -> None:
    pattern = input_files.numbered(tmp_path / "input", ROWS)
    bad = tmp_path / "input" / "1.csv"
    good = bad.read_text()
    bad.write_text(good + "x,0,x,1\n")
    spec = _spec(pattern, columns={"id": "long"})
    with pytest.raises(moulin.MoulinError):
        client.submit(spec).wait(60)
    bad.write_text("other,columns\n1,2\n")
    skipping = _spec(pattern, columns={"id": "long"}, on_bad_file="skip")
    assert _land(client, skipping).files_skipped == 1
    bad.write_text(good)
    assert _land(client, spec).rows_landed == 3
    assert table.ids() == list(range(ROWS))


def test_a_plan_says_of_each_file_whether_it_would_be_taken(client: moulin.Client, state: Path, tmp_path: Path) -> None:
    pattern = input_files.numbered(tmp_path / "input", ROWS)
    first = _land(client, _spec(pattern))
    (tmp_path / "input" / "3.csv").write_text("id,part,name,amount\n9,0,x,1.5\n")
    plan = client.plan(_spec(pattern))
    assert [first.job_id in file.skipped for file in plan.files] == [True, True, True, False]
    assert plan.files[3].skipped == ""
    job = state / "job.yaml"
    job.write_text(_spec(pattern).to_yaml())
    done = run_moulin(state, "plan", job)
    assert "leaves out 3 files" in done.stdout, done.stderr
    assert (
        f"0.csv  {(tmp_path / 'input' / '0.csv').stat().st_size} B: loaded into bronze.numbers already" in done.stdout
    )


def test_two_jobs_of_one_file_at_the_same_moment_land_it_once(
    client: moulin.Client, table: LandedTable, tmp_path: Path
) -> None:
    spec = _spec(input_files.numbered(tmp_path / "input"))
    handles = [client.submit(spec, _key(f"task-{n}")) for n in range(6)]
    receipts = [handle.wait(60).receipt for handle in handles]
    assert table.ids() == list(range(input_files.GOOD_ROWS))
    assert sorted(receipt.files for receipt in receipts if receipt is not None) == [0] * 5 + [input_files.FILES]


def _anew(client: moulin.Client, spec: moulin.JobSpec, generation: int) -> moulin.Receipt:
    receipt = client.submit(spec, _key("anew"), generation=generation).wait(60).receipt
    assert receipt is not None
    return receipt


def _of_one_file(folder: Path, number: int, **target: object) -> moulin.JobSpec:
    folder.mkdir(exist_ok=True)
    file = folder / f"{number}.csv"
    if not file.exists():
        file.write_text(f"id,part\n{number},0\n")
    landing = moulin.iceberg("bronze.numbers", **target)  # type: ignore[arg-type]
    return moulin.JobSpec(source=moulin.csv(f"file://{file}"), target=landing)


def test_files_stay_loaded_when_a_redo_takes_the_result_that_is_there(
    client: moulin.Client, table: LandedTable, tmp_path: Path
) -> None:
    _anew(client, _of_one_file(tmp_path, 1), 0)
    second = _anew(client, _of_one_file(tmp_path, 2), 1)
    assert second.rows_replaced == 1
    third = _anew(client, _of_one_file(tmp_path, 2, on_rerun="skip"), 2)
    assert third.attached_to == second.token
    assert _land(client, _of_one_file(tmp_path, 2)).files_skipped == 1
    assert _land(client, _of_one_file(tmp_path, 1)).files == 1
    assert table.ids() == [1, 2]
    assert (third.rows_replaced, third.replaced_snapshot_id, third.rejects_replaced) == (0, None, 0)


def test_files_of_a_generation_that_others_were_added_to_stay_loaded(
    client: moulin.Client, table: LandedTable, tmp_path: Path
) -> None:
    _anew(client, _of_one_file(tmp_path, 1), 0)
    _anew(client, _of_one_file(tmp_path, 2, on_rerun="append"), 1)
    assert _anew(client, _of_one_file(tmp_path, 3), 2).rows_replaced == 1
    assert table.ids() == [1, 3]
    assert _land(client, _of_one_file(tmp_path, 1)).files_skipped == 1
    assert _land(client, _of_one_file(tmp_path, 2)).files == 1
    assert table.ids() == [1, 2, 3]


def test_a_file_of_nothing_but_rejects_is_loaded_no_more_when_they_are_replaced(
    client: moulin.Client, table: LandedTable, tmp_path: Path
) -> None:
    first, second = _of_one_file(tmp_path, 1), _of_one_file(tmp_path, 2)
    (tmp_path / "1.csv").write_text("id,part\nx,0\n")
    source = moulin.csv(f"file://{tmp_path}/1.csv", columns={"id": "long"})
    first = replace(first, source=source, on_bad_row="quarantine")
    assert _anew(client, first, 0).rows_rejected == 1
    assert _anew(client, second, 1).rejects_replaced == 1
    # Otherwise its row would be nowhere, and nobody would take it again.
    assert _land(client, first).rows_rejected == 1


def test_files_of_a_generation_that_told_its_end_after_it_was_replaced_are_not_loaded(
    new_worker: NewWorker, table: LandedTable, tmp_path: Path
) -> None:
    late = new_worker("late")
    handle = late.start(MOULIN_FAULT_POINT="committed_not_recorded:pause").submit(
        _of_one_file(tmp_path, 1), _key("anew")
    )
    late.wait_paused()
    client = new_worker("other").start()
    assert _anew(client, _of_one_file(tmp_path, 2), 1).rows_replaced == 1
    late.resume()
    handle.wait(60)
    assert _land(client, _of_one_file(tmp_path, 1)).files == 1
    assert table.ids() == [1, 2]


@pytest.mark.parametrize("point", ["files_claimed", "files_written", "before_commit", "committed_not_recorded"])
def test_a_job_waits_for_the_files_of_one_that_died_until_it_is_known_what_became_of_them(
    point: str, new_worker: NewWorker, table: LandedTable, tmp_path: Path
) -> None:
    spec = _spec(input_files.numbered(tmp_path / "input"))
    dead, other = new_worker("dead", MOULIN_LEASE="3s"), new_worker("other", MOULIN_LEASE="3s")
    first = dead.start(MOULIN_FAULT_POINT=f"{point}:kill").submit(spec, _key("first"))
    assert dead.wait_end() == -signal.SIGKILL
    client = other.start()
    second = client.submit(spec, _key("second")).wait(60).receipt
    first_receipt = client.job(first.job_id).wait(60).receipt
    assert first_receipt is not None
    assert second is not None
    assert sorted([first_receipt.files, second.files]) == [0, input_files.FILES]
    table.holds_each_row_once(list(range(input_files.GOOD_ROWS)))


def test_the_files_of_a_cancelled_job_are_free(new_worker: NewWorker, table: LandedTable, tmp_path: Path) -> None:
    spec = _spec(input_files.numbered(tmp_path / "input"))
    paused, other = new_worker("paused", MOULIN_LEASE="1s"), new_worker("other", MOULIN_LEASE="1s")
    first = paused.start(MOULIN_FAULT_POINT="files_claimed:pause").submit(spec, _key("first"))
    paused.wait_paused()
    client = other.start()
    second = client.submit(spec, _key("second"))
    client.job(first.job_id).cancel("not wanted")
    assert second.wait(60).receipt.files == input_files.FILES  # type: ignore[union-attr]
    assert client.get(first.job_id).state is moulin.JobState.CANCELLED
    paused.resume()
    # Whoever notices first says so: the thread that keeps the lease, or the statement that needs it.
    until("the zombie has given up", lambda: "the attempt ends" in paused.log() or "has lost its lease" in paused.log())
    table.holds_each_row_once(list(range(input_files.GOOD_ROWS)))


def test_a_file_that_changes_while_it_is_read_fails_the_job(
    worker: WorkerProcess, table: LandedTable, tmp_path: Path
) -> None:
    pattern = input_files.numbered(tmp_path / "input")
    client = worker.start(MOULIN_FAULT_POINT="files_claimed:pause")
    handle = client.submit(_spec(pattern))
    worker.wait_paused()
    with (tmp_path / "input" / "0.csv").open("a") as file:
        file.write("90000,0,x,1\n")
    worker.resume()
    with pytest.raises(moulin.MoulinError, match="it has changed since it was listed"):
        handle.wait(60)
    assert table.snapshot_id() is None


def test_a_cleared_task_loads_its_own_files_again(client: moulin.Client, tmp_path: Path) -> None:
    spec = _spec(input_files.numbered(tmp_path / "input", ROWS))
    client.submit(spec, _key("land")).wait(60)
    redo = client.submit(spec, _key("land"), generation=1).wait(60).receipt
    assert redo is not None
    assert (redo.files, redo.rows_landed) == (3, ROWS)


def test_the_history_of_files_is_there_for_the_command_line_flight_and_python(
    client: moulin.Client, state: Path, tmp_path: Path
) -> None:
    spec = _spec(input_files.numbered(tmp_path / "input", ROWS))
    first = _land(client, spec)
    second = _land(client, spec)
    rows = client.files("bronze.numbers").read_all().to_pylist()
    assert [Path(row["uri"]).name for row in rows] == ["0.csv", "1.csv", "2.csv"]
    assert {(row["state"], row["job_id"], row["snapshot_id"], row["attempt"], row["skipped_by"]) for row in rows} == {
        ("loaded", first.job_id, first.snapshot_id, 1, second.job_id)
    }
    uri = rows[1]["uri"]
    assert client.explain_file(uri).read_all().to_pylist() == rows[1:2]

    listed = run_moulin(state, "files", "list", "bronze.numbers")
    assert listed.stdout.count("loaded ") == 3, listed.stderr
    asked = run_moulin(state, "files", "list", "bronze.numbers", "--address", client.connection.target)
    assert asked.stdout == listed.stdout
    told = run_moulin(state, "files", "explain", tmp_path / "input" / "1.csv").stdout
    assert f"taken: loaded into bronze.numbers by {first.job_id} (attempt 1, snapshot {first.snapshot_id}" in told
    assert f"left out by {second.job_id}" in told
    never = run_moulin(state, "files", "explain", "/no/such.csv").stdout
    assert "not taken: no job has ever begun to load /no/such.csv" in never
