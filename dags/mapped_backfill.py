"""Lands one file a day for a range of days: dynamic task mapping, all into one table."""

from __future__ import annotations

import os
from datetime import date, timedelta
from typing import Any

from airflow.sdk import DAG, Param, task

from moulin import csv, iceberg
from moulin_provider.operators.moulin import MoulinLandOperator

DOC = """
### Backfill, a task instance a day

`days` makes a source for each day from `first` to `last`; `land` is mapped over them. Every instance is a job of its own,
named by its map index, and all commit to one table: a commit that meets another begins again, none fails.

Clear one instance, or the whole run: the days that are read again replace what they had landed before.

Needs the connection `moulin_default` of type `moulin`.
"""

with DAG(
    dag_id="mapped_backfill",
    description="One task instance a day into one table",
    doc_md=DOC,
    tags=["moulin", "example"],
    default_args={"retries": 2, "retry_delay": timedelta(seconds=10)},
    params={
        "pattern": Param(
            os.environ.get("MOULIN_DAILY", "s3://raw/flights/{day}/*.csv"),
            type="string",
            pattern=r"^.*\{day\}.*$",
            title="Files of a day",
            description="Uri or pattern as the worker sees it; {day} stands for the day, as 2013-01-31.",
        ),
        "first": Param("2013-01-01", type="string", format="date", title="First day"),
        "last": Param("2013-01-07", type="string", format="date", title="Last day, which is landed too"),
    },
):

    @task
    def days(params: dict[str, str] | None = None) -> list[dict[str, Any]]:
        """A source for each day."""
        said = params or {}
        first, last = date.fromisoformat(said["first"]), date.fromisoformat(said["last"])
        wanted = [first + timedelta(days=n) for n in range((last - first).days + 1)]
        return [csv(said["pattern"].replace("{day}", day.isoformat())).to_dict() for day in wanted]

    MoulinLandOperator.partial(
        task_id="land",
        target=iceberg("bronze.daily"),
        deferrable=True,
        execution_timeout=timedelta(minutes=30),
        max_active_tis_per_dagrun=16,
    ).expand(source=days())
