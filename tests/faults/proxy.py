"""A TCP proxy between a worker and a server that can be told to lose, refuse and break."""

from __future__ import annotations

import asyncio
import contextlib
import re
import threading
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, TypeVar

T = TypeVar("T")
Match = Callable[[bytes], bool]

CHUNK = 1 << 16
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


@dataclass
class _Fault:
    """What happens to the next requests that match."""

    match: Match
    times: int
    # Where the answer is lost only once it is whole: the server has then done what it was asked.
    is_answered: Match = bool
    # Sent instead of asking the server; None: the server is asked and its answer is lost.
    instead: bytes | None = None


@dataclass(eq=False)
class _Connection:
    """One client's connection; `asked` is what it said since the server last answered."""

    client: asyncio.StreamWriter
    server: asyncio.StreamWriter
    asked: bytearray = field(default_factory=bytearray)
    losing: _Fault | None = None
    answered: bytearray = field(default_factory=bytearray)

    def cut(self) -> None:
        """Ends both sides at once, as a network does: without a last word."""
        for writer in (self.client, self.server):
            transport = writer.transport
            if isinstance(transport, asyncio.WriteTransport):
                transport.abort()


class Proxy:
    """Forwards `127.0.0.1:<port>` to a server, and breaks what a test asks it to break."""

    def __init__(self, host: str, port: int):
        self._target = (host, port)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=f"proxy of {port}", daemon=True)
        self._thread.start()
        self._server: asyncio.Server | None = None
        self._connections: set[_Connection] = set()
        self._faults: list[_Fault] = []
        self._broken = 0
        self.port = 0
        self.accept()

    @property
    def broken(self) -> int:
        """How many requests met a fault so far."""
        return self._broken

    def accept(self) -> None:
        """Listens, again on the same port after `refuse`."""
        self._run(self._listen())

    def refuse(self) -> None:
        """The server is gone: connections end and new ones are refused."""
        self._run(self._stop())

    def lose_answers(self, match: Match, times: int = 1, is_answered: Match = bool) -> None:
        """The server does what the next matching requests ask for, and the client never hears of it."""
        self._arm(_Fault(match, times, is_answered=is_answered))

    def answer_instead(self, match: Match, answer: bytes, times: int = 1) -> None:
        """The next matching HTTP requests get this answer, and the server never hears of them."""
        self._arm(_Fault(match, times, instead=answer))

    def heal(self) -> None:
        """Nothing is broken any more."""
        self._run(self._forget())
        if self._server is None:
            self.accept()

    def close(self) -> None:
        """Ends everything."""
        self._run(self._stop())
        self._run(self._end_tasks())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def _arm(self, fault: _Fault) -> None:
        async def arm() -> None:
            self._faults.append(fault)

        self._run(arm())

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _stop(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        for connection in list(self._connections):
            connection.cut()

    async def _end_tasks(self) -> None:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _forget(self) -> None:
        self._faults.clear()

    async def _serve(self, client_in: asyncio.StreamReader, client_out: asyncio.StreamWriter) -> None:
        try:
            server_in, server_out = await asyncio.open_connection(*self._target)
        except OSError:
            client_out.transport.abort()
            return
        connection = _Connection(client_out, server_out)
        self._connections.add(connection)
        try:
            # Cancelled only when the proxy ends: Python 3.11 prints a traceback for each connection that ends as cancelled.
            with contextlib.suppress(OSError, asyncio.CancelledError):
                await asyncio.gather(self._ask(connection, client_in), self._answer(connection, server_in))
        finally:
            self._connections.discard(connection)
            connection.cut()

    async def _ask(self, connection: _Connection, client: asyncio.StreamReader) -> None:
        while data := await client.read(CHUNK):
            connection.asked += data
            fault = None if connection.losing else self._fault_for(bytes(connection.asked))
            if fault is not None and fault.instead is not None:
                await _rest_of_request(connection.asked, client)
                connection.client.write(fault.instead)
                await connection.client.drain()
                connection.client.close()
                connection.server.transport.abort()
                return
            connection.losing = connection.losing or fault
            connection.server.write(data)
            await connection.server.drain()
        connection.server.write_eof()

    async def _answer(self, connection: _Connection, server: asyncio.StreamReader) -> None:
        while data := await server.read(CHUNK):
            connection.asked.clear()
            if connection.losing is not None:
                connection.answered += data
                if connection.losing.is_answered(bytes(connection.answered)):
                    connection.cut()
                    return
                continue
            connection.client.write(data)
            await connection.client.drain()
        connection.client.close()

    def _fault_for(self, asked: bytes) -> _Fault | None:
        for fault in self._faults:
            if fault.times > 0 and fault.match(asked):
                fault.times -= 1
                self._broken += 1
                return fault
        return None


async def _rest_of_request(asked: bytearray, client: asyncio.StreamReader) -> None:
    """Reads the body of an HTTP request: a client that still sends does not hear an early answer."""
    while b"\r\n\r\n" not in asked:
        asked += await client.read(CHUNK)
    head, _, body = bytes(asked).partition(b"\r\n\r\n")
    length = _LENGTH.search(head)
    missing = int(length.group(1)) - len(body) if length else 0
    while missing > 0 and (data := await client.read(CHUNK)):
        missing -= len(data)


def http_error(status: int, reason: str, body: bytes = b"") -> bytes:
    """An HTTP answer that ends the connection."""
    return b"HTTP/1.1 %d %s\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s" % (
        status,
        reason.encode(),
        len(body),
        body,
    )
