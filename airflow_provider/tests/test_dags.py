"""The example DAGs, as the dag-processor sees them. `tests/airflow` runs them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from airflow_names import DagSerialization, ParamValidationError, parsed

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def dags():
    bag = parsed(str(ROOT / "dags"))
    assert bag.import_errors == {}
    return bag.dags


EXAMPLES = [
    "asset_consumer",
    "clean_flights",
    "land_flights",
    "land_on_arrival",
    "lazyframe_etl",
    "mapped_backfill",
    "read_results",
    "silver_flights",
]


def test_every_example_is_tested(dags):
    assert sorted(dags) == EXAMPLES


@pytest.mark.parametrize("dag_id", EXAMPLES)
def test_an_example_can_be_stored_and_explains_itself(dags, dag_id):
    dag = dags[dag_id]
    assert dag.doc_md
    assert dag.params
    stored = DagSerialization.to_dict(dag)
    json.dumps(stored)
    assert set(DagSerialization.from_dict(stored).task_ids) == set(dag.task_ids)


@pytest.mark.parametrize(
    ("dag_id", "name", "wrong"),
    [
        ("land_flights", "flights", ""),
        ("land_on_arrival", "on_bad_row", "ignore"),
        ("clean_flights", "min_distance", -1),
        ("lazyframe_etl", "slow_minutes", "15"),
        ("mapped_backfill", "pattern", "s3://raw/flights/*.csv"),
        ("mapped_backfill", "first", "the first"),
        ("read_results", "origin", "SFO"),
        ("silver_flights", "flights", "flights"),
        ("asset_consumer", "at_least", -1),
    ],
)
def test_wrong_params_are_refused(dags, dag_id, name, wrong):
    params = dags[dag_id].params
    with pytest.raises(ParamValidationError):
        params[name] = wrong


def test_a_decorated_function_waits_for_the_task_to_run(dags):
    (task,) = dags["clean_flights"].tasks
    assert task.custom_operator_name == "@task.moulin"
    assert task.transform is None
    # The place of the frame; the body, which would fail on it, has not run.
    assert task.op_args == (None,)
