"""Rows that do not fit are kept, every one with its bytes, through crashes and retries, and can be read by anybody."""

from __future__ import annotations

import contextlib
import json
import signal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import flight

import input_files
import moulin
from landed_table import LandedTable
from worker_process import NewWorker, WorkerProcess, run_moulin, until

KEY = moulin.JobKey(dag_id="dag", run_id="run", task_id="land")
REJECTS = "bronze.numbers__rejects"
RAW = b"not a number,0,x,1"


def _job(folder: Path, on_bad_row: str = "quarantine") -> moulin.JobSpec:
    return moulin.JobSpec.from_dict({**input_files.job(folder).to_dict(), "on_bad_row": on_bad_row})


def _rejects(client: moulin.Client, job_id: str) -> pa.Table:
    path = flight.FlightDescriptor.for_path("job", job_id, "rejects")
    with flight.connect(f"grpc://{client.connection.target}") as connected:
        info = connected.get_flight_info(path)
        return connected.do_get(info.endpoints[0].ticket).read_all()


def _are_the_bad_rows(rejects: pa.Table, folder: Path) -> None:
    first = folder / "0.csv"
    lines = first.read_bytes().splitlines(keepends=True)
    good = len(lines) - 1 - input_files.BAD_ROWS
    assert rejects["raw"].to_pylist() == [RAW] * input_files.BAD_ROWS
    assert rejects["record"].to_pylist() == [good + 1, good + 2]
    assert rejects["line"].to_pylist() == [good + 2, good + 3]
    assert rejects["column"].to_pylist() == ["id"] * input_files.BAD_ROWS
    assert rejects["code"].to_pylist() == ["type.long"] * input_files.BAD_ROWS
    assert rejects["uri"].to_pylist() == [f"file://{first}"] * input_files.BAD_ROWS
    for offset, length in zip(rejects["byte_offset"].to_pylist(), rejects["length_bytes"].to_pylist(), strict=True):
        assert first.read_bytes()[offset : offset + length] == RAW


def _kept_files(state: Path) -> list[str]:
    return sorted(str(file.relative_to(state / "rejects")) for file in (state / "rejects").glob("*/*"))


def test_a_finished_job_gives_its_rejects_to_any_flight_client(
    client: moulin.Client, table: LandedTable, state: Path, tmp_path: Path
) -> None:
    handle = client.submit(_job(tmp_path / "input")).wait(60)
    assert handle.receipt is not None
    assert handle.receipt.rows_rejected == input_files.BAD_ROWS
    table.holds_each_row_once(input_files.LANDED_IDS)
    _are_the_bad_rows(_rejects(client, handle.job_id), tmp_path / "input")
    assert _kept_files(state) == [f"{handle.job_id}/1.parquet"]
    with flight.connect(f"grpc://{client.connection.target}") as connected:
        listed = {tuple(part.decode() for part in info.descriptor.path): info for info in connected.list_flights()}
    assert set(listed) == {("job", handle.job_id), ("job", handle.job_id, "rejects")}
    assert listed["job", handle.job_id, "rejects"].total_records == input_files.BAD_ROWS


def test_rejects_can_be_read_while_the_job_runs(client: moulin.Client, tmp_path: Path) -> None:
    job = _job(tmp_path / "input").to_dict()
    # Hashing makes every row take its time, so that the job still runs when its first reject is read.
    job["transform"] = {"sql": "SELECT id, part, sha512(repeat(name, 3000)) AS digest FROM input"}
    handle = client.submit(moulin.JobSpec.from_dict(job))
    reader = client.rejects(handle)
    first = reader.read_next_batch()
    assert handle.get().state is moulin.JobState.RUNNING
    rest = reader.read_all()
    handle.wait(60)
    _are_the_bad_rows(pa.concat_tables([pa.Table.from_batches([first]), rest]), tmp_path / "input")


@pytest.mark.parametrize(
    "point",
    [
        "files_claimed",
        "mid_read",
        "files_written",
        "before_commit",
        "rows_committed",
        "committed_not_recorded",
        "recorded_not_reported",
    ],
)
def test_a_kill_and_a_restart_lose_no_reject_and_keep_none_twice(
    point: str, worker: WorkerProcess, table: LandedTable, state: Path, tmp_path: Path
) -> None:
    spec = _job(tmp_path / "input")
    with contextlib.suppress(moulin.Unavailable):
        worker.start(MOULIN_FAULT_POINT=f"{point}:kill").submit(spec, KEY)
    assert worker.wait_end() == -signal.SIGKILL
    client = worker.start()
    handle = client.submit(spec, KEY).wait(60)
    assert handle.receipt is not None
    table.holds_each_row_once(input_files.LANDED_IDS)
    assert handle.receipt.rows_rejected == input_files.BAD_ROWS
    _are_the_bad_rows(_rejects(client, handle.job_id), tmp_path / "input")
    assert _kept_files(state) == [f"{handle.job_id}/{handle.receipt.attempt}.parquet"]
    _are_in_their_table(state, handle.receipt, tmp_path / "input")


