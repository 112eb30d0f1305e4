"""The operator's arguments, as Airflow stores, renders and shows them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import polars as pl
import pytest
from airflow.providers.common.compat.sdk import DAG
from airflow.sdk import task
from airflow.sdk.execution_time.context import ConnectionAccessor
from airflow_names import DagSerialization
from moulin import Contract, PlannedColumn, csv, empty_frame, iceberg, sql, table
from moulin.errors import SpecError
from moulin.transform import PolarsPlan, Sql

from moulin_provider.decorators.moulin import _MoulinDecoratedOperator
from moulin_provider.links.moulin import MoulinReceiptLink
from moulin_provider.operators.moulin import MoulinLandOperator, MoulinReplayOperator, MoulinTransformOperator


def land(**changes) -> MoulinLandOperator:
    values = {"task_id": "t", "source": csv("file:///data/a.csv"), "target": iceberg("bronze.a")}
    return MoulinLandOperator(**{**values, **changes})


def rendered(tmp_path, **changes) -> MoulinLandOperator:
    with DAG("d", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC), template_searchpath=[str(tmp_path)]):
        operator = land(**changes)
    operator.resolve_template_files()
    operator.render_template_fields({"day": "2026-11-21", "table": "flights", "conn": ConnectionAccessor()})
    return operator


def test_builders_are_templates(tmp_path):
    spec = rendered(
        tmp_path,
        source=csv("s3://raw/{{ day }}/*.csv", null_values=["NA"], columns={"price": "decimal(12,2)"}),
        transform=sql("SELECT '{{ day }}' AS day FROM input"),
        target=iceberg("bronze.{{ table }}", partition_by=["day"]),
        on_bad_row="{{ 'skip' }}",
    ).job_spec()
    assert spec.source == csv("s3://raw/2026-11-21/*.csv", null_values=["NA"], columns={"price": "decimal(12,2)"})
    assert spec.transform == Sql("SELECT '2026-11-21' AS day FROM input")
    assert spec.target == iceberg("bronze.flights", partition_by=["day"])
    assert spec.on_bad_row == "skip"


def test_dicts_files_and_builders_say_the_same(tmp_path):
    (tmp_path / "clean.sql").write_text("SELECT * FROM input WHERE day = '{{ day }}'")
    (tmp_path / "source.yaml").write_text("uris: ['s3://raw/{{ day }}.csv']\nformat: {csv: {delimiter: '|'}}\n")
    from_files = rendered(tmp_path, source="source.yaml", transform="clean.sql", target={"table": "bronze.{{ table }}"})
    built = land(
        source=csv("s3://raw/2026-11-21.csv", delimiter="|"),
        transform=sql("SELECT * FROM input WHERE day = '2026-11-21'"),
        target=iceberg("bronze.flights"),
    )
    assert from_files.job_spec() == built.job_spec()


def test_a_lazy_frame_becomes_a_plan_that_airflow_can_store(tmp_path):
    frame = empty_frame({"a": "long"}).with_columns(b=pl.col("a") + 1)
    operator = rendered(tmp_path, transform=frame)
    assert isinstance(operator.job_spec().transform, PolarsPlan)
    from airflow.serialization.helpers import serialize_template_field

    assert len(str(serialize_template_field(operator.transform, "transform"))) < 200


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"source": "uris: [a.csv"}, "source"),
        ({"source": {"uris": ["a.csv"], "format": "cvs"}}, "format"),
        ({"target": {"tabel": "a.b"}}, "tabel"),
        ({"transform": 7}, "transform"),
        ({"on_bad_row": "ignore"}, "on_bad_row"),
    ],
)
def test_a_wrong_argument_is_named(changes, named):
    with pytest.raises(SpecError, match=named):
        land(**changes).job_spec()


def test_bounds_on_bad_rows_are_those_of_the_job():
    spec = land(on_bad_row="quarantine", max_bad_rows=10, max_bad_ratio=0.01).job_spec()
    assert (spec.on_bad_row, spec.max_bad_rows, spec.max_bad_ratio) == ("quarantine", 10, 0.01)
    with pytest.raises(SpecError, match="max_bad_rows"):
        land(max_bad_rows=10).job_spec()


def test_options_of_a_source_are_templates_too(tmp_path):
    source = csv("a.csv", contract={"columns": "freeze"}, null_values=["{{ day }}"], columns={"a": "{{ table }}"})
    with pytest.raises(SpecError, match=r"columns\['a'\]: found 'flights'"):
        rendered(tmp_path, source=source).job_spec()
    built = csv("a.csv", contract={"columns": "freeze"}, null_values=["2026-11-21"])
    assert rendered(tmp_path, source={**source.to_dict(), "columns": []}).job_spec().source == built


def test_execution_timeout_is_the_jobs_deadline():
    assert land(execution_timeout=timedelta(minutes=5)).job_spec().deadline == timedelta(minutes=5)
    assert land().job_spec().deadline is None


def test_the_link_opens_the_xcoms_of_the_task_instance():
    ti = SimpleNamespace(dag_id="d", run_id="manual__2026-11-21T00:00:00+00:00", task_id="g.t", map_index=-1)
    link = MoulinReceiptLink().get_link(land(), ti_key=ti)
    assert link == "http://airflow.test/dags/d/runs/manual__2026-11-21T00%3A00%3A00%2B00%3A00/tasks/g.t/xcom"
    mapped = SimpleNamespace(**{**vars(ti), "map_index": 3})
    assert MoulinReceiptLink().get_link(land(), ti_key=mapped).endswith("/tasks/g.t/mapped/3/xcom")


def test_a_table_that_must_be_there_is_not_asked_for_when_only_the_columns_are_wanted(monkeypatch):
    asked = []

    class Client:
        __enter__ = __exit__ = lambda self, *_: self

        def plan(self, spec):
            asked.append(spec.source.contract)
            return SimpleNamespace(input=(PlannedColumn("a", "long", True, "inferred"),), tables=())

    strict = csv("a.csv", contract={"tables": "freeze", "columns": "discard_row"})
    operator = _MoulinDecoratedOperator(
        python_callable=lambda rows: rows, task_id="t", source=strict, target=iceberg("bronze.a")
    )
    monkeypatch.setattr("moulin_provider.hooks.moulin.MoulinHook.get_conn", lambda self: Client())
    assert operator._empty_inputs()["input"].collect_schema() == {"a": pl.Int64}
    assert asked == [Contract(columns="discard_row")]
    assert operator.job_spec().source.contract.tables == "freeze"


def test_a_field_at_a_plain_default_is_not_looked_at_by_airflow():
    assert list(land().template_fields) == ["source", "transform", "target"]
    said = land(moulin_conn_id="{{ params.conn }}", on_bad_row="skip", tables={"planes": table("silver.planes")})
    assert set(said.template_fields) == set(MoulinLandOperator.template_fields)
    assert {"on_bad_row", "moulin_conn_id"} < set(MoulinLandOperator.template_fields)
    with DAG("d", schedule=None) as dag:
        land()
    (stored,) = DagSerialization.to_dict(dag)["dag"]["tasks"]
    assert not {"on_bad_row", "moulin_conn_id", "tables"} & {*stored["__var"], *stored["__var"]["template_fields"]}


def test_a_template_that_is_set_later_is_rendered(tmp_path):
    operator = land()
    operator.moulin_conn_id = "{{ table }}"
    operator.render_template_fields({"table": "flights"})
    assert operator.moulin_conn_id == "flights"


def test_what_another_task_gives_later_is_waited_for():
    with DAG("d", schedule=None):

        @task
        def which() -> str:
            return "moulin_default"

        operator = land()
        operator.moulin_conn_id = which()
    assert operator.upstream_task_ids == {"which"}


def test_defaults_of_a_dag_reach_every_argument():
    said = {"moulin_conn_id": "mine", "deferrable": True, "catalog": "lake", "on_bad_row": "skip", "retries": 7}
    with DAG("d", schedule=None, default_args=said):
        operator = land()
        transform = MoulinTransformOperator(task_id="u", tables={"a": "a.b"}, target=iceberg("a.c"))
        replay = MoulinReplayOperator(task_id="v", source=csv("a.csv"), target=iceberg("a.c"))
    for one in (operator, transform, replay):
        assert (one.moulin_conn_id, one.deferrable, one.catalog, one.retries) == ("mine", True, "lake", 7)
    assert operator.on_bad_row == replay.on_bad_row == "skip"


def test_airflow_looks_through_the_defaults_of_a_dag_once_for_a_landing_and_once_for_itself():
    wrapped = [kind for kind in MoulinLandOperator.mro() if hasattr(vars(kind).get("__init__"), "__wrapped__")]
    assert [kind.__name__ for kind in wrapped] == ["MoulinLandOperator", "BaseOperator"]
