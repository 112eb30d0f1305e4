"""The context that Airflow gives a task instance, for operators that run without Airflow around them."""

from __future__ import annotations

import uuid
from types import SimpleNamespace
from typing import Any

from airflow.sdk.execution_time.context import OutletEventAccessors


def task_context(run_id: str = "", task_id: str = "t", *, map_index: int = -1, try_number: int = 1,
                 max_tries: int = 0, **values: Any) -> dict[str, Any]:  # fmt: skip
    """That of one try; what it pushes is in `xcoms` of its `ti`."""
    ti = SimpleNamespace(
        dag_id="d",
        run_id=run_id or uuid.uuid4().hex,
        task_id=task_id,
        map_index=map_index,
        try_number=try_number,
        max_tries=max_tries,
        xcoms={},
    )
    ti.xcom_push = lambda key, value: ti.xcoms.__setitem__(key, value)
    return {"ti": ti, "outlet_events": OutletEventAccessors(), **values}
