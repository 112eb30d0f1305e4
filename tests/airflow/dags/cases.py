"""DAGs of the tests: one for each way a task can go. Parameters say what to read and where to land."""

from __future__ import annotations

import os
import signal
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import DAG, task

from moulin import csv, iceberg
from moulin_provider.operators.moulin import MoulinLandOperator, MoulinReplayOperator
from moulin_provider.sensors.moulin import MoulinFileSensor

if TYPE_CHECKING:
    import polars as pl

PARAMS = {"uri": "file:///nowhere.csv", "table": "cases.t", "sql": "SELECT * FROM input"}


class LostOnFirstTry(MoulinLandOperator):
    """A task process that is killed without warning, just after the worker has its job."""

    def _wait(self, context: Any, job: Any) -> Any:
        if context["ti"].try_number == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return super()._wait(context, job)


class LostBeforeDeferring(MoulinLandOperator):
    """The same just before the task would be deferred."""

    def _defer(self, job: Any, epoch: int) -> None:
        if epoch == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        super()._defer(job, epoch)


def case(dag_id: str, operator: type[MoulinLandOperator] = MoulinLandOperator, **arguments: Any) -> DAG:
    arguments.setdefault("execution_timeout", timedelta(minutes=5))
    with DAG(dag_id, schedule=None, catchup=False, params=PARAMS) as dag:
        operator(
            task_id="land",
            source=csv("{{ params.uri }}"),
            transform="{{ params.sql }}",
            target=iceberg("{{ params.table }}"),
            poll_interval=1,
            **arguments,
        )
    return dag


# With a retry that nobody may take: what a user ends stays ended.
case("waits_in_worker_slot", deferrable=False, retries=1, retry_delay=timedelta(seconds=1))
case("waits_in_triggerer", deferrable=True, retries=1, retry_delay=timedelta(seconds=1))
case("retries", deferrable=True, retries=3, retry_delay=timedelta(seconds=1))
case("is_lost_once", LostOnFirstTry, deferrable=False, retries=1, retry_delay=timedelta(seconds=1))
case("is_lost_before_deferring", LostBeforeDeferring, deferrable=True, retries=1, retry_delay=timedelta(seconds=1))
LITTLE = {"execution_timeout": timedelta(seconds=5), "retries": 1, "retry_delay": timedelta(seconds=1)}
case("has_little_time_in_worker_slot", deferrable=False, **LITTLE)
case("has_little_time_in_triggerer", deferrable=True, **LITTLE)
case("has_some_time_in_triggerer", deferrable=True, execution_timeout=timedelta(seconds=45))

with DAG("waits_for_files", schedule=None, catchup=False, params=PARAMS):
    # An interval that is no longer than the end of the process that defers.
    MoulinFileSensor(task_id="wait", uris="{{ params.uri }}", settle=False, deferrable=True, poke_interval=0.1)

NUMBERS = {"id": "long", "part": "long"}

with DAG("quarantines", schedule=None, catchup=False, params=PARAMS):
    MoulinLandOperator(
        task_id="land",
        source=csv("{{ params.uri }}", columns=NUMBERS),
        target=iceberg("{{ params.table }}"),
        on_bad_row="quarantine",
        deferrable=False,
    )

for dag_id, deferrable in (("replays_in_worker_slot", False), ("replays_in_triggerer", True)):
    with DAG(dag_id, schedule=None, catchup=False, params=PARAMS):
        MoulinReplayOperator(
            task_id="replay",
            source=csv("{{ params.uri }}", columns=NUMBERS, null_values=["n/a"]),
            target="{{ params.table }}",
            deferrable=deferrable,
        )

with DAG("returns_rows", schedule=None, catchup=False, params=PARAMS):

    @task.moulin(source=csv("{{ params.uri }}"), target=iceberg("{{ params.table }}"), retries=3)
    def collects(frame: pl.LazyFrame) -> Any:
        return frame.collect()

    collects()

with DAG("carries_python", schedule=None, catchup=False, params=PARAMS):

    @task.moulin(source=csv("{{ params.uri }}"), target=iceberg("{{ params.table }}"), retries=3)
    def maps_elements(frame: pl.LazyFrame) -> pl.LazyFrame:
        import polars as pl

        return frame.with_columns(pl.col("id").map_elements(lambda value: value + 1, return_dtype=pl.Int64))

    maps_elements()
