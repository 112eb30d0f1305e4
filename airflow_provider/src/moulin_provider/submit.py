"""Asking a worker for a job, so that one task instance never has two."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow.sdk.types import Logger
    from moulin.client import Client, JobHandle
    from moulin.job import Job
    from moulin.spec import JobSpec

    from moulin_provider.task_identity import TaskIdentity

_PATIENCE = 20.0


def submit(client: Client, spec: JobSpec, identity: TaskIdentity, log: Logger, *, durable: bool = True) -> Job:
    """The job of this task instance: a new one, or the one that an earlier try asked for.

    The worker knows a job by key and generation and answers a second submit with the job as it stands. One that failed
    or was cancelled it begins again, because this try is newer: nothing of that job is visible.
    """
    generation = identity.asked_generation(durable=durable)
    handle = _ask(client, spec, identity, generation, log)
    job = handle.job
    if handle.created:
        log.info("submitted job %s into %s (generation %s, try %s)", job.job_id, job.table, generation, identity.epoch)
    else:
        log.info(
            "attached to job %s of an earlier try: it is %s (generation %s, try %s)",
            job.job_id,
            job.state,
            job.generation,
            identity.epoch,
        )
    return job


def _ask(client: Client, spec: JobSpec, identity: TaskIdentity, generation: int, log: Logger) -> JobHandle:
    """Asks again for a while when no answer came.

    Without the answer nobody knows whether the worker has the job. Asking again is safe and finds out; a task that
    failed here would leave a job behind that lands its rows all the same.
    """
    from moulin.errors import CallTimeout, Unavailable

    give_up = time.monotonic() + _PATIENCE
    pause = 0.5
    while True:
        try:
            return client.submit(spec, identity.key, generation=generation, epoch=identity.epoch)
        except (Unavailable, CallTimeout) as error:
            if not error.retryable or time.monotonic() + pause > give_up:
                raise
            log.info("asking again in %s s: %s", pause, error.message)
        time.sleep(pause)
        pause *= 2