def test_rejects_land_in_a_table_beside_the_target(
    worker: WorkerProcess, table: LandedTable, state: Path, tmp_path: Path
) -> None:
    handle = worker.start().submit(_job(tmp_path / "input")).wait(60)
    assert handle.receipt is not None
    table.holds_each_row_once(input_files.LANDED_IDS)
    _are_in_their_table(state, handle.receipt, tmp_path / "input")
    partitions = LandedTable(state, REJECTS).load().spec()
    assert [str(field.transform) for field in partitions.fields] == ["day"]


def test_the_rejects_of_a_finished_job_can_be_read_from_any_worker(
    client: moulin.Client, new_worker: NewWorker, state: Path, tmp_path: Path
) -> None:
    handle = client.submit(_job(tmp_path / "input")).wait(60)
    other = new_worker("other").start()
    _are_the_bad_rows(_rejects(other, handle.job_id), tmp_path / "input")
    (kept,) = (state / "rejects").glob("*/*.parquet")
    kept.unlink()
    _are_the_bad_rows(_rejects(client, handle.job_id), tmp_path / "input")
    written = tmp_path / "bad.parquet"
    assert run_moulin(state, "get", handle.job_id, "--rejects", written).returncode == 0
    _are_the_bad_rows(pq.read_table(written), tmp_path / "input")


@pytest.mark.parametrize("point", ["", "before_commit", "committed_not_recorded", "after_report"])
def test_rejects_of_a_job_that_lands_no_row_are_in_their_table_once(
    point: str, worker: WorkerProcess, table: LandedTable, state: Path, tmp_path: Path
) -> None:
    spec = {**_job(tmp_path / "input").to_dict(), "transform": {"sql": "SELECT * FROM input WHERE id < 0"}}
    client = worker.start(**({"MOULIN_FAULT_POINT": f"{point}:kill"} if point else {}))
    with contextlib.suppress(moulin.Unavailable):
        client.submit(spec, KEY)
    if point:
        assert worker.wait_end() == -signal.SIGKILL
        client = worker.start()
    handle = client.submit(spec, KEY).wait(60)
    assert handle.receipt is not None
    assert (handle.receipt.rows_landed, handle.receipt.snapshot_id) == (0, None)
    assert table.snapshot_id() is None
    _are_in_their_table(state, handle.receipt, tmp_path / "input")
    again = client.submit(spec).wait(60).receipt
    assert again is not None
    assert again.files_skipped == input_files.FILES


def test_a_job_waits_until_its_rejects_are_committed_too(
    worker: WorkerProcess, table: LandedTable, state: Path, tmp_path: Path
) -> None:
    spec = _job(tmp_path / "input")
    worker.start(MOULIN_FAULT_POINT="rows_committed:kill").submit(spec, KEY)
    assert worker.wait_end() == -signal.SIGKILL
    (metadata,) = state.glob("warehouse/bronze/numbers__rejects/metadata")
    hidden = metadata.rename(tmp_path / "hidden")
    job = worker.start().submit(spec, KEY)
    fault = until("it is said what the job waits for", lambda: _waits(job))
    assert fault.message == "the rows are committed, and the rest of the commit is not finished"
    assert "once this is put right" in fault.hint
    hidden.rename(metadata)
    receipt = job.wait(60).receipt
    assert receipt is not None
    table.holds_each_row_once(input_files.LANDED_IDS)
    _are_in_their_table(state, receipt, tmp_path / "input")


def _waits(handle: moulin.JobHandle) -> moulin.Fault | None:
    job = handle.get()
    assert job.state in {moulin.JobState.QUEUED, moulin.JobState.RUNNING}
    return job.fault


@pytest.mark.parametrize("point", ["rows_committed", "rejects_written"])
def test_rejects_land_though_their_table_was_dropped_on_their_way(
    point: str, worker: WorkerProcess, table: LandedTable, state: Path, tmp_path: Path
) -> None:
    spec = _job(tmp_path / "input")
    worker.start(MOULIN_FAULT_POINT=f"{point}:kill").submit(spec, KEY)
    assert worker.wait_end() == -signal.SIGKILL
    LandedTable(state, REJECTS).drop()
    receipt = worker.start().submit(spec, KEY).wait(60).receipt
    assert receipt is not None
    table.holds_each_row_once(input_files.LANDED_IDS)
    _are_in_their_table(state, receipt, tmp_path / "input")
    partitions = LandedTable(state, REJECTS).load().spec()
    assert [str(field.transform) for field in partitions.fields] == ["day"]


