"""Between this package's values and the messages of moulin.v1. What names alone do not settle stands here."""

from __future__ import annotations

from moulin import record
from moulin.fault import Fault
from moulin.inference import InferredSource
from moulin.job import Job, JobState
from moulin.landing import Landing
from moulin.plan import JobPlan
from moulin.pool import Worker
from moulin.record import decode_duration, encode_duration
from moulin.replaying import Replay
from moulin.source import Source
from moulin.spec import JobKey, JobSpec
from moulin.tables import TableInput
from moulin.transform import PolarsPlan, Sql, Transform
from moulin.v1 import (
    error_pb2,
    job_pb2,
    job_service_pb2,
    landing_pb2,
    pool_service_pb2,
    source_pb2,
    table_input_pb2,
    transform_pb2,
)

__all__ = ["decode_duration", "encode_duration"]

# The fields of a spec that have the same name and shape in its message.
_SPEC_PARTS = ("source", "transform", "target", "tables", "replay")


def encode_source(source: Source) -> source_pb2.Source:
    """A source as its message."""
    return record.encode(source, source_pb2.Source)


def encode_spec(spec: JobSpec) -> job_pb2.JobSpec:
    """A spec as its message."""
    return job_pb2.JobSpec(
        source=None if spec.source is None else encode_source(spec.source),
        tables={name: _encode_table(one) for name, one in spec.tables.items()},
        transform=None if spec.transform is None else _encode_transform(spec.transform),
        landing=record.encode(spec.target, landing_pb2.Landing),
        on_bad_row=_on_bad_row(spec.on_bad_row),
        max_bad_rows=spec.max_bad_rows,
        max_bad_ratio=spec.max_bad_ratio,
        deadline=None if spec.deadline is None else encode_duration(spec.deadline),
        replay=None if spec.replay is None else record.encode(spec.replay, job_pb2.Replay),
    )


def _on_bad_row(word: str) -> source_pb2.OnBadRow.ValueType:
    return source_pb2.OnBadRow.Value(f"ON_BAD_ROW_{word.upper()}")


def decode_spec(message: job_pb2.JobSpec) -> JobSpec:
    """A spec from its message."""
    return JobSpec(
        source=record.decode(Source, message.source) if message.HasField("source") else None,
        tables={name: record.decode(TableInput, one) for name, one in message.tables.items()},
        transform=_decode_transform(message.transform) if message.HasField("transform") else None,
        target=record.decode(Landing, message.landing),
        replay=record.decode(Replay, message.replay) if message.HasField("replay") else None,
        **record.decode_fields(JobSpec, message, *_SPEC_PARTS),
    )


def _encode_table(table: TableInput) -> table_input_pb2.TableInput:
    message = table_input_pb2.TableInput(table=table.table, snapshot_id=table.snapshot_id, ref=table.ref)
    if table.as_of is not None:
        message.as_of.FromDatetime(table.as_of)
    return message


def _encode_transform(transform: Transform) -> transform_pb2.Transform:
    match transform:
        case Sql():
            return transform_pb2.Transform(sql=record.encode(transform, transform_pb2.SqlTransform))
        case PolarsPlan():
            return transform_pb2.Transform(polars=record.encode(transform, transform_pb2.PolarsTransform))


def _decode_transform(message: transform_pb2.Transform) -> Transform:
    if message.WhichOneof("kind") == "polars":
        return record.decode(PolarsPlan, message.polars)
    return record.decode(Sql, message.sql)


def encode_key(key: JobKey) -> job_pb2.JobKey:
    """A key as its message."""
    # Not by names alone: -1 is the default of a map index and must be sent, because 0 is an index.
    return job_pb2.JobKey(dag_id=key.dag_id, run_id=key.run_id, task_id=key.task_id, map_index=key.map_index)


def _decode_key(message: job_pb2.JobKey) -> JobKey:
    # A job of which no more is known has a key all the same.
    known = record.decode_fields(JobKey, message, "task_id", "map_index")
    return JobKey(task_id=message.task_id or "?", map_index=message.map_index, **known)


def encode_state(state: JobState) -> job_pb2.JobState.ValueType:
    """A state as its number."""
    return job_pb2.JobState.ValueType(record.enum_number(job_pb2.JobState.DESCRIPTOR, state))


def decode_job(message: job_pb2.Job) -> Job:
    """A job from its message."""
    return Job(key=_decode_key(message.key), **record.decode_fields(Job, message, "key"))


def decode_fault(message: error_pb2.Fault) -> Fault:
    """A fault from its message."""
    return record.decode(Fault, message)


def decode_plan(message: job_pb2.JobPlan) -> JobPlan:
    """A plan from its message."""
    return record.decode(JobPlan, message)


def decode_inferred(message: job_service_pb2.InferResponse) -> InferredSource:
    """What a sample holds, from its message."""
    return record.decode(InferredSource, message)


def decode_worker(message: pool_service_pb2.DescribeResponse) -> Worker:
    """A worker's description from its message."""
    return record.decode(Worker, message)
