"""Who asks, in a worker's terms: the key, generation and epoch of a task instance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from moulin.spec import JobKey


class TaskInstance(Protocol):
    """What is read from Airflow's task instance."""

    dag_id: str
    run_id: str
    task_id: str
    try_number: int
    max_tries: int

    @property
    def map_index(self) -> int | None:
        """Which of the mapped task's instances; negative or None when it is not mapped."""


@dataclass(frozen=True, slots=True)
class TaskIdentity:
    """One try of one task instance.

    The key is the same for all its tries, the generation changes when a user clears it, the epoch with every try.
    """

    dag_id: str
    run_id: str
    task_id: str
    map_index: int
    generation: int
    epoch: int

    @classmethod
    def of(cls, ti: TaskInstance, retries: int | None) -> TaskIdentity:
        """Reads a task instance.

        Airflow sets `max_tries` to `retries` when a task instance is made and to `try_number + retries` when it
        is cleared, and leaves it alone on a retry: what it is above `retries` names the clear. It is held between
        0 and the number of tries made, because `retries` may be another in a DAG file that was edited since.
        """
        made = max(ti.try_number - 1, 0)
        map_index = -1 if ti.map_index is None else ti.map_index
        return cls(
            dag_id=ti.dag_id,
            run_id=ti.run_id,
            task_id=ti.task_id,
            map_index=map_index,
            generation=min(max(ti.max_tries - (retries or 0), 0), made),
            epoch=ti.try_number,
        )

    @property
    def key(self) -> JobKey:
        """The key for the worker."""
        from moulin.spec import JobKey

        return JobKey(task_id=self.task_id, dag_id=self.dag_id, run_id=self.run_id, map_index=self.map_index)

    def asked_generation(self, *, durable: bool) -> int:
        """The generation this try asks for: that of its task, or (not durable) one of its own for every try."""
        return self.generation if durable else max(self.epoch - 1, self.generation)


def identity_of(context: Any, retries: int | None) -> TaskIdentity:
    """The identity of the task instance of a context."""
    return TaskIdentity.of(context["ti"], retries)
