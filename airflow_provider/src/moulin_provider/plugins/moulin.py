"""The plugin `moulin`, which every process of Airflow loads when it starts."""

from __future__ import annotations

import sys
from typing import Any

from airflow.providers.common.compat.sdk import AirflowPlugin


class MoulinPlugin(AirflowPlugin):
    """Makes DAG files cheap to parse.

    A dag-processor parses every file in a process of its own, forked from one that has loaded what files import from
    Airflow, but not what they import from elsewhere: each file would load this package anew. So it is loaded before.
    """

    name = "moulin"

    @classmethod
    def on_load(cls, *args: Any, **kwargs: Any) -> None:  # noqa: ARG003
        """What Airflow calls once in a process; in all but a dag-processor it does nothing."""
        if "airflow.dag_processing.manager" in sys.modules:
            load_what_dag_files_use()


def load_what_dag_files_use() -> None:
    """Loads the builders and the operators, and calls the builders once.

    At its first call a builder works out tables of its options, and Python which classes are which kind of
    collection; the processes that parse files find that done.
    """
    from moulin import csv, iceberg, sql, table

    from moulin_provider.assets import iceberg_asset
    from moulin_provider.operators import moulin
    from moulin_provider.operators.job import templated

    for name in moulin.__all__:
        getattr(moulin, name)
    made = csv("a.csv", null_values=["NA"]), iceberg("a.b", partition_by=["month(c)"]), sql("SELECT 1"), table("a.b")
    for one in made:
        templated(one)
    iceberg_asset("a.b")
