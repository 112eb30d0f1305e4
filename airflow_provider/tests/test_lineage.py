"""What OpenLineage hears of a landing. `tests/airflow` sees it sent."""

from __future__ import annotations

import polars as pl
import pytest
from airflow.providers.common.compat.sdk import conf
from airflow.sdk import DAG, task
from moulin import csv, iceberg, sql
from moulin.errors import error_of
from moulin.fault import Fault, FaultKind
from moulin.plan import PlannedFile
from task_context import task_context

from moulin_provider import lineage
from moulin_provider.assets import iceberg_asset
from moulin_provider.hooks.moulin import MoulinHook
from moulin_provider.operators.moulin import MoulinLandOperator, MoulinQueryOperator, MoulinTransformOperator

TABLE = ("iceberg://moulin", "lineage.t")


@pytest.fixture
def source(worker, tmp_path):
    for name in ("a", "b"):
        (tmp_path / f"{name}.csv").write_text("id,delay,origin\n1,20,JFK\n2,1,EWR\n")
    return tmp_path


def landing(folder, **changes) -> MoulinLandOperator:
    values = {"task_id": "t", "source": csv(f"{folder}/*.csv"), "target": iceberg("lineage.t"), "deferrable": False}
    return MoulinLandOperator(**{**values, **changes})


def lineage_of(operator):
    operator.execute(task_context())
    return operator.get_openlineage_facets_on_complete(None)


def columns(output) -> dict[str, set[str]]:
    fields = output.facets["columnLineage"].fields
    return {name: {one.field for one in made.inputFields} for name, made in fields.items()}


def test_files_go_in_and_a_table_comes_out_with_columns_and_counts(source):
    query = "SELECT *, delay > 15 AS late FROM input WHERE origin <> 'EWR'"
    found = lineage_of(landing(source, transform=sql(query), target=iceberg("lineage.sql")))
    assert [(one.namespace, one.name) for one in found.inputs] == [
        ("file", f"{source}/a.csv"),
        ("file", f"{source}/b.csv"),
    ]
    assert [(field.name, field.type) for field in found.inputs[0].facets["schema"].fields] == [
        ("id", "long"), ("delay", "long"), ("origin", "string"),
    ]  # fmt: skip
    assert found.inputs[0].inputFacets["inputStatistics"].size == (source / "a.csv").stat().st_size
    (output,) = found.outputs
    statistics = output.outputFacets["outputStatistics"]
    assert (statistics.rowCount, statistics.fileCount) == (2, 1)
    assert statistics.size > 0
    assert [field.name for field in output.facets["schema"].fields] == ["id", "delay", "origin", "late"]
    assert columns(output) == {"id": {"id"}, "delay": {"delay"}, "origin": {"origin"}, "late": {"delay"}}
    assert found.job_facets["sql"].query == query
    (physical,) = output.facets["symlinks"].identifiers
    assert physical.name.endswith("/warehouse/lineage/sql")


def test_without_a_transform_columns_are_themselves(source):
    (output,) = lineage_of(landing(source)).outputs
    assert (output.namespace, output.name) == TABLE
    assert columns(output) == {"id": {"id"}, "delay": {"delay"}, "origin": {"origin"}}


def test_only_columns_that_the_query_names_are_claimed(source):
    query = sql("SELECT origin, sum(delay) AS total, count(1) AS id FROM input GROUP BY origin")
    (output,) = lineage_of(landing(source, transform=query, target=iceberg("lineage.grouped"))).outputs
    assert columns(output) == {"origin": {"origin"}, "total": {"delay"}}


def test_a_plan_of_polars_gives_columns_but_not_what_they_are_made_of(source):
    @task.moulin(source=csv(f"{source}/*.csv"), target=iceberg("lineage.polars"), deferrable=False)
    def late(frame: pl.LazyFrame) -> pl.LazyFrame:
        return frame.select(late=pl.col("delay") > 15)

    with DAG("d", schedule=None):
        operator = late().operator
    (output,) = lineage_of(operator).outputs
    assert [field.name for field in output.facets["schema"].fields] == ["late"]
    assert "columnLineage" not in output.facets
    # After a deferral nobody knows the plan: better no columns than those of the source.
    operator.transform = None
    (output,) = operator.get_openlineage_facets_on_complete(None).outputs
    assert "schema" not in output.facets
    assert output.outputFacets["outputStatistics"].rowCount == 4


def test_before_the_task_the_patterns_and_the_table_are_known():
    operator = MoulinLandOperator(
        task_id="t",
        source=csv(["s3://raw/2024/*.csv", "https://example.com/a.csv"]),
        target=iceberg("bronze.a"),
        outlets=[iceberg_asset("bronze.a", catalog="lake")],
    )
    found = operator.get_openlineage_facets_on_start()
    assert [(one.namespace, one.name) for one in found.inputs] == [
        ("s3://raw", "2024/*.csv"), ("https://example.com", "/a.csv"),
    ]  # fmt: skip
    assert [(one.namespace, one.name) for one in found.outputs] == [("iceberg://lake", "bronze.a")]


