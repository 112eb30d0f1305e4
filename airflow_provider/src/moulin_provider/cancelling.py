"""Cancelling a job in the few seconds that a process has that is told to end."""

from __future__ import annotations

import time
from queue import Empty, SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from moulin.client import Client
    from moulin.errors import MoulinError
    from moulin.job import Job


def cancel(clients: Sequence[Client], job_id: str, reason: str, epoch: int, seconds: float) -> Job:
    """The job, after the first of these workers has taken note that it is to end.

    They share a job store, so that each of them may be told. All are told at once: to find out that a machine does not
    answer takes longer than there is time.

    Raises:
        StaleEpoch: a newer try owns the job.
        MoulinError: no worker took note of it within `seconds`.

    """
    from moulin.errors import CallTimeout, MoulinError, StaleEpoch
    from moulin.fault import Fault, FaultKind

    answers: SimpleQueue[Job | MoulinError] = SimpleQueue()
    for client in clients:
        Thread(target=_ask, args=(client, job_id, reason, epoch, answers), daemon=True).start()
    until = time.monotonic() + seconds
    failed: MoulinError = CallTimeout(Fault(FaultKind.DEADLINE_EXCEEDED, f"no worker answered in {seconds:g} s"))
    for _ in clients:
        try:
            answer = answers.get(timeout=max(until - time.monotonic(), 0.0))
        except Empty:
            break
        if not isinstance(answer, MoulinError):
            return answer
        failed = answer
        if isinstance(answer, StaleEpoch):
            break
    raise failed


def _ask(client: Client, job_id: str, reason: str, epoch: int, answers: SimpleQueue[Job | MoulinError]) -> None:
    from moulin.errors import MoulinError

    with client:
        try:
            answers.put(client.cancel(job_id, reason, epoch))
        except MoulinError as error:
            answers.put(error)
