"""The calls of both clients: what is sent for their arguments, and what is made of the answer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Generic, TypeVar

from moulin import _argument as argument
from moulin.errors import JobCancelled, JobFailed, MoulinError, SpecTypeError
from moulin.fault import Fault, FaultKind
from moulin.inference import InferredSource
from moulin.job import Job, JobState
from moulin.plan import JobPlan
from moulin.pool import Worker
from moulin.source import Source
from moulin.spec import JobKey, JobSpec
from moulin.v1 import job_service_pb2 as pb
from moulin.v1 import pool_service_pb2 as pool_pb
from moulin.wire import (
    decode_inferred,
    decode_job,
    decode_plan,
    decode_worker,
    encode_duration,
    encode_key,
    encode_source,
    encode_spec,
    encode_state,
)

_U32 = 2**32 - 1
_I32 = 2**31
_Value = TypeVar("_Value")

ENDING_SECONDS = 5.0
"""Readers hear of a failure a moment before the job's state says so: that long it is waited for."""


@dataclass(frozen=True, slots=True)
class Call(Generic[_Value]):
    """One call: which method, what is sent, and how its answer becomes a value of this package."""

    method: str
    """Its name in `JobService` or `PoolService`."""
    message: Any
    read: Callable[[Any], _Value]


def submit(
    spec: JobSpec | Mapping[str, Any],
    key: JobKey | Mapping[str, Any] | None,
    generation: int,
    epoch: int,
    priority: int = 1,
    pool: str = "default_pool",
) -> Call[tuple[Job, bool]]:
    """A submit: the job, and whether it is new. Without a key a fresh one is made."""
    made = spec_from(spec)
    if key is None:
        key = JobKey.fresh(made.target.table)
    elif isinstance(key, Mapping):
        fields = argument.fields("key", key, ("dag_id", "run_id", "task_id", "map_index"))
        argument.required("key", fields, "task_id")
        key = JobKey(**fields)
    elif not isinstance(key, JobKey):
        raise SpecTypeError.about(
            "key", key, "a JobKey or its fields, such as JobKey(task_id='load', run_id='2026-01-01')"
        )
    message = pb.SubmitRequest(
        key=encode_key(key),
        generation=argument.count("generation", generation, _U32),
        epoch=argument.count("epoch", epoch, _U32),
        spec=encode_spec(made),
        priority=argument.count("priority", priority, _I32 - 1, least=-_I32),
        pool=argument.text("pool", pool),
    )
    return Call("Submit", message, lambda answer: (decode_job(answer.job), answer.created))


def get(job_id: str) -> Call[Job]:
    """A job as it stands."""
    return Call("Get", pb.GetRequest(job_id=job_id), lambda answer: decode_job(answer.job))


def cancel(job_id: str, reason: str, epoch: int) -> Call[Job]:
    """A cancel."""
    message = pb.CancelRequest(job_id=job_id, reason=reason, epoch=argument.count("epoch", epoch, _U32))
    return Call("Cancel", message, lambda answer: decode_job(answer.job))


def page(
    states: Iterable[JobState | str], dag_id: str, table: str, page_size: int, page_token: str
) -> Call[tuple[tuple[Job, ...], str]]:
    """One page of a list: its jobs, and the token of the next page."""
    message = pb.ListRequest(
        states=[encode_state(JobState(state)) for state in states],
        dag_id=dag_id,
        table=table,
        page_size=argument.count("page_size", page_size, 1000),
        page_token=page_token,
    )
    return Call("List", message, lambda answer: (tuple(map(decode_job, answer.jobs)), answer.next_page_token))


def plan(spec: JobSpec | Mapping[str, Any]) -> Call[JobPlan]:
    """What a job would do."""
    message = pb.PlanRequest(spec=encode_spec(spec_from(spec)))
    return Call("Plan", message, lambda answer: decode_plan(answer.plan))


def infer(source: Source | Mapping[str, Any]) -> Call[InferredSource]:
    """What a sample of the files holds."""
    return Call("Infer", pb.InferRequest(source=encode_source(_source_from(source))), decode_inferred)


def describe(check: bool) -> Call[Worker]:
    """What the worker is."""
    return Call("Describe", pool_pb.DescribeRequest(check=check), decode_worker)


def drain() -> Call[int]:
    """The worker claims no more jobs; how many still run there."""
    return Call("Drain", pool_pb.DrainRequest(), lambda answer: int(answer.running))


def watch(job_id: str, interval: float) -> pb.WatchRequest:
    """The request of a watch."""
    return pb.WatchRequest(job_id=job_id, interval=encode_duration(timedelta(seconds=interval)))


def spec_from(spec: object) -> JobSpec:
    """A spec, or a dict in the shape of a job file."""
    if isinstance(spec, JobSpec):
        return spec
    if isinstance(spec, Mapping):
        return JobSpec.from_dict(spec)
    raise SpecTypeError.about("spec", spec, "a JobSpec, or a dict in the shape of a job file")


def _source_from(source: object) -> Source:
    if isinstance(source, Source):
        return source
    if isinstance(source, Mapping):
        return Source.from_dict(source)
    raise SpecTypeError.about("source", source, "csv(...), ndjson(...), json(...) or parquet(...)")


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
