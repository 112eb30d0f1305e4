"""Waiting for the result of a query in the triggerer."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from moulin_provider.hooks.moulin import MoulinHook
from moulin_provider.outcome import SUCCESS, TIMEOUT, error_event
from moulin_provider.query_turn import Turn
from moulin_provider.triggers.once import OnceTrigger

if TYPE_CHECKING:
    from moulin.aio import AsyncClient


class MoulinQueryTrigger(OnceTrigger):
    """Fires once, with the result of a query when it is small, and without when it is not, or time is up.

    The ticket names what is read, so another triggerer that begins anew reads the same rows, and so does one that asks
    again because the workers were busy with other queries. Being stopped ends the query.

    :param query: the result without rows, in the shape of `MoulinQueryOperator`
    :param max_xcom_rows: a result of more rows is none for an event
    :param max_xcom_bytes: neither is one that is larger, as JSON

    The other arguments are those of `OnceTrigger`.
    """

    arguments = ("query", "moulin_conn_id", "max_xcom_rows", "max_xcom_bytes", "deadline", "not_before")

    def __init__(
        self,
        query: dict[str, Any],
        moulin_conn_id: str,
        max_xcom_rows: int,
        max_xcom_bytes: int,
        deadline: float | None = None,
        not_before: float = 0.0,
    ) -> None:
        super().__init__(moulin_conn_id, deadline, not_before)
        self.query = query
        self.max_xcom_rows = max_xcom_rows
        self.max_xcom_bytes = max_xcom_bytes

    async def wait(self) -> dict[str, Any]:
        """The result, or why there is none."""
        from moulin.errors import MoulinError

        try:
            async with (
                asyncio.timeout(self.seconds_left()),
                MoulinHook(self.moulin_conn_id).shared_async_conn() as client,
            ):
                return {"status": SUCCESS, "result": await self._result(client)}
        except TimeoutError as error:
            # The client's own errors of this kind are about one call.
            return error_event("", error) if isinstance(error, MoulinError) else {"status": TIMEOUT}
        except MoulinError as error:
            return error_event("", error)

    async def _result(self, client: AsyncClient) -> dict[str, Any]:
        """The result, from workers that may have to end other queries before."""
        from moulin.errors import Unavailable

        turn = Turn(self.log)
        while True:
            try:
                return await self._read(client)
            except Unavailable as error:
                pause = turn.pause(error)
            await asyncio.sleep(pause)

    async def _read(self, client: AsyncClient) -> dict[str, Any]:
        from moulin_provider.query_result import SmallRows

        small = SmallRows(self.max_xcom_rows, self.max_xcom_bytes)
        async with aclosing(client.redeem(self.query["ticket"])) as batches:  # type: ignore[type-var]
            async for batch in batches:
                if not small.take(batch):
                    return self.query
        return {**self.query, "rows": small.rows, "row_count": len(small.rows)}
