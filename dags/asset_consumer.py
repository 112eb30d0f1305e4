"""Runs whenever `bronze.flights` has new rows, and knows which."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import DAG, Param, task

from moulin_provider.assets import iceberg_asset

DOC = """
### What came in

`land_flights` lands in `bronze.flights` and says so by an event of that asset. This DAG is scheduled on the asset: there is
no polling and no sensor. The event tells the snapshot (as a text: its 64 bits do not survive a browser), the rows, the
files and the job, whose rows are to be had with `MoulinHook().reader(job_id)`.
"""

FLIGHTS = iceberg_asset("bronze.flights")

with DAG(
    dag_id="asset_consumer",
    description="Started by the event of an Iceberg table",
    schedule=[FLIGHTS],
    doc_md=DOC,
    tags=["moulin", "example"],
    default_args={"retries": 2, "retry_delay": timedelta(seconds=10)},
    params={
        "at_least": Param(
            1, type="integer", minimum=0, title="Rows at least", description="Events with fewer rows are left out."
        )
    },
):

    @task(inlets=[FLIGHTS])
    def what_came_in(triggering_asset_events: Any = None, params: dict[str, int] | None = None) -> list[dict[str, Any]]:
        """The landings that started this run."""
        wanted = (params or {})["at_least"]
        extras = [event.extra for event in triggering_asset_events[FLIGHTS]]
        return [extra for extra in extras if extra["rows_landed"] >= wanted]

    what_came_in()
