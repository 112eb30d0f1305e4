"""The plugin `moulin`, which every process of Airflow loads when it starts."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowPlugin

if TYPE_CHECKING:
    from collections.abc import Iterator

    from moulin_provider.operators.job import MoulinJobOperator
    from moulin_provider.operators.query import MoulinQueryOperator

_ALSO_IMPORTED = ("decorators", "hooks.moulin", "sensors.moulin", "triggers.files")
# Python adapts a function at its eighth call, and a loop in it after as many turns.
_TIMES_UNTIL_ADAPTED = 16


class MoulinPlugin(AirflowPlugin):
    """Makes DAG files cheap to parse.

    A dag-processor parses every file in a process of its own, forked from one that has loaded what files import from
    Airflow, but not what they import from elsewhere: each file would load this package anew. So it is loaded before.
    """

    name = "moulin"

    @classmethod
    def on_load(cls, *args: Any, **kwargs: Any) -> None:  # noqa: ARG003
        """What Airflow calls once in a process; in all but a dag-processor it does nothing."""
        if "airflow.dag_processing.manager" not in sys.modules:
            return
        try:
            load_what_dag_files_use()
        except Exception:  # files can be parsed all the same, only slower
            logging.getLogger(__name__).exception("what DAG files use of Moulin was not loaded ahead of them")


def load_what_dag_files_use() -> None:
    """Loads what DAG files import of this package, and makes what they make, a few times over.

    At its first call a builder works out tables of its options, and Python which classes are which kind of collection;
    Airflow loads what serialized tasks must look like. Python also adapts code to what it meets when it has run a few
    times, by writing into it: a process that was forked before that runs slower code, and copies every page of it that
    it adapts. The processes that parse files find all of it done.
    """
    from importlib import import_module

    from moulin_provider.operators import moulin

    for name in moulin.__all__:
        getattr(moulin, name)
    for name in _ALSO_IMPORTED:
        import_module(f"moulin_provider.{name}")
    make_what_dag_files_make(_TIMES_UNTIL_ADAPTED)


def make_what_dag_files_make(times: int) -> None:
    """Makes and serializes tasks that belong to no DAG, whatever is being parsed just now."""
    from airflow.sdk.definitions._internal.contextmanager import DagContext
    from airflow.serialization.serialized_objects import BaseSerialization

    DagContext.push(None)  # type: ignore[arg-type]  # as Airflow itself does for a task of no DAG
    try:
        tasks = [task for _ in range(times) for task in _make_tasks()]
        for task in tasks[:times]:  # of all kinds, and the same code serializes them all
            BaseSerialization.serialize(task)
    finally:
        DagContext.pop()


def _make_tasks() -> Iterator[MoulinJobOperator | MoulinQueryOperator]:
    from moulin import csv, iceberg, ndjson, parquet, sql, table

    from moulin_provider.assets import iceberg_asset
    from moulin_provider.operators.land import MoulinLandOperator
    from moulin_provider.operators.query import MoulinQueryOperator
    from moulin_provider.operators.transform import MoulinTransformOperator

    source = csv("s3://a/{{ ds }}/*.csv", null_values=["NA"], columns={"c": "long"})
    target = iceberg("a.b", partition_by=["month(c)"])
    yield MoulinLandOperator(task_id="land", source=source, transform=sql("SELECT 1"), target=target)
    for other in (ndjson("a.json"), parquet("a.parquet")):
        yield MoulinLandOperator(task_id="land", source=other, target=iceberg("a.b"), on_bad_row="skip")
    yield MoulinTransformOperator(task_id="transform", tables={"a": table("a.b")}, transform="SELECT 1", target=target)
    yield MoulinQueryOperator(task_id="query", sql="SELECT 1")
    iceberg_asset("a.b")
