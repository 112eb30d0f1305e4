"""`MoulinTransformOperator` against a real worker: tables in, a table out, snapshots named."""

from __future__ import annotations

import asyncio
import uuid
from datetime import UTC, datetime, timedelta

import polars as pl
import pyarrow as pa
import pytest
from airflow.providers.common.compat.sdk import DAG, AirflowFailException, TaskDeferred
from moulin import empty_frame, iceberg, sql, table
from moulin.errors import SpecError
from pyiceberg.catalog.sql import SqlCatalog
from task_context import task_context

from moulin_provider.assets import iceberg_asset
from moulin_provider.hooks.moulin import MoulinHook
from moulin_provider.operators.moulin import XCOM_JOB_ID, MoulinTransformOperator
from moulin_provider.triggers.moulin import MoulinJobTrigger

FLIGHTS = pa.table({"id": [1, 2, 3], "carrier": ["AA", "UA", "AA"]})
AIRLINES = pa.table({"carrier": ["AA", "UA"], "name": ["American", "United"]})
JOINED = "SELECT id, name FROM flights JOIN airlines USING (carrier)"


@pytest.fixture(scope="module")
def lake(worker) -> SqlCatalog:
    with MoulinHook().get_conn() as client:
        assert client.describe().catalog
    catalog = SqlCatalog("moulin", uri=worker.catalog_uri, warehouse=worker.warehouse)
    catalog.create_namespace_if_not_exists("bronze")
    catalog.create_table("bronze.airlines", schema=AIRLINES.schema).append(AIRLINES)
    return catalog


@pytest.fixture
def flights(lake) -> str:
    name = f"bronze.flights_{uuid.uuid4().hex[:8]}"
    lake.create_table(name, schema=FLIGHTS.schema).append(FLIGHTS)
    return name


def transform(flights: str, **changes) -> MoulinTransformOperator:
    values = {
        "task_id": "t", "tables": {"flights": flights, "airlines": table("bronze.airlines")}, "transform": sql(JOINED),
        "target": iceberg(flights.replace("bronze", "silver")), "retries": 0, "deferrable": False,
    }  # fmt: skip
    return MoulinTransformOperator(**{**values, **changes})


def rows(lake: SqlCatalog, flights: str) -> dict[int, str]:
    found = lake.load_table(flights.replace("bronze", "silver")).scan().to_arrow().to_pylist()
    assert len({row["id"] for row in found}) == len(found)
    return {row["id"]: row["name"] for row in found}


def test_tables_become_a_table_and_the_receipt_names_their_snapshots(lake, flights):
    operator = transform(flights)
    (asset,) = operator.outlets
    assert asset == iceberg_asset(flights.replace("bronze", "silver"))
    values = task_context(flights)
    receipt = operator.execute(values)
    assert rows(lake, flights) == {1: "American", 2: "United", 3: "American"}
    assert {one["name"]: (one["table"], one["rows_read"]) for one in receipt["tables"]} == {
        "flights": (flights, 3), "airlines": ("bronze.airlines", 2),
    }  # fmt: skip
    snapshot = lake.load_table(flights).current_snapshot().snapshot_id
    assert str(snapshot) in [one["snapshot_id"] for one in receipt["tables"]]
    assert values["outlet_events"][asset].extra["snapshot_id"] == receipt["snapshot_id"]
    assert values["ti"].xcoms[XCOM_JOB_ID] == receipt["job_id"]


def test_a_retry_attaches_and_a_cleared_task_reads_anew_and_replaces(lake, flights):
    first = transform(flights).execute(task_context(flights))
    lake.load_table(flights).append(pa.table({"id": [4], "carrier": ["UA"]}))
    assert transform(flights).execute(task_context(flights, try_number=2, max_tries=0))["job_id"] == first["job_id"]
    assert sorted(rows(lake, flights)) == [1, 2, 3]
    cleared = transform(flights).execute(task_context(flights, try_number=3, max_tries=2))
    assert (cleared["rows_landed"], cleared["rows_replaced"]) == (4, 3)
    assert sorted(rows(lake, flights)) == [1, 2, 3, 4]


