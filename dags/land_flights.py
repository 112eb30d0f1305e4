"""Lands the departures of 2013 in Iceberg: the example that `make demo` runs."""

from __future__ import annotations

import os
from datetime import timedelta

from airflow.sdk import DAG, Param

from moulin import csv, iceberg, sql
from moulin_provider.operators.moulin import MoulinLandOperator

DOC = """
### Flights into Iceberg

Reads the CSV file of the parameter `flights` (plain, `.gz` or `.zst`; a pattern such as `s3://raw/flights/*.csv.gz`
is fine), leaves out departures from EWR, says which ones were late, and lands the rest in `bronze.flights`, one
partition a month. The file is seen from the **worker's** machine.

* A **retry** finds the job of the try before it: rows land once.
* **Clear** asks for the work again: its rows *replace* those it landed before, in one snapshot.
* The receipt (rows read, landed, rejected, filtered, and the snapshot) is the task's XCom.

Needs the connection `moulin_default` of type `moulin`.
"""

with DAG(
    dag_id="land_flights",
    description="CSV to Apache Iceberg, each row once",
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
        "on_bad_row": Param(
            "fail",
            enum=["fail", "skip"],
            title="On a bad row",
            description="fail: the first row that does not fit ends the job; skip: such rows are counted and left out.",
        ),
    },
):
    MoulinLandOperator(
        task_id="land_flights",
        source=csv("{{ params.flights }}", null_values=["NA"]),
        transform=sql("SELECT *, dep_delay > 15 AS late FROM input WHERE origin <> 'EWR'"),
        target=iceberg("bronze.flights", partition_by=["month(time_hour)"]),
        on_bad_row="{{ params.on_bad_row }}",
        deferrable=True,
        execution_timeout=timedelta(minutes=30),
        doc_md="One CSV file, one SELECT, one Iceberg commit.",
    )
