"""Waiting for the result of a query in the triggerer."""

from __future__ import annotations

import asyncio
import time
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from moulin_provider.hooks.moulin import MoulinHook
from moulin_provider.outcome import SUCCESS, TIMEOUT, error_event

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class MoulinQueryTrigger(BaseTrigger):
    """Fires once, with the result of a query when it is small, and without when it is not, or time is up.

    The ticket names what is read, so another triggerer that begins anew reads the same rows. Being stopped ends the
    query.

    :param query: the result without rows, in the shape of `MoulinQueryOperator`
    :param moulin_conn_id: the connection of the worker
    :param max_xcom_rows: a result of more rows is none for an event
    :param max_xcom_bytes: neither is one that is larger, as JSON
    :param deadline: when to give up, in seconds since 1970; None: never
    :param not_before: when to fire at the earliest, in seconds since 1970; see `MoulinJobTrigger`
    """

    def __init__(
        self,
        query: dict[str, Any],
        moulin_conn_id: str,
        max_xcom_rows: int,
        max_xcom_bytes: int,
        deadline: float | None = None,
        not_before: float = 0.0,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Airflow's own
        self.query = query
        self.moulin_conn_id = moulin_conn_id
        self.max_xcom_rows = max_xcom_rows
        self.max_xcom_bytes = max_xcom_bytes
        self.deadline = deadline
        self.not_before = not_before

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """What another triggerer needs to ask again."""
        names = ("query", "moulin_conn_id", "max_xcom_rows", "max_xcom_bytes", "deadline", "not_before")
        return "moulin_provider.triggers.query.MoulinQueryTrigger", {name: getattr(self, name) for name in names}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Reads until the result is whole or too large."""
        from moulin.errors import MoulinError

        try:
            limit = None if self.deadline is None else max(self.deadline - time.time(), 0.0)
            async with asyncio.timeout(limit):
                event = {"status": SUCCESS, "result": await self._result()}
        except TimeoutError as error:
            # The client's own errors of this kind are about one call.
            event = error_event("", error) if isinstance(error, MoulinError) else {"status": TIMEOUT}
        except MoulinError as error:
            event = error_event("", error)
        # At the most ten seconds, whatever the clocks of two machines say.
        await asyncio.sleep(min(max(self.not_before - time.time(), 0.0), 10.0))
        yield TriggerEvent(event)  # type: ignore[no-untyped-call]  # Airflow's own

    async def _result(self) -> dict[str, Any]:
        from moulin_provider.query_result import SmallRows

        small = SmallRows(self.max_xcom_rows, self.max_xcom_bytes)
        async with (
            MoulinHook(self.moulin_conn_id).shared_async_conn() as client,
            aclosing(client.redeem(self.query["ticket"])) as batches,  # type: ignore[type-var]
        ):
            async for batch in batches:
                if not small.take(batch):
                    return self.query
        return {**self.query, "rows": small.rows, "row_count": len(small.rows)}