def test_a_worker_that_does_not_answer_leaves_the_counts(make_receipt, monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_MOULIN_DEFAULT", "moulin://127.0.0.1:1")
    operator = MoulinLandOperator(task_id="t", source=csv("s3://raw/a.csv"), target=iceberg("bronze.flights"))
    operator._receipt = make_receipt()
    (output,) = operator.get_openlineage_facets_on_complete(None).outputs
    assert output.outputFacets["outputStatistics"].rowCount == 215_941


@pytest.mark.parametrize(("changes", "catalog"), [({}, "moulin"), ({"catalog": "lake"}, "lake")])
def test_tables_that_a_query_reads_are_of_the_catalog_that_the_task_names(changes, catalog):
    operator = MoulinQueryOperator(task_id="ask", sql="SELECT 1 FROM a.b", **changes)
    operator._report({"rows": [], "row_count": 0, "tables": {"a.b": "7"}})
    (read,) = operator.get_openlineage_facets_on_complete(None).inputs
    assert (read.namespace, read.name) == (f"iceberg://{catalog}", "a.b")
    assert read.facets["version"].datasetVersion == "7"


def test_very_many_files_are_told_by_their_folders():
    files = [PlannedFile(f"s3://raw/{day}/{n}.csv", 1, "") for day in ("mon", "tue") for n in range(60)]
    assert lineage._names(file.uri for file in files) == [("s3://raw", "mon"), ("s3://raw", "tue")]


def test_a_file_that_the_job_left_out_is_no_input_of_it(source):
    first = landing(source, source=csv(f"{source}/a.csv"), target=iceberg("lineage.once"))
    first.execute(task_context())
    found = lineage_of(landing(source, target=iceberg("lineage.once")))
    assert [one.name for one in found.inputs] == [f"{source}/b.csv"]


def test_when_not_all_that_were_left_out_are_named_the_patterns_are_told(tmp_path):
    for n in range(101):
        (tmp_path / f"{n}.csv").write_text(f"id\n{n}\n")
    landing(tmp_path, target=iceberg("lineage.many")).execute(task_context())
    (tmp_path / "new.csv").write_text("id\n1000\n")
    operator = landing(tmp_path, target=iceberg("lineage.many"))
    found = lineage_of(operator)
    assert (operator._receipt.files, operator._receipt.files_skipped) == (1, 101)
    assert len(operator._receipt.skipped_files) < 101
    assert [one.name for one in found.inputs] == [f"{tmp_path}/*.csv"]
    assert columns(found.outputs[0]) == {"id": {"id"}}


def test_files_that_came_after_the_job_are_no_inputs_of_it(source):
    operator = landing(source, target=iceberg("lineage.later"))
    operator.execute(task_context())
    (source / "c.csv").write_text("id,delay,origin\n3,0,JFK\n")
    found = operator.get_openlineage_facets_on_complete(None)
    assert [one.name for one in found.inputs] == [f"{source}/*.csv"]


@pytest.fixture
def origins(source):
    """A table beside the files, which has columns `origin` and `delay` as they do."""
    (source / "table").mkdir()
    (source / "table" / "a.csv").write_text("origin,name,delay\nJFK,Kennedy,7\n")
    table = f"lineage.{source.name.replace('-', '_')}"
    landing(source / "table", target=iceberg(table)).execute(task_context())
    return table


def made_of(output) -> dict[str, set[tuple[str, str]]]:
    fields = output.facets["columnLineage"].fields
    return {name: {(one.name, one.field) for one in made.inputFields} for name, made in fields.items()}


def test_a_column_is_of_the_input_that_the_query_takes_it_from(source, origins):
    query = """
        SELECT i.id, o.delay AS theirs, name, i.delay + o.delay AS both, count(*) OVER () AS n
        FROM input i JOIN origins o USING (origin)
    """
    tables, target = {"origins": origins}, iceberg(f"{origins}_files")
    operator = landing(source, source=csv(f"{source}/a.csv"), tables=tables, transform=sql(query), target=target)
    (output,) = lineage_of(operator).outputs
    file, table = f"{source}/a.csv", origins
    assert made_of(output) == {
        "id": {(file, "id")},
        "theirs": {(table, "delay")},
        "name": {(table, "name")},
        "both": {(file, "delay"), (table, "delay")},
    }


def test_of_which_input_a_star_has_its_columns_is_not_claimed(source, origins):
    query = sql("SELECT i.*, name FROM input i JOIN origins USING (origin)")
    tables, target = {"origins": origins}, iceberg(f"{origins}_star")
    (output,) = lineage_of(landing(source, tables=tables, transform=query, target=target)).outputs
    assert set(made_of(output)) == {"name"}


def test_a_transform_tells_which_columns_of_which_table(origins):
    query = sql("SELECT upper(name) AS name, sum(delay) AS total FROM o GROUP BY name")
    operator = MoulinTransformOperator(
        task_id="t", tables={"o": origins}, transform=query, target=iceberg(f"{origins}_t"), deferrable=False
    )
    (output,) = lineage_of(operator).outputs
    assert made_of(output) == {"name": {(origins, "name")}, "total": {(origins, "delay")}}


def test_a_table_that_lands_as_it_is_keeps_its_columns(origins):
    operator = MoulinTransformOperator(
        task_id="t", tables={"o": origins}, target=iceberg(f"{origins}_copy"), deferrable=False
    )
    (output,) = lineage_of(operator).outputs
    assert made_of(output) == {name: {(origins, name)} for name in ("origin", "name", "delay")}


def test_openlineage_does_not_wait_for_the_worker_longer_than_airflow_waits_for_it(make_receipt, monkeypatch):
    asked = []

    def connect(hook, *, timeout=None):
        asked.append(timeout)
        raise error_of(Fault(FaultKind.UNAVAILABLE, "nobody is there", "", retryable=True))

    monkeypatch.setattr(MoulinHook, "get_conn", connect)
    operator = MoulinLandOperator(task_id="t", source=csv("s3://raw/a.csv"), target=iceberg("bronze.flights"))
    operator._receipt = make_receipt()
    (output,) = operator.get_openlineage_facets_on_complete(None).outputs
    assert "schema" not in output.facets
    assert asked[0] < 5 < conf.getint("openlineage", "execution_timeout", fallback=10)
