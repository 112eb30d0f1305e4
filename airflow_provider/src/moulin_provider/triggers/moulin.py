"""Following a job from the triggerer."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from moulin_provider.hooks.moulin import MoulinHook
from moulin_provider.outcome import error_event, event_of, timeout_event
from moulin_provider.progress_log import ProgressLog

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class MoulinJobTrigger(BaseTrigger):
    """Fires once, when a job is over or its time is up; until then it logs how far the job is.

    It goes on over restarts of the worker and can itself be rebuilt in another triggerer at any time. Being
    stopped leaves the job alone; only a user who acts on the task (`on_kill`, Airflow 3.3) cancels it, and only
    as long as no newer try has taken it over.

    :param job_id: the worker's name for the job
    :param epoch: the try that waits
    :param moulin_conn_id: the connection of the worker
    :param poll_interval: seconds between two lines of progress, at first
    :param deadline: when to give up, in seconds since 1970; None: never
    :param cancel_on_kill: whether a user's action on the task cancels the job
    :param not_before: when to fire at the earliest, in seconds since 1970; see `MoulinLandOperator`
    """

    def __init__(
        self,
        job_id: str,
        epoch: int,
        moulin_conn_id: str,
        poll_interval: float = 5.0,
        deadline: float | None = None,
        cancel_on_kill: bool = True,
        not_before: float = 0.0,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Airflow's own
        self.job_id = job_id
        self.epoch = epoch
        self.moulin_conn_id = moulin_conn_id
        self.poll_interval = poll_interval
        self.deadline = deadline
        self.cancel_on_kill = cancel_on_kill
        self.not_before = not_before

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """What another triggerer needs to follow the same job."""
        return (
            "moulin_provider.triggers.moulin.MoulinJobTrigger",
            {
                "job_id": self.job_id,
                "epoch": self.epoch,
                "moulin_conn_id": self.moulin_conn_id,
                "poll_interval": self.poll_interval,
                "deadline": self.deadline,
                "cancel_on_kill": self.cancel_on_kill,
                "not_before": self.not_before,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Follows the job."""
        from moulin.errors import MoulinError, WaitTimeout

        try:
            event = await self._follow()
        except WaitTimeout:
            event = timeout_event(self.job_id)
        except MoulinError as error:
            self.log.error("job %s cannot be followed: %s", self.job_id, error)
            event = error_event(self.job_id, error)
        # At the most ten seconds, whatever the clocks of two machines say.
        await asyncio.sleep(min(max(self.not_before - time.time(), 0.0), 10.0))
        yield TriggerEvent(event)  # type: ignore[no-untyped-call]  # Airflow's own

    async def _follow(self) -> dict[str, Any]:
        left = None if self.deadline is None else max(self.deadline - time.time(), 0.1)
        news = ProgressLog(self.poll_interval)
        async with MoulinHook(self.moulin_conn_id).shared_async_conn() as client:
            async for job in client.watch(self.job_id, timeout=left, interval=min(self.poll_interval, 5.0)):
                if line := news.line(job):
                    self.log.info(line)
                if job.state.is_final:
                    return event_of(job)
        raise AssertionError("a watch ends with a final state or an error")

    async def on_kill(self) -> None:
        """A user marked the task or cleared it: ends the job, unless a newer try has it."""
        from moulin.errors import MoulinError, StaleEpoch

        if not self.cancel_on_kill:
            self.log.info("job %s goes on: cancel_on_kill is off", self.job_id)
            return
        try:
            async with MoulinHook(self.moulin_conn_id).shared_async_conn() as client:
                job = await client.cancel(self.job_id, "a user acted on the task", self.epoch)
            self.log.info("cancel of job %s was asked for: it is %s", self.job_id, job.state)
        except StaleEpoch as error:
            self.log.info("job %s goes on: %s", self.job_id, error.message)
        except MoulinError as error:
            self.log.warning("job %s could not be cancelled, its deadline ends it: %s", self.job_id, error)
