"""Following a job from the triggerer."""

from __future__ import annotations

from typing import Any

from moulin_provider.hooks.moulin import MoulinHook
from moulin_provider.outcome import error_event, event_of, timeout_event
from moulin_provider.progress_log import ProgressLog
from moulin_provider.triggers.once import OnceTrigger


class MoulinJobTrigger(OnceTrigger):
    """Fires once, when a job is over or its time is up; until then it logs how far the job is.

    It goes on over restarts of the worker and can itself be rebuilt in another triggerer at any time. Being
    stopped leaves the job alone; only a user who acts on the task (`on_kill`, Airflow 3.3) cancels it, and only
    as long as no newer try has taken it over.

    :param job_id: the worker's name for the job
    :param epoch: the try that waits
    :param poll_interval: seconds between two lines of progress, at first
    :param cancel_on_kill: whether a user's action on the task cancels the job

    The other arguments are those of `OnceTrigger`.
    """

    arguments = ("job_id", "epoch", "moulin_conn_id", "poll_interval", "deadline", "cancel_on_kill", "not_before")

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
        super().__init__(moulin_conn_id, deadline, not_before)
        self.job_id = job_id
        self.epoch = epoch
        self.poll_interval = poll_interval
        self.cancel_on_kill = cancel_on_kill

    async def wait(self) -> dict[str, Any]:
        """How the job ended."""
        from moulin.errors import MoulinError, WaitTimeout

        try:
            return await self._follow()
        except WaitTimeout:
            return timeout_event(self.job_id)
        except MoulinError as error:
            self.log.error("job %s cannot be followed: %s", self.job_id, error)
            return error_event(self.job_id, error)

    async def _follow(self) -> dict[str, Any]:
        left = self.seconds_left()
        news = ProgressLog(self.poll_interval)
        async with MoulinHook(self.moulin_conn_id).shared_async_conn() as client:
            # A job that is over by now is heard of although the time is up.
            watch = client.watch(
                self.job_id, timeout=None if left is None else max(left, 0.1), interval=min(self.poll_interval, 5.0)
            )
            async for job in watch:
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
