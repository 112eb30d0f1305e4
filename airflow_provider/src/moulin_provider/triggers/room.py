"""Waiting in the triggerer until workers take jobs again."""

from __future__ import annotations

import asyncio
import random
import time
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from moulin_provider.hooks.moulin import MoulinHook

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_LOOK = 5.0
_LONGEST = 60.0


class MoulinRoomTrigger(BaseTrigger):
    """Fires once: `{"status": "room"}` when the workers take new jobs, `{"status": "timeout"}` when the time is up.

    It fires after a minute in any case, so that the task asks again itself: of several hosts it looks at one.

    :param moulin_conn_id: the connection of the worker
    :param deadline: when to give up, in seconds since 1970; None: never
    :param not_before: when to fire at the earliest, in seconds since 1970; see `MoulinJobOperator`
    """

    def __init__(self, moulin_conn_id: str, deadline: float | None = None, not_before: float = 0.0) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Airflow's own
        self.moulin_conn_id = moulin_conn_id
        self.deadline = deadline
        self.not_before = not_before

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """What another triggerer needs to wait for the same."""
        return (
            "moulin_provider.triggers.room.MoulinRoomTrigger",
            {"moulin_conn_id": self.moulin_conn_id, "deadline": self.deadline, "not_before": self.not_before},
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Looks now and then; tasks that wait for the same room look at different moments."""
        begun = time.monotonic()
        status = "room"
        while True:
            await asyncio.sleep(_LOOK * random.uniform(0.5, 1.5))
            if self.deadline is not None and time.time() >= self.deadline:
                status = "timeout"
                break
            if time.monotonic() - begun > _LONGEST or await self._is_room():
                break
        # At the most ten seconds, whatever the clocks of two machines say.
        await asyncio.sleep(min(max(self.not_before - time.time(), 0.0), 10.0))
        yield TriggerEvent({"status": status})  # type: ignore[no-untyped-call]  # Airflow's own

    async def _is_room(self) -> bool:
        from moulin.errors import MoulinError

        try:
            async with MoulinHook(self.moulin_conn_id).shared_async_conn() as client:
                worker = await client.describe()
        except MoulinError as error:
            self.log.info("no word of the workers: %s", error.message)
            return False
        if not worker.accepting:
            why = "it drains" if worker.draining else f"{worker.queued:,} jobs wait"
            self.log.info("worker %s takes no new job yet: %s", worker.worker_id, why)
        return worker.accepting
