"""Every type, null and partition transform arrives as PyIceberg itself would have written it."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyiceberg.table import Table
from pyiceberg.utils.datetime import date_to_days, datetime_to_micros, time_to_micros

import every_type
import moulin
from landed_table import LandedTable

FORMATS = {
    "csv": lambda file: moulin.csv(file, null_values=[every_type.NULL], columns=every_type.COLUMNS),
    "ndjson": lambda file: moulin.ndjson(file, columns=every_type.COLUMNS),
    "parquet": moulin.parquet,
}

PARTITIONS = [
    "boolean", "int", "date", "time", "decimal", "string",
    "bucket(4, int)", "bucket(4, long)", "bucket(4, decimal)", "bucket(4, date)", "bucket(4, time)",
    "bucket(4, timestamp)", "bucket(4, timestamptz)", "bucket(4, string)", "bucket(4, binary)",
    "truncate(1000000, int)", "truncate(2000000000, long)", "truncate(2000000000, decimal)", "truncate(1, string)",
    "year(date)", "month(date)", "day(date)",
    "year(timestamp)", "month(timestamp)", "day(timestamp)", "hour(timestamp)",
    "year(timestamptz)", "month(timestamptz)", "day(timestamptz)", "hour(timestamptz)",
    "binary", "truncate(1, binary)",
]  # fmt: skip


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_lands_the_same_rows(name: str, client: moulin.Client, table: LandedTable, tmp_path: Path) -> None:
    source = FORMATS[name](every_type.write(name, tmp_path))
    client.submit(moulin.JobSpec(source=source, target=moulin.iceberg(table.name))).wait(60)
    assert {field.name: str(field.field_type) for field in table.load().schema().fields} == _types()
    assert _rows(table.load()).equals(every_type.truth())


@pytest.mark.parametrize("field", PARTITIONS)
def test_partition_values_are_those_that_pyiceberg_computes(
    field: str, client: moulin.Client, table: LandedTable, tmp_path: Path
) -> None:
    source = moulin.parquet(every_type.write("parquet", tmp_path))
    client.submit(moulin.JobSpec(source=source, target=moulin.iceberg(table.name, partition_by=[field]))).wait(60)
    loaded = table.load()
    assert _rows(loaded).equals(every_type.truth())
    (partition,) = loaded.spec().fields
    column = loaded.schema().find_field(partition.source_id)
    transform = partition.transform.transform(column.field_type)
    for task in loaded.scan().plan_files():
        file = pq.read_table(task.file.file_path.removeprefix("file://"), schema=_schema(column.name))
        expected = {_internal(transform(_internal(value))) for value in file[column.name].to_pylist()}
        assert expected == {_internal(task.file.partition[0])}


@pytest.mark.parametrize("query", [None, "SELECT * FROM input"])
def test_the_target_decides_about_nanoseconds_of_a_parquet_file(
    query: str | None, client: moulin.Client, table: LandedTable, tmp_path: Path
) -> None:
    # The second one is before 1970, where towards zero is later.
    moments = pa.array([1_700_000_000_123_456_789, -1], pa.timestamp("ns"))
    pq.write_table(pa.table({"t": moments}), tmp_path / "a.parquet")
    source = moulin.parquet(tmp_path / "a.parquet")
    transform = None if query is None else moulin.sql(query)

    def land(**target: str) -> None:
        spec = moulin.JobSpec(source=source, transform=transform, target=moulin.iceberg(table.name, **target))
        client.submit(spec).wait(60)

    with pytest.raises(moulin.MoulinError, match=r"column `t`: .* say target.nanoseconds: floor"):
        land()
    land(nanoseconds="floor")
    landed = table.load().scan().to_arrow()["t"].cast(pa.int64()).to_pylist()
    assert sorted(landed) == [-1, 1_700_000_000_123_456]


def _internal(value: object) -> object:
    """A value as Iceberg holds it: dates and times as numbers."""
    match value:
        case dt.datetime(tzinfo=None):
            return datetime_to_micros(value)
        case dt.datetime():
            return datetime_to_micros(value.astimezone(dt.UTC))
        case dt.date():
            return date_to_days(value)
        case dt.time():
            return time_to_micros(value)
        case _:
            return value


def _schema(column: str) -> pa.Schema:
    return pa.schema([every_type.SCHEMA.field(column)])


def _rows(table: Table) -> pa.Table:
    return table.scan().to_arrow().cast(every_type.SCHEMA).sort_by("n")


def _types() -> dict[str, str]:
    return {name: kind.replace(",", ", ") for name, kind in every_type.COLUMNS.items()}
