"""The hosts of a client, which share one job store: which of them is asked, and which one next when it is gone."""

from __future__ import annotations

import threading
from typing import Any

from moulin.connection import Connection
from moulin.v1.job_service_pb2_grpc import JobServiceStub
from moulin.v1.pool_service_pb2_grpc import PoolServiceStub


class Host:
    """One worker and the channel to it, which the first call connects."""

    def __init__(self, connection: Connection, module: Any) -> None:
        self.connection = connection
        # `Any`: the same stub answers with a value or with an awaitable, as its channel is.
        self.channel: Any = connection.open(module)
        self._stubs: tuple[Any, ...] = (JobServiceStub(self.channel), PoolServiceStub(self.channel))

    def method(self, name: str) -> Any:
        """A method of `JobService` or `PoolService`."""
        return next(getattr(stub, name) for stub in self._stubs if hasattr(stub, name))


class Hosts:
    """All hosts of a client. The one that answered is asked again until it does not; then it is the next one's turn.

    Each opens its channel when it is asked for the first time. Safe to share between threads.
    """

    def __init__(self, connections: tuple[Connection, ...], module: Any) -> None:
        self._connections = connections
        self._module = module
        self._opened: dict[int, Host] = {}
        self._at = 0
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._connections)

    @property
    def names(self) -> str:
        """All targets, for errors."""
        return ", ".join(connection.target for connection in self._connections)

    @property
    def connection(self) -> Connection:
        """That of the host whose turn it is."""
        return self._connections[self._at]

    def current(self) -> Host:
        """The host whose turn it is."""
        with self._lock:
            if self._at not in self._opened:
                self._opened[self._at] = Host(self._connections[self._at], self._module)
            return self._opened[self._at]

    def leave(self, host: Host) -> None:
        """Makes it the turn of the next host, unless somebody else has seen to that already."""
        with self._lock:
            if self._opened.get(self._at) is host:
                self._at = (self._at + 1) % len(self._connections)

    def close(self) -> list[Any]:
        """Closes every channel; what that gave for each, in asyncio something to wait for."""
        with self._lock:
            return [host.channel.close() for host in self._opened.values()]
