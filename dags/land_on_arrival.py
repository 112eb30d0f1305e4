"""Lands files when they arrive: no DAG runs that poll, no sensor."""

from __future__ import annotations

import os
from datetime import timedelta

from airflow.sdk import DAG, Asset, AssetWatcher, Param

from moulin import csv, iceberg
from moulin_provider.operators.moulin import MoulinLandOperator
from moulin_provider.triggers.files import MoulinFilesTrigger

DOC = """
### Land what arrives

The triggerer asks the worker which files there are (Airflow needs no credentials of their store). New ones make **one** event,
however many they are; the event starts this DAG.

The event says that there is something to do, not what. The task takes the whole pattern, and the worker leaves out every
file that the table was loaded with before. So nothing is missed when two events make one run, and nothing is landed twice
when an event comes again after a restart.

The watcher looks as long as this DAG is not paused. Needs the connection `moulin_default` of type `moulin`.
"""

FILES = os.environ.get("MOULIN_ARRIVALS", "s3://raw/arrivals/*/*.csv")
ARRIVALS = Asset(
    name="moulin_arrivals",
    watchers=[
        AssetWatcher(
            name="files",
            trigger=MoulinFilesTrigger(FILES, poll_interval=float(os.environ.get("MOULIN_ARRIVALS_SECONDS", "30"))),
        )
    ],
)

with DAG(
    dag_id="land_on_arrival",
    description="An asset's watcher starts the landing of new files",
    schedule=[ARRIVALS],
    max_active_runs=1,
    doc_md=DOC,
    tags=["moulin", "example"],
    default_args={"retries": 2, "retry_delay": timedelta(seconds=10)},
    params={
        "on_bad_row": Param(
            "quarantine",
            enum=["fail", "skip", "quarantine"],
            title="On a bad row",
            description="quarantine: it is left out and kept, with its place, its reason and its bytes.",
        ),
    },
):
    MoulinLandOperator(
        task_id="land",
        source=csv(FILES),
        target=iceberg("bronze.arrivals"),
        on_bad_row="{{ params.on_bad_row }}",
        deferrable=True,
        execution_timeout=timedelta(minutes=30),
    )
