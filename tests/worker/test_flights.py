"""Real flights with their NA values: every reader of the table sees what pandas reads in the source."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd
import pyarrow.parquet as pq
import pytest
from pyiceberg.table import Table

import flights
import moulin
from landed_table import LandedTable
from worker_process import WorkerProcess

TYPES = {
    **dict.fromkeys(("year", "month", "day", "dep_time", "sched_dep_time", "dep_delay", "arr_time"), "long"),
    **dict.fromkeys(("sched_arr_time", "arr_delay", "flight", "air_time", "distance", "hour", "minute"), "long"),
    **dict.fromkeys(("carrier", "tailnum", "origin", "dest"), "string"),
    "time_hour": "timestamptz",
}


@pytest.fixture(scope="module")
def source() -> pd.DataFrame:
    """The source as pandas reads it, with no other null than `NA`."""
    flights.fetch()
    return pd.read_csv(flights.CSV, keep_default_na=False, na_values=["NA"], parse_dates=["time_hour"])


@pytest.fixture(scope="module")
def landed(tmp_path_factory: pytest.TempPathFactory) -> Table:
    """The table that all tests here read."""
    state = tmp_path_factory.mktemp("flights")
    worker = WorkerProcess(state)
    try:
        spec = moulin.JobSpec(
            source=moulin.csv(flights.fetch(), null_values=["NA"]),
            target=moulin.iceberg("bronze.flights", partition_by=["month(time_hour)", "origin"]),
        )
        receipt = worker.start().submit(spec).wait(120).receipt
    finally:
        worker.close()
    assert receipt is not None
    assert (receipt.rows_read, receipt.rows_landed) == (flights.ROWS, flights.ROWS)
    return LandedTable(state, "bronze.flights").load()


def test_types_are_those_of_the_values(landed: Table) -> None:
    assert {field.name: str(field.field_type) for field in landed.schema().fields} == TYPES
    assert [field.name for field in landed.schema().fields] == flights.CSV.open().readline().strip().split(",")


READERS: dict[str, Callable[[Table], pd.DataFrame]] = {
    "pyiceberg": lambda table: table.scan().to_arrow().to_pandas(),
    "duckdb": lambda table: table.scan().to_duckdb("flights").sql("SET TimeZone = 'UTC'; FROM flights").df(),
    "polars": lambda table: table.to_polars().collect().to_pandas(),
}


@pytest.mark.parametrize("reader", READERS)
def test_every_reader_sees_the_rows_of_the_source(reader: str, landed: Table, source: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(_in_order(READERS[reader](landed)), _in_order(source))


def test_partition_values_are_those_of_the_rows(landed: Table, source: pd.DataFrame) -> None:
    rows = zip(landed.inspect.partitions().to_pylist(), strict=True)
    found = {(p["partition"]["time_hour_month"], p["partition"]["origin"]): p["record_count"] for (p,) in rows}
    assert found == source.groupby([_month(source["time_hour"]), "origin"]).size().to_dict()


def test_each_file_holds_the_rows_of_its_partition(landed: Table) -> None:
    for task in landed.scan().plan_files():
        rows = pq.read_table(task.file.file_path.removeprefix("file://"), columns=["time_hour", "origin"]).to_pandas()
        assert set(zip(_month(rows["time_hour"]), rows["origin"], strict=True)) == {tuple(task.file.partition)}
        assert len(rows) == task.file.record_count


def test_a_filter_on_a_partition_finds_its_rows(landed: Table, source: pd.DataFrame) -> None:
    begin, end = "2013-07-01T00:00:00+00:00", "2013-08-01T00:00:00+00:00"
    scan = landed.scan(f"time_hour >= '{begin}' AND time_hour < '{end}' AND origin = 'JFK'")
    july = source["time_hour"].between(pd.Timestamp(begin), pd.Timestamp(end), inclusive="left")
    assert len(list(scan.plan_files())) == 1
    rows = _in_order(scan.to_arrow().to_pandas())
    pd.testing.assert_frame_equal(rows, _in_order(source[july & (source["origin"] == "JFK")]))


def test_counts_and_bounds_in_the_metadata_are_true(landed: Table, source: pd.DataFrame) -> None:
    metrics = [file["readable_metrics"] for file in landed.inspect.files().to_pylist()]
    for name in source.columns:
        nulls = sum(file[name]["null_value_count"] for file in metrics)
        assert nulls == source[name].isna().sum(), name
        assert min(file[name]["lower_bound"] for file in metrics) == source[name].dropna().min(), name
        assert max(file[name]["upper_bound"] for file in metrics) == source[name].dropna().max(), name


def _month(times: pd.Series) -> pd.Series:
    return (times.dt.year - 1970) * 12 + times.dt.month - 1


def _in_order(frame: pd.DataFrame) -> pd.DataFrame:
    """The same rows in one order and in pandas' own types, so that two readers can be compared."""
    plain = frame.copy()
    for name, kind in TYPES.items():
        match kind:
            case "long":
                plain[name] = plain[name].astype("Float64").astype("Int64")
            case "string":
                plain[name] = plain[name].astype("string").astype(object).where(plain[name].notna(), None)
            case _:
                plain[name] = plain[name].dt.tz_convert("UTC").astype("datetime64[us, UTC]")
    return plain.sort_values(list(plain.columns), ignore_index=True)
