"""Iceberg tables as inputs of a job: what PyIceberg wrote, Moulin reads, values compared."""

from __future__ import annotations

import datetime as dt
import json
import signal
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pytest
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.expressions import EqualTo
from pyiceberg.partitioning import PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.table import Table
from pyiceberg.transforms import IdentityTransform
from pyiceberg.types import LongType, NestedField, StringType, TimestamptzType

import moulin
from landed_table import LandedTable, catalog
from moulin import iceberg, sql, table
from worker_process import WorkerProcess, run_moulin

KEY = moulin.JobKey(dag_id="dag", run_id="run", task_id="transform")
DAY = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


def flights(rows: range) -> pa.Table:
    return pa.table(
        {
            "id": pa.array(list(rows), pa.int64()),
            "carrier": pa.array([["AA", "UA", None][n % 3] for n in rows], pa.string()),
            "at": pa.array([DAY + dt.timedelta(hours=6 * n) for n in rows], pa.timestamp("us", "UTC")),
        }
    )


AIRLINES = pa.table({"carrier": ["AA", "UA"], "name": ["American", "United"]})


@pytest.fixture
def lake(state: Path, client: moulin.Client) -> SqlCatalog:
    """The worker's own catalog, seen by PyIceberg."""
    assert client.describe().catalog
    found = catalog(state)
    found.create_namespace_if_not_exists("bronze")
    return found


def made(lake: SqlCatalog, name: str, *parts: pa.Table, **settings: Any) -> Table:
    found = lake.create_table(name, schema=settings.pop("schema", parts[0].schema), **settings)
    for part in parts:
        found.append(part)
    return found


def landed(state: Path, name: str = "silver.result") -> list[dict[str, Any]]:
    return LandedTable(state, name).load().scan().to_arrow().to_pylist()


def ran(client: moulin.Client, **spec: Any) -> moulin.Receipt:
    receipt = client.submit(moulin.JobSpec(**spec)).wait(60).receipt
    assert receipt is not None
    return receipt


