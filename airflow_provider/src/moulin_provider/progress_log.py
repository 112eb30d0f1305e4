"""How far a job is, as lines for a task's log."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from moulin.job import Job

_LONGEST_SILENCE = 60.0


class ProgressLog:
    """Decides which news of a job are worth a line: every change of its state, and in between a line after
    `interval` seconds, then twice that, and so on up to a minute, so that a long job does not fill the log.
    """

    def __init__(self, interval: float, now: float | None = None) -> None:
        self._interval = max(interval, 1.0)
        self._due = (time.monotonic() if now is None else now) + self._interval
        self._said = ""

    def line(self, job: Job, now: float | None = None) -> str | None:
        """The line for this news, or None when it is not time for one."""
        now = time.monotonic() if now is None else now
        standing = f"{job.state} attempt {job.attempt} {job.waiting}"
        if standing != self._said:
            self._said = standing
            return f"job {job.job_id} into {job.table}: {_standing(job)}"
        if now < self._due or job.state != "running":
            return None
        self._interval = min(self._interval * 2, _LONGEST_SILENCE)
        self._due = now + self._interval
        return f"job {job.job_id}: {figures(job)}"


def _standing(job: Job) -> str:
    if job.state == "running":
        which = f" (attempt {job.attempt})" if job.attempt > 1 else ""
        return f"running on worker {job.worker_id}{which}; {figures(job)}"
    if job.state == "queued":
        queued = "queued" if job.attempt == 0 else f"queued again after attempt {job.attempt}"
        reason = job.waiting or _why_again(job)
        return f"{queued}: {reason}" if reason else queued
    return job.state.value


def _why_again(job: Job) -> str:
    """Why the last attempt did not do, and what to do about it: a job may wait for somebody to put something right."""
    if job.fault is None:
        return ""
    because = "".join(f", because: {cause}" for cause in job.fault.causes)
    return f"{job.fault.message}{because}; what to do: {job.fault.hint}"


def figures(job: Job) -> str:
    """Percent of the input, rows, rejects and speed of the running attempt, and the time it needs at that speed."""
    progress = job.progress
    seconds = progress.elapsed.total_seconds()
    parts = [f"{progress.room}"]
    if progress.fraction is not None:
        parts.append(f"{progress.fraction:.0%} of {_megabytes(progress.bytes_total)}")
    parts.append(f"{progress.rows_read:,} rows read")
    parts.append(f"{progress.rows_out:,} to land")
    if progress.rows_rejected:
        parts.append(f"{progress.rows_rejected:,} rejected")
    if progress.files_total > 1:
        parts.append(f"{progress.files_done}/{progress.files_total} files")
    if seconds > 0:
        parts.append(f"{_megabytes(round(progress.bytes_done / seconds))}/s")
        if progress.fraction and progress.fraction < 1:
            parts.append(f"about {_span(seconds / progress.fraction - seconds)} left")
    return ", ".join(parts)


def _span(seconds: float) -> str:
    """A time as people say it, the coarser the longer."""
    whole = max(round(seconds), 1)
    if whole < 90:
        return f"{whole} s"
    minutes = round(whole / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02} min"


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"
