"""Asking a worker for a job, so that one task instance never has two."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING

from moulin_provider.place_in_queue import PlaceInQueue

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow.sdk.types import Logger
    from moulin.client import Client, JobHandle
    from moulin.job import Job
    from moulin.spec import JobSpec

    from moulin_provider.task_identity import TaskIdentity

_PATIENCE = 20.0
_FIRST_PAUSE = 0.5
_LONGEST_PAUSE = 30.0
# A process that is told to end has five seconds: how soon it notices in a pause.
_NOTICE = 0.5


def submit(
    client: Client,
    spec: JobSpec,
    identity: TaskIdentity,
    log: Logger,
    *,
    durable: bool = True,
    place: PlaceInQueue | None = None,
    wait_for_room: bool = True,
    go_on: Callable[[], None] = lambda: None,
) -> Job:
    """The job of this task instance: a new one, or the one that an earlier try asked for.

    The worker knows a job by key and generation and answers a second submit with the job as it stands. One that failed
    or was cancelled it begins again, because this try is newer: nothing of that job is visible.

    `go_on` is called before every call and now and then in a pause; what it raises ends the asking.

    Raises:
        ResourceExhausted: the workers take no new job now; with `wait_for_room` they are asked until they do.

    """
    generation = identity.asked_generation(durable=durable)
    asking = _Asking(client, spec, identity, generation, place or PlaceInQueue(), log, go_on)
    handle = asking.answer(wait_for_room=wait_for_room)
    job = handle.job
    if handle.created:
        log.info(
            "submitted job %s into %s (generation %s, try %s; pool %s, priority %s)",
            job.job_id,
            job.table,
            generation,
            identity.epoch,
            job.pool,
            job.priority,
        )
    else:
        log.info(
            "attached to job %s of an earlier try: it is %s (generation %s, try %s)",
            job.job_id,
            job.state,
            job.generation,
            identity.epoch,
        )
    return job


class _Asking:
    """One submit, asked until it is answered."""

    def __init__(
        self,
        client: Client,
        spec: JobSpec,
        identity: TaskIdentity,
        generation: int,
        place: PlaceInQueue,
        log: Logger,
        go_on: Callable[[], None],
    ) -> None:
        self._client = client
        self._spec = spec
        self._identity = identity
        self._generation = generation
        self._place = place
        self._log = log
        self._go_on = go_on

    def answer(self, *, wait_for_room: bool) -> JobHandle:
        """The job.

        When no answer came it is asked for again for a while. Without the answer nobody knows whether the worker has
        the job; asking again is safe and finds out, and a task that failed here would leave a job behind that lands
        its rows all the same. When the workers take no new job, that is an answer, and it is waited for without an
        end: Airflow's `execution_timeout` is one.
        """
        from moulin.errors import CallTimeout, ResourceExhausted, Unavailable

        lost_since: float | None = None
        pause = _FIRST_PAUSE
        while True:
            self._go_on()
            try:
                return self._ask()
            except ResourceExhausted as error:
                if not wait_for_room or not error.retryable:
                    raise
                self._log.info("the workers take no new job now, asking again in %.0f s: %s", pause, error.message)
                lost_since = None
            except (Unavailable, CallTimeout) as error:
                if lost_since is None:
                    # Counted from the end of the first call, which alone may take longer than this patience.
                    lost_since, pause = time.monotonic(), _FIRST_PAUSE
                if not error.retryable or time.monotonic() + pause > lost_since + _PATIENCE:
                    raise
                self._log.info("asking again in %.1f s: %s", pause, error.message)
            # Many tasks are told the same at the same moment.
            self._rest(pause * random.uniform(0.8, 1.2))
            pause = min(pause * 2, _LONGEST_PAUSE)

    def _rest(self, seconds: float) -> None:
        # A sleep goes on after a signal, so it is made of short ones.
        while seconds > 0:
            self._go_on()
            time.sleep(min(seconds, _NOTICE))
            seconds -= _NOTICE

    def _ask(self) -> JobHandle:
        return self._client.submit(
            self._spec,
            self._identity.key,
            generation=self._generation,
            epoch=self._identity.epoch,
            priority=self._place.priority,
            pool=self._place.pool,
        )
