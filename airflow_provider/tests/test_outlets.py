"""What a task lands in is its outlet, where that is known when the DAG file is parsed."""

from __future__ import annotations

import pytest
from airflow.sdk import DAG, Asset, AssetAll, task
from airflow_names import AIRFLOW, DagSerialization
from moulin import csv, iceberg

from moulin_provider.assets import iceberg_asset
from moulin_provider.operators.moulin import MoulinLandOperator, MoulinReplayOperator, MoulinTransformOperator

FLIGHTS = iceberg_asset("bronze.flights")


def land(**changes) -> MoulinLandOperator:
    return MoulinLandOperator(
        **{"task_id": "t", "source": csv("a.csv"), "target": iceberg("bronze.flights"), **changes}
    )


@pytest.mark.parametrize("target", [iceberg("bronze.flights"), {"table": "bronze.flights"}])
def test_a_table_that_is_written_out_is_the_outlet(target):
    assert land(target=target).outlets == [FLIGHTS]
    assert MoulinTransformOperator(task_id="t", tables={"a": "a.b"}, target=target).outlets == [FLIGHTS]
    assert MoulinReplayOperator(task_id="t", source=csv("a.csv"), target=target).outlets == [FLIGHTS]


def test_a_replay_may_name_its_table_alone():
    assert MoulinReplayOperator(task_id="t", source=csv("a.csv"), target="bronze.flights").outlets == [FLIGHTS]


@pytest.mark.parametrize(
    "target",
    [
        iceberg("bronze.{{ params.table }}"),
        iceberg("{{layer}}.flights"),
        {"table": "{{ params.table }}"},
        {"table": None},
        "target.yaml",
        "targets/flights.yml",
        iceberg("bronze.two words"),
        iceberg("bronze.50%"),
        iceberg("bronze.a#b"),
    ],
    ids=str,
)
def test_a_table_that_is_not_known_or_cannot_be_an_asset_is_none(target):
    assert land(target=target).outlets == []


def test_what_another_task_gives_is_not_known():
    with DAG("d", schedule=None):

        @task
        def where() -> dict:
            return {"table": "bronze.flights"}

        assert land(target=where()).outlets == []


def test_the_catalog_has_the_name_that_the_task_says():
    assert land(catalog="lake").outlets == [iceberg_asset("bronze.flights", catalog="lake")]
    with DAG("d", schedule=None, default_args={"catalog": "lake"}):
        operator = land()
        mapped = MoulinLandOperator.partial(task_id="m", target=iceberg("bronze.flights")).expand(source=[csv("a.csv")])
    assert operator.outlets == mapped.outlets == [iceberg_asset("bronze.flights", catalog="lake")]
    assert operator._catalog() == land(catalog="lake", outlets=[])._catalog() == "lake"


def test_a_task_that_does_not_wait_for_its_job_says_nothing_of_the_table():
    assert land(wait_for_completion=False).outlets == []
    assert land(wait_for_completion=False, outlets=[FLIGHTS]).outlets == [FLIGHTS]
    target = iceberg("bronze.flights")
    with DAG("d", schedule=None):
        mapped = MoulinLandOperator.partial(task_id="many", target=target, wait_for_completion=False)
        assert mapped.expand(source=[csv("a.csv")]).outlets == []
    with DAG("d", schedule=None, default_args={"wait_for_completion": False}):
        assert land().outlets == []
        mapped = MoulinLandOperator.partial(task_id="many", target=target).expand(source=[csv("a.csv")])
        waits = MoulinLandOperator.partial(task_id="waits", target=target, wait_for_completion=True)
        assert mapped.outlets == mapped.unmap({"source": csv("a.csv")}).outlets == []
        assert waits.expand(source=[csv("a.csv")]).outlets == [FLIGHTS]


def test_outlets_of_the_users_own_are_left_alone():
    mine = [Asset("mine")]
    assert land(outlets=mine).outlets == mine
    assert land(outlets=[]).outlets == []
    with DAG("d", schedule=None, default_args={"outlets": mine}):
        assert land().outlets == mine


@pytest.mark.parametrize("schedule", [[FLIGHTS], FLIGHTS, FLIGHTS | Asset("b"), AssetAll(Asset("b"), FLIGHTS)])
def test_a_dag_does_not_start_itself(schedule):
    with DAG("d", schedule=schedule):
        assert land().outlets == []
        assert land(task_id="other", target=iceberg("silver.flights")).outlets == [iceberg_asset("silver.flights")]
        mapped = MoulinLandOperator.partial(task_id="mapped", target=iceberg("bronze.flights"))
        assert mapped.expand(source=[csv("a.csv")]).outlets == []


def test_mapped_tasks_into_one_table_have_it_as_their_outlet():
    with DAG("d", schedule=None):
        one = MoulinLandOperator.partial(task_id="one", target=iceberg("bronze.flights")).expand(source=[csv("a.csv")])
        many = MoulinLandOperator.partial(task_id="many", source=csv("a.csv")).expand(target=[iceberg("bronze.a")])
        none = MoulinLandOperator.partial(task_id="none", target=iceberg("bronze.flights"), outlets=[])
        assert none.expand(source=[csv("a.csv")]).outlets == []
    assert one.outlets == one.unmap({"source": csv("a.csv")}).outlets == [FLIGHTS]
    # Airflow knows the assets of a task before it is mapped, and no others.
    assert many.outlets == many.unmap({"target": iceberg("bronze.a")}).outlets == []


def test_decorated_functions_have_outlets_too():
    with DAG("d", schedule=None) as dag:

        @task.moulin_sql(source=csv("a.csv"), target=iceberg("bronze.flights"))
        def query() -> str:
            return "SELECT 1"

        query()
        assert dag.get_task("query").outlets == [FLIGHTS]


def test_airflow_stores_the_outlet_and_was_not_asked_whose_scheme_it_is(monkeypatch):
    monkeypatch.setattr("airflow.sdk.definitions.asset._get_uri_normalizer", lambda scheme: pytest.fail(scheme))
    with DAG("d", schedule=None) as dag:
        land()
    monkeypatch.undo()
    assert "'uri': 'iceberg://moulin/bronze/flights'" in str(DagSerialization.to_dict(dag))


def test_an_asset_is_the_one_that_airflow_makes_of_its_uri():
    made = Asset(name="moulin.bronze.flights", uri="iceberg://moulin/bronze.flights")
    assert made == FLIGHTS
    if AIRFLOW < (3, 2):
        return  # its assets have no hash: they hash the dict of what they hold
    assert hash(made) == hash(FLIGHTS)


def test_a_uri_that_airflow_has_no_room_for_is_refused():
    longest = "a." + "b" * (1500 - len("iceberg://moulin/a/"))
    assert len(iceberg_asset(longest).uri) == 1500
    with pytest.raises(ValueError, match="found a uri of 1501 characters"):
        iceberg_asset(longest + "b")


def test_names_that_no_uri_can_hold_are_refused():
    for table in ("flights", "a.b#c", "a.b c", "a.b?c"):
        with pytest.raises(ValueError, match="expected"):
            iceberg_asset(table)