async def test_it_waits_in_the_triggerer_with_its_timeout_as_the_deadline(lake, flights):
    operator = transform(flights, deferrable=True, execution_timeout=timedelta(minutes=5))
    assert operator.job_spec().deadline == timedelta(minutes=5)
    with pytest.raises(TaskDeferred) as deferred:
        await asyncio.to_thread(operator.execute, task_context(flights))
    trigger = deferred.value.trigger
    assert isinstance(trigger, MoulinJobTrigger)
    assert trigger.cancel_on_kill
    trigger.not_before = 0.0
    async with asyncio.timeout(60):
        (event,) = [event async for event in trigger.run()]
    receipt = await asyncio.to_thread(transform(flights).execute_complete, task_context(flights), event.payload)
    assert receipt["rows_landed"] == 3


def test_it_may_go_on_without_waiting(flights):
    said = transform(flights, wait_for_completion=False).execute(task_context(flights))
    assert said["table"] == flights.replace("bronze", "silver")
    with MoulinHook().get_conn() as client:
        assert client.job(said["job_id"]).wait(60).job.state == "succeeded"


def test_a_lazy_frame_over_several_frames(lake, flights):
    left = empty_frame({"id": "long", "carrier": "string"}, name="flights")
    right = empty_frame({"carrier": "string", "name": "string"}, name="airlines")
    transform(flights, transform=left.join(right, on="carrier").select("id", "name")).execute(task_context(flights))
    assert rows(lake, flights) == {1: "American", 2: "United", 3: "American"}


def test_a_snapshot_can_be_named(lake, flights):
    before = lake.load_table(flights).current_snapshot().snapshot_id
    lake.load_table(flights).append(pa.table({"id": [4], "carrier": ["UA"]}))
    tables = {"flights": table(flights, snapshot_id=before), "airlines": "bronze.airlines"}
    assert transform(flights, tables=tables).execute(task_context(flights))["rows_landed"] == 3


def test_wrong_sql_is_not_retried(flights):
    with pytest.raises(AirflowFailException, match="nmae"):
        transform(flights, transform="SELECT nmae FROM flights JOIN airlines USING (carrier)").execute(
            task_context(flights)
        )


def test_files_and_templates_say_the_same_as_builders(tmp_path):
    (tmp_path / "join.sql").write_text("SELECT * FROM f -- {{ day }}")
    (tmp_path / "tables.yaml").write_text("f: {table: 'bronze.{{ day }}', as_of: '2026-01-31T08:00:00Z'}\n")
    begin = datetime(2026, 1, 1, tzinfo=UTC)
    with DAG("d", schedule=None, start_date=begin, template_searchpath=[str(tmp_path)]):
        operator = MoulinTransformOperator(
            task_id="t", tables="tables.yaml", transform="join.sql", target={"table": "silver.{{ day }}"},
            moulin_conn_id="of_{{ day }}",
        )  # fmt: skip
    operator.resolve_template_files()
    operator.render_template_fields({"day": "monday"})
    assert operator.moulin_conn_id == "of_monday"
    built = MoulinTransformOperator(
        task_id="t", tables={"f": table("bronze.monday", as_of="2026-01-31T08:00:00Z")},
        transform=sql("SELECT * FROM f -- monday"), target=iceberg("silver.monday"),
    )  # fmt: skip
    assert operator.job_spec() == built.job_spec()
    assert built.tables == {"f": {"table": "bronze.monday", "as_of": "2026-01-31T08:00:00Z"}}


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"tables": {}}, "tables"),
        ({"tables": {"input": "a.b"}}, "'input'"),
        ({"tables": {"f": 7}}, "tables.f"),
        ({"target": {"tabel": "a.b"}}, "tabel"),
        ({"transform": pl.col("a")}, "transform"),
    ],
)
def test_a_wrong_argument_is_named(changes, named):
    with pytest.raises(SpecError, match=named):
        transform("bronze.f", **changes).job_spec()
