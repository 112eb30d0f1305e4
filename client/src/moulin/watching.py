"""How long a watcher goes on asking after the connection broke."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any

import grpc

from moulin import request
from moulin.errors import MoulinError, Unavailable, WaitTimeout
from moulin.fault import Fault, FaultKind
from moulin.hosts import Hosts
from moulin.job import Job
from moulin.status import call_error, is_lost
from moulin.wire import decode_job

_FIRST_PAUSE = 0.2
_LONGEST_PAUSE = 5.0


class Patience:
    """Pauses that double from 0.2 s to 5 s, with jitter, until nothing was heard for a bound; hearing resets both."""

    def __init__(self, bound: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._bound = bound
        self._clock = clock
        self._lost_since: float | None = None
        self._pause = _FIRST_PAUSE

    def heard(self) -> None:
        """The worker answered."""
        self._lost_since = None
        self._pause = _FIRST_PAUSE

    def pause(self, lost: MoulinError) -> float:
        """Seconds until the next try; raises `lost` when nothing was heard for longer than the bound."""
        now = self._clock()
        if self._lost_since is None:
            self._lost_since = now
        left = self._lost_since + self._bound - now
        if left <= 0:
            raise lost
        pause = self._pause * random.uniform(0.5, 1.0)
        self._pause = min(self._pause * 2, _LONGEST_PAUSE)
        return min(pause, left)


class Deadline:
    """The end of a wait; None: never."""

    def __init__(self, timeout: float | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._timeout = timeout
        self._clock = clock
        self._end = None if timeout is None else clock() + timeout

    def left(self) -> float | None:
        """Seconds left, never negative; None: no end."""
        return None if self._end is None else max(self._end - self._clock(), 0.0)

    def passed(self) -> bool:
        """Whether the wait is over."""
        return self._end is not None and self._clock() >= self._end

    def error(self, job_id: str) -> WaitTimeout:
        """What a wait that ran out raises."""
        message = f"job {job_id} was not over after {self._timeout:g} s"
        hint = "it goes on in the worker; wait again, or cancel it"
        return WaitTimeout(Fault(FaultKind.DEADLINE_EXCEEDED, message, hint, retryable=True))


class Following:
    """One watch of a job over the restarts of its worker: when to ask again, and when to give up."""

    def __init__(self, hosts: Hosts, reconnect: float, job_id: str, timeout: float | None) -> None:
        self._hosts = hosts
        self._host = hosts.current()
        self._job_id = job_id
        self._patience = Patience(reconnect)
        self._deadline = Deadline(timeout)

    def begin(self, interval: float) -> Any:
        """Opens a stream of answers."""
        message = request.watch(self._job_id, interval)
        self._host = self._hosts.current()
        metadata = self._host.connection.metadata
        return self._host.method("Watch")(message, timeout=self._deadline.left(), metadata=metadata)

    def heard(self, answer: Any) -> Job:
        """The job in an answer."""
        self._patience.heard()
        return decode_job(answer.job)

    def failed(self, error: grpc.RpcError) -> MoulinError:
        """Why the stream broke, when asking again can help; raises otherwise."""
        if self._deadline.passed():
            raise self._deadline.error(self._job_id) from error
        found = call_error(error, self._host.connection, "Watch", self._hosts.names)
        if not is_lost(error):
            raise found from error
        self._hosts.leave(self._host)
        return found

    def ended(self) -> MoulinError:
        """Why the stream ended before the job: the worker shuts down."""
        self._hosts.leave(self._host)
        target = self._host.connection.target
        message = f"the worker at {target} ended the watch of job {self._job_id} before the job was over"
        hint = "the job goes on when the worker is started again; wait for it again"
        return Unavailable(Fault(FaultKind.UNAVAILABLE, message, hint, retryable=True))

    def pause(self, lost: MoulinError) -> float:
        """Seconds until the next stream; raises `lost` when nothing was heard for too long."""
        pause, left = self._patience.pause(lost), self._deadline.left()
        return pause if left is None else min(pause, left)

    def rested(self) -> None:
        """Raises when the time to wait is over."""
        if self._deadline.passed():
            raise self._deadline.error(self._job_id)
