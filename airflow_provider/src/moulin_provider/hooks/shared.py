"""One client for all triggers of a triggerer that use the same connection."""

from __future__ import annotations

import asyncio
import os
import sys
from contextlib import asynccontextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Hashable

    from moulin.aio import AsyncClient


class _Shared:
    def __init__(self, client: AsyncClient) -> None:
        self.client = client
        self.users = 0


# A client belongs to the event loop that it was made in.
_clients: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[Hashable, _Shared]] = WeakKeyDictionary()


@asynccontextmanager
async def shared_client(arguments: dict[str, Any]) -> AsyncIterator[AsyncClient]:
    """The client of this event loop with these arguments, made by the first who asks and closed after the last.

    What is sent and heard by hundreds of triggers goes through one channel. A connection that was changed in the
    meantime has other arguments, and so a client of its own; so has one whose certificates were renewed in their files,
    which a channel reads once.
    """
    if "moulin.aio" not in sys.modules:
        # gRPC takes a while to load, for which no other trigger should stand still.
        await asyncio.to_thread(import_module, "moulin.aio")
    from moulin.aio import AsyncClient

    known = _clients.setdefault(asyncio.get_running_loop(), {})
    key = _key(arguments)
    shared = known.get(key)
    if shared is None:
        shared = known[key] = _Shared(AsyncClient(**arguments))
    shared.users += 1
    try:
        yield shared.client
    finally:
        shared.users -= 1
        if shared.users == 0:
            del known[key]
            await shared.client.close()


def _key(arguments: dict[str, Any]) -> Hashable:
    """What tells one client from another: its arguments, and the state of the files that they name."""
    said = tuple(tuple(value) if isinstance(value, list) else value for _, value in sorted(arguments.items()))
    tls = arguments.get("tls")
    if tls is None or isinstance(tls, bool):
        return said
    files = (tls.root_certificates, tls.client_certificate, tls.client_key)
    return said, tuple(_state_of(one) for one in files if isinstance(one, str | os.PathLike))


def _state_of(path: str | os.PathLike[str]) -> tuple[int, int, int] | None:
    """Another value after a file was written, or another was put in its place; None: it cannot be looked at."""
    try:
        found = os.stat(path)  # noqa: PTH116  (a text or a path)
    except OSError:
        return None  # the client says what is wrong with it
    return found.st_mtime_ns, found.st_ino, found.st_size
