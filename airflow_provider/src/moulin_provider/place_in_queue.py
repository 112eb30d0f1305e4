"""Where a job stands among those that wait for a worker: what Airflow says of its task."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

_MOST = 2**31 - 1


@dataclass(frozen=True, slots=True)
class PlaceInQueue:
    """What is said of a job besides the job itself."""

    priority: int = 1
    """The higher, the earlier it is begun."""
    pool: str = "default_pool"
    """Only workers that serve this pool begin it."""

    @classmethod
    def of(cls, task: Any, ti: Any) -> PlaceInQueue:
        """That of a task: its pool, and the weight by which Airflow's scheduler orders it."""
        return cls(max(-_MOST, min(_MOST, total_weight(task, ti))), task.pool)


def total_weight(task: Any, ti: Any) -> int:
    """The task's `priority_weight` after its `weight_rule`, summed up again: a task process is not told it.

    A strategy of the user's own, of which Airflow does not promise that it can be asked here, counts when it answers.
    """
    own = int(task.priority_weight)
    strategy = getattr(task.weight_rule, "get_weight", None)
    if strategy is not None:
        try:
            return int(strategy(ti))
        except Exception:
            return own
    rule = str(getattr(task.weight_rule, "value", task.weight_rule))
    dag = task.get_dag()
    if rule not in ("downstream", "upstream") or dag is None:
        return own
    others = task.get_flat_relative_ids(upstream=rule == "upstream")
    return own + sum(int(dag.task_dict[other].priority_weight) for other in others)
