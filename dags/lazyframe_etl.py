"""Delays by carrier and month: an aggregation written in Polars, carried out by the worker."""

from __future__ import annotations

import os
from datetime import timedelta
from typing import TYPE_CHECKING

from airflow.sdk import DAG, Param, task

from moulin import csv, iceberg

if TYPE_CHECKING:
    import polars as pl

DOC = """
### Delays by carrier and month

`delays` groups the departures of a year. The function describes that on an **empty** frame; the worker streams the file
through the plan, so neither Airflow nor the function ever holds a row. The receipt's `rows_filtered` is empty here: the
rows that land are other rows than those that were read.

* `slow_minutes` comes to the function as a number, because the parameter is one (`params` is the context's).
* An annotation that is not a `LazyFrame` would be refused when this file is parsed.

Needs the connection `moulin_default` of type `moulin`.
"""

with DAG(
    dag_id="lazyframe_etl",
    description="A group-by in Polars as a task",
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
        "slow_minutes": Param(
            15, type="integer", minimum=0, maximum=1440, title="Slow from", description="Minutes of delay."
        ),
    },
):

    @task.moulin(
        source=csv("{{ params.flights }}", null_values=["NA"]),
        target=iceberg("gold.delays"),
        deferrable=True,
        execution_timeout=timedelta(minutes=30),
    )
    def delays(flights: pl.LazyFrame, params: dict[str, int] | None = None) -> pl.LazyFrame:
        """Departures, late departures and the mean delay of each carrier in each month."""
        import polars as pl

        late = pl.col("dep_delay") > (params or {})["slow_minutes"]
        return (
            flights.filter(pl.col("dep_delay").is_not_null())
            .group_by("carrier", "month")
            .agg(
                departures=pl.len().cast(pl.Int64),
                late=late.sum().cast(pl.Int64),
                mean_delay=pl.col("dep_delay").mean(),
            )
        )

    delays()