def by_id(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(rows, key=lambda row: row["id"])


def test_a_table_lands_as_it_is(client: moulin.Client, lake: SqlCatalog, state: Path) -> None:
    source = made(lake, "bronze.flights", flights(range(5)), flights(range(5, 9)))
    receipt = ran(client, tables={"flights": table("bronze.flights")}, target=iceberg("silver.result"))
    assert by_id(landed(state)) == by_id(flights(range(9)).to_pylist())
    assert (receipt.rows_read, receipt.rows_landed, receipt.rows_filtered, receipt.files) == (9, 9, 0, 2)
    snapshot = source.refresh().current_snapshot()
    assert snapshot is not None
    (read,) = receipt.tables
    assert (read.name, read.table, read.snapshot_id) == ("flights", "bronze.flights", snapshot.snapshot_id)
    assert (read.rows_read, read.files) == (9, 2)


def test_conditions_leave_partitions_and_files_out(client: moulin.Client, lake: SqlCatalog, state: Path) -> None:
    schema = Schema(
        NestedField(1, "id", LongType()), NestedField(2, "carrier", StringType()), NestedField(3, "at", TimestamptzType())
    )  # fmt: skip
    spec = PartitionSpec(PartitionField(2, 1000, IdentityTransform(), "carrier"))
    made(
        lake, "bronze.flights", *(flights(range(n, n + 4)) for n in range(0, 24, 4)), schema=schema, partition_spec=spec
    )
    query = "SELECT id, carrier FROM flights WHERE at >= TIMESTAMP '2026-01-03T00:00:00Z' AND carrier = 'UA'"
    receipt = ran(client, tables={"flights": "bronze.flights"}, transform=sql(query), target=iceberg("silver.result"))
    expected = [row for row in flights(range(24)).to_pylist() if row["id"] >= 8 and row["carrier"] == "UA"]
    assert by_id(landed(state)) == [{"id": row["id"], "carrier": "UA"} for row in expected]
    (read,) = receipt.tables
    assert (read.files, read.files_pruned) == (4, 14)  # of six files a carrier, two are older
    assert receipt.rows_filtered == receipt.rows_read - receipt.rows_landed


def test_an_evolved_schema_is_read_by_field_ids(client: moulin.Client, lake: SqlCatalog, state: Path) -> None:
    found = made(lake, "bronze.flights", flights(range(3)))
    with found.update_schema() as update:
        update.rename_column("carrier", "airline")
        update.add_column("gate", StringType())
        update.delete_column("at")
    found.append(pa.table({"id": [3], "airline": ["DL"], "gate": ["B7"]}))
    with found.update_schema() as update:
        update.add_column("carrier", StringType())  # a new column with an old name
    ran(client, tables={"f": "bronze.flights"}, transform=sql("SELECT * FROM f"), target=iceberg("silver.result"))
    assert by_id(landed(state)) == by_id(lake.load_table("bronze.flights").scan().to_arrow().to_pylist())
    assert by_id(landed(state))[3] == {"id": 3, "airline": "DL", "gate": "B7", "carrier": None}


def test_rows_that_pyiceberg_deleted_are_not_read(client: moulin.Client, lake: SqlCatalog, state: Path) -> None:
    found = made(lake, "bronze.flights", flights(range(6)))
    found.delete(EqualTo("carrier", "UA"))
    receipt = ran(client, tables={"flights": "bronze.flights"}, target=iceberg("silver.result"))
    assert [row["id"] for row in by_id(landed(state))] == [0, 2, 3, 5]
    assert receipt.rows_read == 4


def test_two_tables_are_joined_in_sql(client: moulin.Client, lake: SqlCatalog, state: Path) -> None:
    made(lake, "bronze.flights", flights(range(9)))
    made(lake, "bronze.airlines", AIRLINES)
    query = "SELECT name, count(*) AS n FROM flights JOIN airlines USING (carrier) GROUP BY name"
    receipt = ran(
        client,
        tables={"flights": table("bronze.flights"), "airlines": table("bronze.airlines")},
        transform=sql(query),
        target=iceberg("silver.result"),
    )
    assert {row["name"]: row["n"] for row in landed(state)} == {"American": 3, "United": 3}
    assert receipt.rows_filtered is None
    assert {read.name: read.rows_read for read in receipt.tables} == {"airlines": 2, "flights": 9}


def frames(client: moulin.Client, tables: dict[str, Any], names: bool = True) -> dict[str, pl.LazyFrame]:
    """Empty frames of the inputs, as a decorated function gets them."""
    query = " CROSS JOIN ".join(f"(SELECT count(*) AS n_{name} FROM {name})" for name in tables)
    plan = client.plan({"tables": tables, "transform": {"sql": f"SELECT * FROM {query}"}, "target": {"table": "x.y"}})
    named = ((one.name, moulin.empty_frame(one.columns, name=one.name if names else None)) for one in plan.tables)
    return dict(named)


def test_two_tables_are_joined_in_polars(client: moulin.Client, lake: SqlCatalog, state: Path) -> None:
    made(lake, "bronze.flights", flights(range(9)))
    made(lake, "bronze.airlines", AIRLINES)
    tables = {"flights": "bronze.flights", "airlines": "bronze.airlines"}
    of = frames(client, tables)
    plan = of["airlines"].join(of["flights"], on="carrier").select("id", "name")
    receipt = ran(client, tables=tables, transform=plan, target=iceberg("silver.result"))
    expected = {n: ["American", "United"][n % 3] for n in range(9) if n % 3 < 2}
    assert {row["id"]: row["name"] for row in landed(state)} == expected
    assert {read.name: read.rows_read for read in receipt.tables} == {"airlines": 2, "flights": 9}


def test_frames_of_one_schema_are_told_apart_by_their_names(
    client: moulin.Client, lake: SqlCatalog, state: Path
) -> None:
    made(lake, "bronze.old", flights(range(5)))
    made(lake, "bronze.new", flights(range(3, 7)))
    tables = {"old": "bronze.old", "new": "bronze.new"}
    of = frames(client, tables)
    # The other way around than the names' order, and one of them after a schema was looked at.
    assert of["new"].collect_schema().names() == ["id", "carrier", "at"]
    plan = of["new"].join(of["old"], on="id", how="anti").select("id")
    ran(client, tables=tables, transform=plan, target=iceberg("silver.result"))
    assert sorted(row["id"] for row in landed(state)) == [5, 6]
    alike = frames(client, tables, names=False)
    with pytest.raises(moulin.MoulinError, match="may be any of the inputs new, old"):
        client.submit(
            moulin.JobSpec(
                tables=tables, transform=alike["new"].join(alike["old"], on="id"), target=iceberg("silver.result")
            )
        )


def test_a_row_wise_plan_over_a_table_reads_the_columns_it_needs(
    client: moulin.Client, lake: SqlCatalog, state: Path
) -> None:
    made(lake, "bronze.flights", flights(range(9)))
    of = frames(client, {"flights": "bronze.flights"})
    plan = of["flights"].filter(pl.col("carrier") == "AA").with_columns(at=pl.lit("gone"))
    receipt = ran(client, tables={"flights": "bronze.flights"}, transform=plan, target=iceberg("silver.result"))
    assert [row["id"] for row in by_id(landed(state))] == [0, 3, 6]
    assert {row["at"] for row in landed(state)} == {"gone"}
    assert (receipt.rows_read, receipt.rows_filtered) == (9, 6)


def test_files_are_joined_with_a_table(client: moulin.Client, lake: SqlCatalog, state: Path, tmp_path: Path) -> None:
    made(lake, "bronze.airlines", AIRLINES)
    (tmp_path / "a.csv").write_text("id,carrier\n1,AA\n2,UA\n3,ZZ\n")
    receipt = ran(
        client,
        source=moulin.csv(tmp_path / "a.csv"),
        tables={"airlines": "bronze.airlines"},
        transform=sql("SELECT id, name FROM input LEFT JOIN airlines USING (carrier)"),
        target=iceberg("silver.result"),
    )
    assert {row["id"]: row["name"] for row in landed(state)} == {1: "American", 2: "United", 3: None}
    assert (receipt.rows_read, receipt.rows_landed) == (5, 3)


def test_every_attempt_and_every_retry_reads_the_pinned_snapshot(worker: WorkerProcess, state: Path) -> None:
    client = worker.start(MOULIN_FAULT_POINT="files_written:kill")
    lake = catalog(state)
    lake.create_namespace("bronze")
    source = made(lake, "bronze.flights", flights(range(5)))
    spec = moulin.JobSpec(tables={"flights": table("bronze.flights")}, target=iceberg("silver.result"))
    client.submit(spec, KEY)
    assert worker.wait_end() == -signal.SIGKILL
    source.append(flights(range(5, 9)))
    receipt = worker.start().submit(spec, KEY).wait(60).receipt
    assert receipt is not None
    assert receipt.attempt == 2
    assert [row["id"] for row in by_id(landed(state))] == list(range(5))


def test_a_snapshot_a_ref_and_a_moment_can_be_asked_for(client: moulin.Client, lake: SqlCatalog, state: Path) -> None:
    source = made(lake, "bronze.flights", flights(range(2)))
    first = source.current_snapshot()
    assert first is not None
    source.manage_snapshots().create_tag(first.snapshot_id, "begin").commit()
    source.append(flights(range(2, 4)))
    moment = dt.datetime.fromtimestamp(first.timestamp_ms / 1000, dt.UTC)
    for at, asked in enumerate(({"snapshot_id": first.snapshot_id}, {"ref": "begin"}, {"as_of": moment})):
        name = f"silver.result_{at}"
        receipt = ran(client, tables={"f": table("bronze.flights", **asked)}, target=iceberg(name))
        assert (receipt.rows_landed, receipt.tables[0].snapshot_id) == (2, first.snapshot_id), asked


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"tables": {"f": "bronze.nothing"}}, "bronze.nothing"),
        ({"tables": {"f": {"table": "bronze.flights", "snapshot_id": 7}}}, "snapshot 7 of table bronze.flights"),
        ({"tables": {"f": "bronze.flights"}, "transform": {"sql": "SELECT * FROM g"}}, "no table `g`; the job's rows are"),
        ({"tables": {"f": "bronze.flights", "g": "bronze.flights"}, "transform": {"sql": "SELECT id FROM f"}}, "does not read the table `g`"),
        ({"tables": {"f": "bronze.flights"}, "transform": {"sql": "SELECT\n  idd FROM f"}}, "line 2, column 3"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_at_once(
    spec: dict[str, Any], words: str, client: moulin.Client, lake: SqlCatalog
) -> None:
    made(lake, "bronze.flights", flights(range(2)))
    with pytest.raises(moulin.MoulinError) as caught:
        client.submit({**spec, "target": {"table": "silver.result"}})
    assert words in str(caught.value)


def test_a_job_file_with_tables_is_planned_and_run(lake: SqlCatalog, state: Path) -> None:
    made(lake, "bronze.flights", flights(range(4)))
    job = state / "job.yaml"
    job.write_text(
        "tables: {flights: {table: bronze.flights}}\ntransform: {sql: SELECT id FROM flights}\ntarget: {table: silver.result}\n"
    )
    planned = json.loads(run_moulin(state, "plan", job, "--json").stdout)
    assert (planned["tables"][0]["rows"], planned["tables"][0]["files"]) == (4, 1)
    ended = run_moulin(state, "run", job)
    assert ended.returncode == 0, ended.stderr
    assert "table         bronze.flights" in ended.stdout
    assert len(landed(state)) == 4
