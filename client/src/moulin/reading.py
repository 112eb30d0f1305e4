"""Rows over Arrow Flight in asyncio: read in threads, which are the client's own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    import pyarrow as pa

    from moulin.flight import QueryRows, Rows

_Value = TypeVar("_Value")

# A reading that waits for the worker holds a thread. The event loop has threads too, but few (six on two cores), which
# whatever else runs in it shares: a triggerer's other triggers, and looking up names.
_MOST_THREADS = 128


class ReadingThreads:
    """Threads of one client, started as they are needed; they end when the client is forgotten.

    When all of them wait, the next reading waits for one of them.
    """

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(_MOST_THREADS, thread_name_prefix="moulin-flight")

    async def run(self, function: Callable[..., _Value], *args: Any) -> _Value:
        """What a function gives that may block."""
        call = partial(copy_context().run, function, *args)
        return await asyncio.get_running_loop().run_in_executor(self._pool, call)

    async def batches(self, rows: Rows | QueryRows) -> AsyncGenerator[pa.RecordBatch, None]:
        """Batches as they come; leaving the loop ends the reading."""
        batches = iter(rows)
        try:
            while (batch := await self.run(next, batches, None)) is not None:
                yield batch
        finally:
            rows.cancel()
