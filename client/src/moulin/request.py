"""The requests of both clients, from their arguments."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any

from moulin import _argument as argument
from moulin.errors import JobCancelled, JobFailed, MoulinError, SpecTypeError
from moulin.fault import Fault, FaultKind
from moulin.job import Job, JobState
from moulin.spec import JobKey, JobSpec
from moulin.v1 import job_service_pb2 as pb
from moulin.wire import encode_duration, encode_key, encode_spec, encode_state

_U32 = 2**32 - 1

ENDING_SECONDS = 5.0
"""Readers hear of a failure a moment before the job's state says so: that long it is waited for."""


def submit(
    spec: JobSpec | Mapping[str, Any], key: JobKey | Mapping[str, Any] | None, generation: int, epoch: int
) -> pb.SubmitRequest:
    """The request of a submit; without a key a fresh one is made."""
    made = spec_from(spec)
    if key is None:
        key = JobKey.fresh(made.target.table)
    elif isinstance(key, Mapping):
        key = JobKey(**argument.fields("key", key, ("dag_id", "run_id", "task_id", "map_index")))
    return pb.SubmitRequest(
        key=encode_key(key),
        generation=argument.count("generation", generation, _U32),
        epoch=argument.count("epoch", epoch, _U32),
        spec=encode_spec(made),
    )


def spec_from(spec: object) -> JobSpec:
    """A spec, or a dict in the shape of a job file."""
    if isinstance(spec, JobSpec):
        return spec
    if isinstance(spec, Mapping):
        return JobSpec.from_dict(spec)
    raise SpecTypeError.about("spec", spec, "a JobSpec, or a dict in the shape of a job file")


def watch(job_id: str, interval: float) -> pb.WatchRequest:
    """The request of a watch."""
    return pb.WatchRequest(job_id=job_id, interval=encode_duration(timedelta(seconds=interval)))


def cancel(job_id: str, reason: str, epoch: int) -> pb.CancelRequest:
    """The request of a cancel."""
    return pb.CancelRequest(job_id=job_id, reason=reason, epoch=argument.count("epoch", epoch, _U32))


def page(states: Iterable[JobState | str], dag_id: str, table: str, page_size: int, page_token: str) -> pb.ListRequest:
    """The request of one page of a list."""
    return pb.ListRequest(
        states=[encode_state(JobState(state)) for state in states],
        dag_id=dag_id,
        table=table,
        page_size=argument.count("page_size", page_size, 1000),
        page_token=page_token,
    )


def raise_unless_succeeded(job: Job) -> None:
    """Turns a final state other than success into its exception.

    Raises:
        JobCancelled: it was cancelled.
        JobFailed: it failed.

    """
    if job.state is JobState.SUCCEEDED:
        return
    cancelled = job.state is JobState.CANCELLED
    kind = FaultKind.CANCELLED if cancelled else FaultKind.UNKNOWN
    fault = job.fault or Fault(kind, "the worker gave no reason", "look into the worker's log")
    raise (JobCancelled if cancelled else JobFailed)(fault, job)


def is_about_the_reading(error: MoulinError) -> bool:
    """Whether rows could not be read for a reason that is not the job's own."""
    return error.kind in (FaultKind.UNAVAILABLE, FaultKind.NOT_FOUND, FaultKind.PERMISSION_DENIED)
