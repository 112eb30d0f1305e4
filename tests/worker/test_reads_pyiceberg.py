"""Moulin reads what PyIceberg writes: every type and null, partitions by every transform, and lands beside it."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
from pyiceberg.transforms import (
    BucketTransform,
    DayTransform,
    HourTransform,
    IdentityTransform,
    MonthTransform,
    Transform,
    TruncateTransform,
    YearTransform,
)

import every_type
import moulin
from landed_table import catalog

TRANSFORMS: list[tuple[str, Transform]] = [
    *((name, IdentityTransform()) for name in ("boolean", "int", "date", "string")),
    *((name, BucketTransform(4)) for name in ("int", "long", "decimal", "date", "timestamp", "timestamptz", "string")),
    ("int", TruncateTransform(1_000_000)),
    ("string", TruncateTransform(1)),
    *(("timestamp", kind) for kind in (YearTransform(), MonthTransform(), DayTransform(), HourTransform())),
    *(("timestamptz", kind) for kind in (MonthTransform(), HourTransform())),
    ("date", DayTransform()),
]  # fmt: skip


@pytest.fixture
def truth() -> pa.Table:
    """Rows on both sides of 1970, with nulls in all columns but `n`."""
    return every_type.truth().slice(70, 40)


def _read(client: moulin.Client, sql: str) -> pa.Table:
    found = client.query(sql).read_all()
    return found.cast(pa.schema([every_type.SCHEMA.field(name) for name in found.schema.names])).sort_by("n")


def test_every_type_and_null_is_read(client: moulin.Client, state: Path) -> None:
    lake = catalog(state)
    lake.create_namespace("ice")
    lake.create_table("ice.types", every_type.SCHEMA).append(every_type.truth())
    assert _read(client, "SELECT * FROM ice.types").equals(every_type.truth())


def test_partitions_by_every_transform_are_read_and_landed_beside(
    client: moulin.Client, state: Path, truth: pa.Table, tmp_path: Path
) -> None:
    lake = catalog(state)
    lake.create_namespace("ice")
    source = moulin.parquet(every_type.write("parquet", tmp_path))
    for number, (column, transform) in enumerate(TRANSFORMS):
        name = f"ice.t{number}"
        made = lake.create_table(name, every_type.SCHEMA)
        with made.update_spec() as update:
            update.add_field(column, transform)
        made.append(truth)
        assert _read(client, f"SELECT * FROM {name}").equals(truth), (column, transform)
        # A condition on the partition's column leaves out files and no row.
        wanted = truth.filter(pa.compute.is_valid(truth[column]))
        assert _read(client, f'SELECT * FROM {name} WHERE "{column}" IS NOT NULL').equals(wanted), (column, transform)
        client.submit(moulin.JobSpec(source=source, target=moulin.iceberg(name))).wait(60)
        both = pa.concat_tables([truth, every_type.truth()]).sort_by("n")
        assert lake.load_table(name).scan().to_arrow().cast(every_type.SCHEMA).sort_by("n").equals(both)
        assert _read(client, f"SELECT * FROM {name}").equals(both), (column, transform)


def test_a_partition_column_may_have_a_name_that_avro_does_not_take(client: moulin.Client, state: Path) -> None:
    name = "tail no"
    lake = catalog(state)
    lake.create_namespace("ice")
    rows = pa.table({name: ["a", "b", None, "a"], "n": pa.array(range(4), pa.int64())})
    made = lake.create_table("ice.odd", rows.schema)
    with made.update_spec() as update:
        update.add_field(name, IdentityTransform())
    made.append(rows)
    assert client.query("SELECT * FROM ice.odd ORDER BY n").read_all().to_pylist() == rows.to_pylist()
    found = client.query(f"SELECT n FROM ice.odd WHERE \"{name}\" = 'a' ORDER BY n").read_all()
    assert found["n"].to_pylist() == [0, 3]
