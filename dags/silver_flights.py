"""Makes a table of tables, then asks it a question: snapshots are pinned, and named in the receipt."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import DAG, Param, task

from moulin import iceberg, sql, table
from moulin_provider.operators.moulin import MoulinQueryOperator, MoulinTransformOperator

DOC = """
### From bronze to silver

`delays` reads the Iceberg table that `land_flights` fills, as it is when the worker takes the job; what is landed meanwhile is
for the next run. The receipt names the snapshot. Clear the task, and what it lands then replaces what it had landed.

`worst` asks the new table. Its result is small, so its rows are the XCom, which `tell` takes. Of a large one the XCom is a
ticket, and `MoulinHook().reader(worst.output)` reads it.

Needs the connection `moulin_default` of type `moulin`, and a table that `land_flights` has made.
"""

with DAG(
    dag_id="silver_flights",
    description="Iceberg tables in, an Iceberg table out, and a question",
    doc_md=DOC,
    tags=["moulin", "example"],
    default_args={"retries": 2, "retry_delay": timedelta(seconds=10)},
    params={
        "flights": Param("bronze.flights", type="string", pattern=r"^[^.]+\..+$", title="Table to read"),
        "worst": Param(5, type="integer", minimum=1, maximum=100, title="How many carriers to name"),
    },
):
    delays = MoulinTransformOperator(
        task_id="delays",
        tables={"flights": table("{{ params.flights }}")},
        transform=sql(
            "SELECT carrier, origin, count(*) AS departures, avg(dep_delay) AS mean_delay "
            "FROM flights WHERE dep_delay IS NOT NULL GROUP BY carrier, origin"
        ),
        target=iceberg("silver.delays", partition_by=["origin"]),
        deferrable=True,
        execution_timeout=timedelta(minutes=30),
    )
    worst = MoulinQueryOperator(
        task_id="worst",
        sql="SELECT carrier, max(mean_delay) AS mean_delay FROM silver.delays "
        "GROUP BY carrier ORDER BY mean_delay DESC LIMIT {{ params.worst }}",
        deferrable=False,
        execution_timeout=timedelta(minutes=5),
    )

    @task
    def tell(result: dict[str, Any]) -> list[str]:
        """The carriers, worst first."""
        return [f"{row['carrier']}: {row['mean_delay']:.1f} minutes" for row in result["rows"]]

    delays >> worst
    tell(worst.output)
