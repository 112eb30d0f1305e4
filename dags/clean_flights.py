"""Lands flights that were cleaned by a Polars function: `@task.moulin`."""

from __future__ import annotations

import os
from datetime import timedelta
from typing import TYPE_CHECKING

from airflow.sdk import DAG, Param, task

from moulin import csv, iceberg

if TYPE_CHECKING:
    import polars as pl

DOC = """
### Clean flights, written in Polars

The body of `clean` runs once, when the task runs, on an **empty** frame that has the columns of the file. What it
returns is a plan; the plan travels to the worker, and the worker carries it out on the real rows. So no row passes
through Airflow, and the plan may hold no Python function (`map_elements`, `apply`).

Needs the connection `moulin_default` of type `moulin`.
"""

with DAG(
    dag_id="clean_flights",
    description="A Polars LazyFrame as a task: the plan travels, not the rows",
    doc_md=DOC,
    tags=["moulin", "example"],
    default_args={"retries": 2, "retry_delay": timedelta(seconds=10)},
    params={
        "flights": Param(
            os.environ.get("MOULIN_FLIGHTS", "file:///data/flights.csv.gz"),
            type="string",
            minLength=1,
            title="Flights",
            description="File or pattern, as the worker sees it.",
        ),
        "min_distance": Param(
            0, type="integer", minimum=0, title="Shortest distance", description="Miles; shorter flights are left out."
        ),
    },
) as dag:

    @task.moulin(
        source=csv("{{ params.flights }}", null_values=["NA"]),
        target=iceberg("silver.flights", partition_by=["origin"]),
        deferrable=True,
        execution_timeout=timedelta(minutes=30),
    )
    def clean(flights: pl.LazyFrame, params: dict[str, int] | None = None) -> pl.LazyFrame:
        """Keeps the flights that took place, with the speed they were flown at."""
        import polars as pl

        shortest = (params or {})["min_distance"]
        return flights.filter(pl.col("air_time").is_not_null() & (pl.col("distance") >= shortest)).with_columns(
            speed_mph=pl.col("distance") / (pl.col("air_time") / 60.0)
        )

    clean()

if __name__ == "__main__":
    dag.test()
