"""Waiting in the triggerer until workers take jobs again."""

from __future__ import annotations

import asyncio
import random
import time
from typing import Any

from moulin_provider.hooks.moulin import MoulinHook
from moulin_provider.outcome import TIMEOUT
from moulin_provider.triggers.once import OnceTrigger

_LOOK = 5.0
_LONGEST = 60.0


class MoulinRoomTrigger(OnceTrigger):
    """Fires once: `{"status": "room"}` when the workers take new jobs, `{"status": "timeout"}` when the time is up.

    It fires after a minute in any case, so that the task asks again itself: of several hosts it looks at one.
    The arguments are those of `OnceTrigger`.
    """

    arguments = ("moulin_conn_id", "deadline", "not_before")

    def __init__(self, moulin_conn_id: str, deadline: float | None = None, not_before: float = 0.0) -> None:
        super().__init__(moulin_conn_id, deadline, not_before)

    async def wait(self) -> dict[str, Any]:
        """Looks now and then; tasks that wait for the same room look at different moments."""
        begun = time.monotonic()
        while True:
            await asyncio.sleep(_LOOK * random.uniform(0.5, 1.5))
            if self.seconds_left() == 0.0:
                return {"status": TIMEOUT}
            if time.monotonic() - begun > _LONGEST or await self.is_room():
                return {"status": "room"}

    async def is_room(self) -> bool:
        """Whether the worker that answers takes a new job now."""
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
