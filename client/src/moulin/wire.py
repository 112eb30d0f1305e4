"""Between this package's values and the messages of moulin.v1; the only module that knows both."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from moulin.fault import Fault, FaultKind, Place
from moulin.job import (
    Job,
    JobPlan,
    JobState,
    PlannedColumn,
    PlannedFile,
    Progress,
    Receipt,
    Reject,
    Room,
    RoomTime,
)
from moulin.landing import Landing
from moulin.pool import Check, Worker
from moulin.source import Column, CsvFormat, Format, NdjsonFormat, ParquetFormat, Source
from moulin.spec import JobKey, JobSpec, OnBadRow
from moulin.transform import PolarsPlan, Sql, Transform
from moulin.v1 import error_pb2, job_pb2, landing_pb2, pool_service_pb2, source_pb2, transform_pb2

_COMPRESSIONS = {
    "auto": source_pb2.COMPRESSION_UNSPECIFIED,
    "none": source_pb2.COMPRESSION_NONE,
    "gzip": source_pb2.COMPRESSION_GZIP,
    "zstd": source_pb2.COMPRESSION_ZSTD,
}
_COMPRESSION_WORDS = {number: word for word, number in _COMPRESSIONS.items()}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


# What is sent.


def encode_spec(spec: JobSpec) -> job_pb2.JobSpec:
    """A spec as its message."""
    skip = spec.on_bad_row == "skip"
    return job_pb2.JobSpec(
        source=_encode_source(spec.source),
        transform=None if spec.transform is None else _encode_transform(spec.transform),
        landing=landing_pb2.Landing(
            table=spec.target.table, partition_by=spec.target.partition_by, properties=spec.target.properties
        ),
        on_bad_row=source_pb2.ON_BAD_ROW_SKIP if skip else source_pb2.ON_BAD_ROW_FAIL,
        deadline=None if spec.deadline is None else encode_duration(spec.deadline),
    )


def _encode_source(source: Source) -> source_pb2.Source:
    message = source_pb2.Source(
        uris=source.uris,
        compression=_COMPRESSIONS[source.compression],
        columns=[source_pb2.Column(name=column.name, type=column.type) for column in source.columns],
    )
    match source.format:
        case CsvFormat() as form:
            message.csv.CopyFrom(_encode_csv(form))
        case NdjsonFormat():
            message.ndjson.SetInParent()
        case ParquetFormat():
            message.parquet.SetInParent()
    return message


def _encode_csv(form: CsvFormat) -> source_pb2.CsvFormat:
    return source_pb2.CsvFormat(
        delimiter=form.delimiter,
        quote=form.quote,
        no_quoting=not form.quoting,
        no_header=not form.header,
        null_values=form.null_values,
        skip_lines=form.skip_lines,
        comment=form.comment or "",
    )


def _encode_transform(transform: Transform) -> transform_pb2.Transform:
    match transform:
        case Sql(query=query):
            return transform_pb2.Transform(sql=transform_pb2.SqlTransform(query=query))
        case PolarsPlan(plan=plan, polars_version=version):
            polars = transform_pb2.PolarsTransform(plan=plan, polars_version=version)
            return transform_pb2.Transform(polars=polars)


def encode_key(key: JobKey) -> job_pb2.JobKey:
    """A key as its message."""
    return job_pb2.JobKey(dag_id=key.dag_id, run_id=key.run_id, task_id=key.task_id, map_index=key.map_index)


def encode_state(state: JobState) -> job_pb2.JobState.ValueType:
    """A state as its number."""
    return job_pb2.JobState.Value(f"JOB_STATE_{'UNSPECIFIED' if state is JobState.UNKNOWN else state.name}")


def encode_duration(value: timedelta) -> Duration:
    """A duration, exact to the microsecond."""
    total_us = value // timedelta(microseconds=1)
    sign = -1 if total_us < 0 else 1
    seconds, rest_us = divmod(abs(total_us), 10**6)
    return Duration(seconds=sign * seconds, nanos=sign * rest_us * 1000)


# What is received.


def decode_spec(message: job_pb2.JobSpec) -> JobSpec:
    """A spec from its message."""
    on_bad_row: OnBadRow = "skip" if message.on_bad_row == source_pb2.ON_BAD_ROW_SKIP else "fail"
    landing = message.landing
    return JobSpec(
        source=_decode_source(message.source),
        transform=_decode_transform(message.transform) if message.HasField("transform") else None,
        target=Landing(
            table=landing.table, partition_by=tuple(landing.partition_by), properties=dict(landing.properties)
        ),
        on_bad_row=on_bad_row,
        deadline=decode_duration(message.deadline) if message.HasField("deadline") else None,
    )


def _decode_source(message: source_pb2.Source) -> Source:
    form: Format
    match message.WhichOneof("format"):
        case "ndjson":
            form = NdjsonFormat()
        case "parquet":
            form = ParquetFormat()
        case _:
            form = _decode_csv(message.csv)
    return Source(
        uris=tuple(message.uris),
        format=form,
        compression=_COMPRESSION_WORDS[message.compression],  # type: ignore[arg-type]
        columns=tuple(Column(column.name, column.type) for column in message.columns),
    )


def _decode_csv(message: source_pb2.CsvFormat) -> CsvFormat:
    return CsvFormat(
        delimiter=message.delimiter or ",",
        quote=message.quote or '"',
        quoting=not message.no_quoting,
        header=not message.no_header,
        null_values=tuple(message.null_values),
        skip_lines=message.skip_lines,
        comment=message.comment or None,
    )


def _decode_transform(message: transform_pb2.Transform) -> Transform:
    if message.WhichOneof("kind") == "polars":
        return PolarsPlan(message.polars.plan, message.polars.polars_version)
    return Sql(message.sql.query)


def decode_job(message: job_pb2.Job) -> Job:
    """A job from its message."""
    key = message.key
    return Job(
        job_id=message.job_id,
        key=JobKey(task_id=key.task_id or "?", dag_id=key.dag_id, run_id=key.run_id, map_index=key.map_index),
        generation=message.generation,
        epoch=message.epoch,
        state=_decode_state(message.state),
        attempt=message.attempt,
        worker_id=message.worker_id,
        table=message.table,
        submitted_at=_decode_time(message.submitted_at) if message.HasField("submitted_at") else None,
        started_at=_decode_time(message.started_at) if message.HasField("started_at") else None,
        finished_at=_decode_time(message.finished_at) if message.HasField("finished_at") else None,
        progress=_decode_progress(message.progress),
        receipt=_decode_receipt(message.receipt) if message.HasField("receipt") else None,
        fault=decode_fault(message.fault) if message.HasField("fault") else None,
    )


def _decode_state(number: job_pb2.JobState.ValueType) -> JobState:
    name = job_pb2.JobState.Name(number).removeprefix("JOB_STATE_") if number in job_pb2.JobState.values() else ""
    return JobState.__members__.get(name, JobState.UNKNOWN)


def _decode_room(number: job_pb2.Room.ValueType) -> Room:
    name = job_pb2.Room.Name(number).removeprefix("ROOM_") if number in job_pb2.Room.values() else ""
    return Room.__members__.get(name, Room.UNKNOWN)


def _decode_progress(message: job_pb2.Progress) -> Progress:
    return Progress(
        room=_decode_room(message.room),
        files_total=message.files_total,
        files_done=message.files_done,
        bytes_total=message.bytes_total,
        bytes_done=message.bytes_done,
        rows_read=message.rows_read,
        rows_rejected=message.rows_rejected,
        rows_out=message.rows_out,
        elapsed=decode_duration(message.elapsed),
    )


def _decode_receipt(message: job_pb2.Receipt) -> Receipt:
    return Receipt(
        job_id=message.job_id,
        table=message.table,
        files=message.files,
        rows_read=message.rows_read,
        rows_landed=message.rows_landed,
        rows_rejected=message.rows_rejected,
        rows_filtered=message.rows_filtered if message.HasField("rows_filtered") else None,
        bytes_read=message.bytes_read,
        bytes_written=message.bytes_written,
        data_files=message.data_files,
        snapshot_id=message.snapshot_id if message.HasField("snapshot_id") else None,
        metadata_location=message.metadata_location,
        elapsed=decode_duration(message.elapsed),
        rooms=tuple(RoomTime(_decode_room(one.room), decode_duration(one.busy)) for one in message.rooms),
        rejects=tuple(Reject(_decode_place(one.place), one.code, one.reason) for one in message.rejects),
        attempt=message.attempt,
        token=message.token,
    )


def decode_fault(message: error_pb2.Fault) -> Fault:
    """A fault from its message."""
    known = message.kind in error_pb2.FaultKind.values()
    name = error_pb2.FaultKind.Name(message.kind).removeprefix("FAULT_KIND_") if known else ""
    return Fault(
        kind=FaultKind.__members__.get(name, FaultKind.UNKNOWN),
        message=message.message,
        hint=message.hint,
        retryable=message.retryable,
        causes=tuple(message.causes),
        place=_decode_place(message.place) if message.HasField("place") else None,
    )


def _decode_place(message: error_pb2.Place) -> Place:
    return Place(message.uri, message.record, message.line, message.byte_offset, message.column)


def decode_plan(message: job_pb2.JobPlan) -> JobPlan:
    """A plan from its message."""
    return JobPlan(
        files=tuple(PlannedFile(one.uri, one.size_bytes, one.etag) for one in message.files),
        input=tuple(PlannedColumn(one.name, one.type, one.nullable, one.origin) for one in message.input),
        output=tuple(PlannedColumn(one.name, one.type, one.nullable, one.origin) for one in message.output),
        table=message.table,
        table_exists=message.table_exists,
        table_location=message.table_location,
        partition_by=tuple(message.partition_by),
        row_wise=message.row_wise,
    )


def decode_worker(message: pool_service_pb2.DescribeResponse) -> Worker:
    """A worker's description from its message."""
    return Worker(
        worker_id=message.worker_id,
        version=message.version,
        started_at=_decode_time(message.started_at) if message.HasField("started_at") else None,
        draining=message.draining,
        slots=message.slots,
        running=message.running,
        memory_bytes=message.memory_bytes,
        polars_version=message.polars_version,
        python_polars_version=message.python_polars_version,
        datafusion_version=message.datafusion_version,
        catalog=message.catalog,
        warehouse=message.warehouse,
        store=message.store,
        checks=tuple(Check(one.name, one.ok, one.detail, decode_duration(one.took)) for one in message.checks),
    )


def decode_duration(message: Duration) -> timedelta:
    """A duration, cut to microseconds."""
    return timedelta(seconds=message.seconds, microseconds=int(message.nanos / 1000))


def _decode_time(message: Timestamp) -> datetime:
    return _EPOCH + timedelta(seconds=message.seconds, microseconds=message.nanos // 1000)
