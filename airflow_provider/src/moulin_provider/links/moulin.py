"""The button "Moulin receipt"."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

from airflow.providers.common.compat.sdk import BaseOperatorLink, conf

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import BaseOperator, TaskInstanceKey


class MoulinReceiptLink(BaseOperatorLink):
    """Opens the task instance's XComs in Airflow: the job's id while it runs, and its receipt afterwards.

    A worker serves no pages and a table is no address a browser can open, so the link stays inside Airflow.
    """

    @property
    def name(self) -> str:
        """Text of the button."""
        return "Moulin receipt"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:  # noqa: ARG002
        """The page of this task instance's XComs."""
        base = str(conf.get("api", "base_url", fallback="") or "").rstrip("/")
        path = f"/dags/{_part(ti_key.dag_id)}/runs/{_part(ti_key.run_id)}/tasks/{_part(ti_key.task_id)}"
        if ti_key.map_index >= 0:
            path += f"/mapped/{ti_key.map_index}"
        return f"{base}{path}/xcom"


def _part(text: str) -> str:
    return quote(text, safe="")
