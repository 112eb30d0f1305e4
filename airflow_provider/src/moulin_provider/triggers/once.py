"""What the triggers that fire once have in common."""

from __future__ import annotations

import asyncio
import time
from abc import abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.triggers.base import BaseTrigger, TriggerEvent

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

# Whatever the clocks of two machines say.
_LONGEST_HOLD = 10.0


class OnceTrigger(BaseTrigger):
    """Waits for one thing and tells of it once.

    :param moulin_conn_id: the connection of the worker
    :param deadline: when to give up, in seconds since 1970; None: never
    :param not_before: when to fire at the earliest, in seconds since 1970; see `supervisor_seconds`
    """

    arguments: ClassVar[tuple[str, ...]]
    """The arguments of `__init__`, each an attribute of the same name."""

    def __init__(self, moulin_conn_id: str, deadline: float | None, not_before: float) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Airflow's own
        self.moulin_conn_id = moulin_conn_id
        self.deadline = deadline
        self.not_before = not_before

    @abstractmethod
    async def wait(self) -> dict[str, Any]:
        """The event's payload, when what is waited for has happened."""

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """What another triggerer needs to wait for the same."""
        kind = type(self)
        return f"{kind.__module__}.{kind.__qualname__}", {name: getattr(self, name) for name in self.arguments}

    def seconds_left(self) -> float | None:
        """Until the deadline; None: there is none."""
        return None if self.deadline is None else max(self.deadline - time.time(), 0.0)

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Waits, and tells of it not before it may."""
        event = await self.wait()
        await asyncio.sleep(min(max(self.not_before - time.time(), 0.0), _LONGEST_HOLD))
        yield TriggerEvent(event)  # type: ignore[no-untyped-call]  # Airflow's own
