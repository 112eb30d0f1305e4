"""Lands late departures, then reads them in Python over Arrow Flight."""

from __future__ import annotations

import os
from datetime import timedelta
from typing import Any

from airflow.sdk import DAG, Param, task

from moulin import csv, iceberg
from moulin_provider.hooks.moulin import MoulinHook

DOC = """
### Read what was landed

`late` is SQL written by a function, and lands. Its XCom is the receipt, a few hundred bytes; `busiest` gets the rows
themselves from the worker, a batch at a time, and never more than one batch is in memory.

Needs the connection `moulin_default` of type `moulin`.
"""

with DAG(
    dag_id="read_results",
    description="A task downstream reads the rows over Arrow Flight",
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
        "minutes": Param(60, type="integer", minimum=0, title="Late from", description="Minutes of delay."),
        "origin": Param("JFK", enum=["EWR", "JFK", "LGA"], title="Airport"),
    },
):

    @task.moulin_sql(
        source=csv("{{ params.flights }}", null_values=["NA"]),
        target=iceberg("silver.late_flights"),
        deferrable=True,
        execution_timeout=timedelta(minutes=30),
    )
    def late(params: dict[str, Any] | None = None) -> str:
        """The SELECT; templates in it are rendered."""
        minutes = int((params or {})["minutes"])
        return (
            f"SELECT carrier, dep_delay FROM input WHERE dep_delay >= {minutes} AND origin = '{{{{ params.origin }}}}'"
        )

    @task
    def busiest(receipt: dict[str, Any]) -> dict[str, Any]:
        """The carrier with the most late departures."""
        late_of: dict[str, int] = {}
        for batch in MoulinHook().reader(receipt):
            for carrier in batch.column("carrier").to_pylist():
                late_of[carrier] = late_of.get(carrier, 0) + 1
        carrier = max(late_of, key=lambda one: late_of[one])
        return {"carrier": carrier, "late": late_of[carrier], "rows": sum(late_of.values())}

    busiest(late())