def test_rejects_that_are_gone_with_their_table_are_asked_back(
    worker: WorkerProcess, table: LandedTable, state: Path, tmp_path: Path
) -> None:
    spec = _job(tmp_path / "input")
    worker.start(MOULIN_FAULT_POINT="rows_committed:kill").submit(spec, KEY)
    assert worker.wait_end() == -signal.SIGKILL
    rejects = LandedTable(state, REJECTS)
    (file,) = rejects.files_on_disk()
    rejects.drop()
    backup = file.rename(tmp_path / "backup.parquet")
    job = worker.start().submit(spec, KEY)
    fault = until("it is said what the job waits for", lambda: _waits(job))
    assert f"{REJECTS} was dropped, and the rejects that were on their way there went with it" in fault.causes
    assert f"bring back the data files of {REJECTS}" in fault.hint
    backup.rename(file)
    receipt = job.wait(60).receipt
    assert receipt is not None
    table.holds_each_row_once(input_files.LANDED_IDS)
    _are_in_their_table(state, receipt, tmp_path / "input")


def _are_in_their_table(state: Path, receipt: moulin.Receipt, folder: Path) -> None:
    rejects = LandedTable(state, REJECTS)
    loaded = rejects.load()
    assert receipt.rejects_table == REJECTS
    assert [snapshot.snapshot_id for snapshot in loaded.snapshots()] == [receipt.rejects_snapshot_id]
    rows = loaded.scan().to_arrow().sort_by("byte_offset")
    _are_the_bad_rows(rows, folder)
    assert set(rows["job_id"].to_pylist()) == {receipt.job_id}
    assert set(rows["token"].to_pylist()) == {receipt.token}
    assert rejects.data_files() == rejects.files_on_disk()


@pytest.mark.parametrize("on_bad_row", ["skip", "fail"])
def test_a_job_that_keeps_no_rejects_says_how_to(on_bad_row: str, client: moulin.Client, tmp_path: Path) -> None:
    handle = client.submit(_job(tmp_path / "input", on_bad_row))
    with contextlib.suppress(moulin.MoulinError):
        handle.wait(60)
    with pytest.raises(pa.ArrowKeyError, match=f"on_bad_row is {on_bad_row}"):
        _rejects(client, handle.job_id)


def test_a_job_without_bad_rows_has_an_empty_table_of_rejects(client: moulin.Client, tmp_path: Path) -> None:
    spec = moulin.JobSpec(
        source=moulin.csv(input_files.numbered(tmp_path / "input", 10)),
        target=moulin.iceberg("bronze.numbers"),
        on_bad_row="quarantine",
    )
    handle = client.submit(spec).wait(60)
    assert _rejects(client, handle.job_id).num_rows == 0


def test_the_rejects_of_a_job_with_too_many_bad_rows_say_which(
    client: moulin.Client, table: LandedTable, tmp_path: Path
) -> None:
    spec = moulin.JobSpec.from_dict({**_job(tmp_path / "input").to_dict(), "max_bad_rows": 1})
    handle = client.submit(spec)
    with pytest.raises(moulin.MoulinError):
        handle.wait(60)
    assert table.snapshot_id() is None
    assert _rejects(client, handle.job_id)["code"].to_pylist()[0] == "type.long"


def test_the_command_line_shows_and_writes_the_rejects(state: Path, tmp_path: Path) -> None:
    job = state / "job.yaml"
    job.write_text(_job(tmp_path / "input").to_yaml())
    done = run_moulin(state, "run", job)
    assert done.returncode == 0, done.stderr
    assert "rejects/job-" in done.stdout
    (file,) = (state / "rejects").glob("*/1.parquet")
    job_id = file.parent.name
    assert str(file) in done.stdout

    shown = run_moulin(state, "get", job_id, "--rejects")
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout.count("type.long") == input_files.BAD_ROWS
    assert RAW.decode() in shown.stdout

    written = {}
    for ending in ("parquet", "csv", "ndjson"):
        to = state / f"bad.{ending}"
        assert run_moulin(state, "get", job_id, "--rejects", to).returncode == 0
        written[ending] = to
    _are_the_bad_rows(pq.read_table(written["parquet"]), tmp_path / "input")
    lines = [json.loads(line) for line in written["ndjson"].read_text().splitlines()]
    assert [line["raw"] for line in lines] == ["bm90IGEgbnVtYmVyLDAseCwx"] * input_files.BAD_ROWS
    assert len(written["csv"].read_text().splitlines()) == 1 + input_files.BAD_ROWS


def test_the_command_line_asks_a_worker_for_rejects(client: moulin.Client, tmp_path: Path) -> None:
    handle = client.submit(_job(tmp_path / "input")).wait(60)
    to = tmp_path / "bad.parquet"
    done = run_moulin(tmp_path, "get", handle.job_id, "--rejects", to, "--address", client.connection.target)
    assert done.returncode == 0, done.stderr
    _are_the_bad_rows(pq.read_table(to), tmp_path / "input")
