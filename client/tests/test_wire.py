"""Values and messages: nothing is lost on the way, and every number of the protocol has its word."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from moulin import (
    Column,
    CsvFormat,
    FaultKind,
    JobKey,
    JobSpec,
    JobState,
    Landing,
    NdjsonFormat,
    ParquetFormat,
    PolarsPlan,
    Receipt,
    Room,
    Source,
    Sql,
)
from moulin.v1 import error_pb2, job_pb2
from moulin.wire import decode_duration, decode_fault, decode_job, decode_spec, encode_duration, encode_key, encode_spec

texts = st.text(min_size=1, max_size=20).filter(lambda text: bool(text.strip()))
types = st.sampled_from(["boolean", "int", "decimal(12,2)", "timestamptz", "string"])
columns = st.lists(st.builds(Column, texts, types), max_size=3, unique_by=lambda column: column.name).map(tuple)
csv_formats = st.builds(
    CsvFormat,
    delimiter=st.sampled_from(",;|\t"),
    quote=st.sampled_from("\"'"),
    quoting=st.booleans(),
    header=st.booleans(),
    null_values=st.lists(st.text(max_size=4), max_size=3).map(tuple),
    skip_lines=st.integers(0, 2**63 - 1),
    comment=st.none() | st.just("#"),
)
uris = st.lists(texts, min_size=1, max_size=3).map(tuple)
compressions = st.sampled_from(["auto", "none", "gzip", "zstd"])
sources = st.builds(
    Source, uris=uris, format=csv_formats | st.just(NdjsonFormat()), compression=compressions, columns=columns
) | st.builds(Source, uris=uris, format=st.just(ParquetFormat()), columns=columns)
landings = st.builds(
    Landing,
    table=st.sampled_from(["a.b", "a.b.c"]),
    partition_by=st.lists(st.sampled_from(["x", "month(t)", "bucket(16, id)"]), max_size=2).map(tuple),
    properties=st.dictionaries(texts, st.text(max_size=5), max_size=2),
)
specs = st.builds(
    JobSpec,
    source=sources,
    target=landings,
    transform=st.none() | st.builds(Sql, texts) | st.builds(PolarsPlan, st.binary(min_size=1), st.text(max_size=8)),
    on_bad_row=st.sampled_from(["fail", "skip"]),
    deadline=st.none() | st.timedeltas(timedelta(microseconds=1), timedelta(days=400)),
)


@given(specs)
def test_every_spec_comes_back_from_its_message(spec: JobSpec) -> None:
    message = encode_spec(spec)
    assert decode_spec(job_pb2.JobSpec.FromString(message.SerializeToString())) == spec


@given(specs)
def test_every_spec_comes_back_from_its_dict(spec: JobSpec) -> None:
    assert JobSpec.from_dict(spec.to_dict()) == spec


@given(st.timedeltas(timedelta(days=-1000), timedelta(days=1000)))
def test_every_duration_comes_back(value: timedelta) -> None:
    assert decode_duration(encode_duration(value)) == value


def test_every_number_of_the_protocol_has_its_word() -> None:
    pairs: list[tuple[Any, str, Any]] = [
        (error_pb2.FaultKind, "FAULT_KIND_", FaultKind),
        (job_pb2.JobState, "JOB_STATE_", JobState),
        (job_pb2.Room, "ROOM_", Room),
    ]
    for numbers, prefix, words in pairs:
        sent = {name.removeprefix(prefix) for name in dict(numbers.items())} - {"UNSPECIFIED"}
        assert sent == set(words.__members__) - {"UNKNOWN"}


def test_words_of_a_newer_worker_are_unknown_and_not_an_error() -> None:
    job = job_pb2.Job(job_id="j", state=99, progress=job_pb2.Progress(room=99))  # type: ignore[arg-type]
    assert decode_job(job).state is JobState.UNKNOWN
    assert not decode_job(job).state.is_final
    assert decode_job(job).progress.room is Room.UNKNOWN
    assert decode_fault(error_pb2.Fault(kind=99)).kind is FaultKind.UNKNOWN  # type: ignore[arg-type]


def test_absent_is_not_zero() -> None:
    job = job_pb2.Job(job_id="j", state=job_pb2.JOB_STATE_SUCCEEDED, key=encode_key(JobKey("t")))
    assert decode_job(job).receipt is None
    assert decode_job(job).started_at is None
    job.receipt.SetInParent()
    receipt = decode_job(job).receipt
    assert receipt is not None
    assert receipt.snapshot_id is None
    assert receipt.rows_filtered is None


def test_a_receipt_survives_json_with_its_64_bits() -> None:
    message = job_pb2.Receipt(
        job_id="j",
        table="a.b",
        rows_read=3,
        rows_filtered=0,
        snapshot_id=2**63 - 1,
        elapsed=encode_duration(timedelta(seconds=1.25)),
    )
    message.rooms.add(room=job_pb2.ROOM_READ, busy=encode_duration(timedelta(milliseconds=7)))
    message.rejects.add(code="type.int", reason="`x` is not an int", place=error_pb2.Place(uri="a", line=3))
    receipt = decode_job(job_pb2.Job(job_id="j", receipt=message)).receipt
    assert receipt is not None
    shown = receipt.to_dict()
    assert shown["snapshot_id"] == "9223372036854775807"
    assert shown["rows_filtered"] == 0
    assert Receipt.from_dict(shown) == receipt
