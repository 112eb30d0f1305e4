"""The rows of a job over Arrow Flight: while it runs, after it, and whatever becomes of the reader."""

from __future__ import annotations

import warnings
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import flight

import input_files
import moulin
from landed_table import LandedTable
from worker_process import until

ROWS = 200_000
# Hashing makes every row take its time, so that the job still runs when its first rows are read.
SLOWLY = "SELECT id, sha512(repeat(name, 1500)) AS digest FROM input"
LONG_TEXT_BYTES = 6 * 1024 * 1024


def _slow_job(folder: Path) -> moulin.JobSpec:
    return moulin.JobSpec(
        source=moulin.csv(input_files.numbered(folder, ROWS)),
        transform=moulin.sql(SLOWLY),
        target=moulin.iceberg("bronze.numbers"),
    )


@pytest.fixture
def arrow_client(client: moulin.Client) -> flight.FlightClient:
    """Any Flight client, without Moulin's own."""
    with flight.connect(f"grpc://{client.connection.target}") as connected:
        yield connected


def test_rows_can_be_read_while_the_job_runs(client: moulin.Client, table: LandedTable, tmp_path: Path) -> None:
    handle = client.submit(_slow_job(tmp_path / "input"))
    dropped: list[int] = []
    reader = handle.reader(on_dropped=dropped.append)
    first = reader.read_next_batch()
    assert first.num_rows > 0
    assert handle.get().state is moulin.JobState.RUNNING
    rest = reader.read_all()
    assert handle.wait(60).receipt.rows_landed == ROWS
    assert first.num_rows + rest.num_rows + sum(dropped) == ROWS
    ids = sorted([*first["id"].to_pylist(), *rest["id"].to_pylist()])
    assert len(ids) == len(set(ids))
    table.holds_each_row_once(list(range(ROWS)))


def test_rows_after_the_job_are_exactly_those_of_its_snapshot(client: moulin.Client, tmp_path: Path) -> None:
    first = client.submit(input_files.job(tmp_path / "input")).wait(60)
    second = client.submit(input_files.job(tmp_path / "input")).wait(60)
    for handle in (first, second):
        with warnings.catch_warnings(action="error"):
            rows = handle.to_arrow()
        assert sorted(rows["id"].to_pylist()) == input_files.LANDED_IDS
        assert rows.schema.field("amount").type == pa.decimal128(12, 2)


def test_a_reader_that_goes_away_does_not_stop_the_job(
    client: moulin.Client, arrow_client: flight.FlightClient, table: LandedTable, tmp_path: Path
) -> None:
    handle = client.submit(_slow_job(tmp_path / "input"))
    info = arrow_client.get_flight_info(flight.FlightDescriptor.for_path("job", handle.job_id))
    rows = arrow_client.do_get(info.endpoints[0].ticket)
    assert rows.read_chunk().data.num_rows > 0
    # Not `close()` of a `RecordBatchReader`, which leaves the call open.
    rows.cancel()
    assert handle.get().state is moulin.JobState.RUNNING
    handle.wait(60)
    table.holds_each_row_once(list(range(ROWS)))


def test_a_message_may_be_larger_than_four_megabytes(client: moulin.Client, tmp_path: Path) -> None:
    texts = ["a" * LONG_TEXT_BYTES, "b" * LONG_TEXT_BYTES]
    file = tmp_path / "long.csv"
    file.write_text("text\n" + "\n".join(texts) + "\n")
    spec = moulin.JobSpec(source=moulin.csv(file), target=moulin.iceberg("bronze.long"))
    assert sorted(client.submit(spec).to_arrow(60)["text"].to_pylist()) == texts


def test_any_flight_client_finds_and_reads_the_jobs(
    client: moulin.Client, arrow_client: flight.FlightClient, tmp_path: Path
) -> None:
    handle = client.submit(input_files.job(tmp_path / "input")).wait(60)
    (listed,) = arrow_client.list_flights()
    assert listed.descriptor.path == [b"job", handle.job_id.encode()]
    assert listed.total_records == len(input_files.LANDED_IDS)
    rows = arrow_client.do_get(listed.endpoints[0].ticket).read_all()
    assert rows.schema == listed.schema
    assert sorted(rows["id"].to_pylist()) == input_files.LANDED_IDS


def test_a_job_that_is_not_there_is_named(arrow_client: flight.FlightClient) -> None:
    with pytest.raises(pa.ArrowKeyError, match="job-none"):
        arrow_client.get_flight_info(flight.FlightDescriptor.for_path("job", "job-none"))


def test_a_job_without_rows_has_an_empty_table(client: moulin.Client, tmp_path: Path) -> None:
    spec = moulin.JobSpec(
        source=moulin.csv(input_files.numbered(tmp_path / "input", 10)),
        transform=moulin.sql("SELECT id FROM input WHERE id < 0"),
        target=moulin.iceberg("bronze.numbers"),
    )
    handle = client.submit(spec).wait(60)
    assert handle.receipt is not None
    assert (handle.receipt.snapshot_id, handle.receipt.rows_filtered) == (None, 10)
    rows = handle.to_arrow()
    assert (rows.num_rows, rows.column_names) == (0, ["id"])


def test_a_failed_job_tells_its_reader_why(client: moulin.Client, tmp_path: Path) -> None:
    spec = {**input_files.job(tmp_path / "input").to_dict(), "on_bad_row": "fail"}
    handle = client.submit(spec)
    until("the job is over", lambda: handle.get().state.is_final)
    with pytest.raises(moulin.MoulinError, match="not a number"):
        handle.reader().read_all()
