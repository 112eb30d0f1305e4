"""Values and messages: nothing is lost on the way, and every number of the protocol has its word."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moulin import (
    Column,
    Contract,
    CsvFormat,
    FaultKind,
    Inference,
    JobKey,
    JobSpec,
    JobState,
    JsonFormat,
    Landing,
    NdjsonFormat,
    ParquetFormat,
    PlannedOption,
    PolarsPlan,
    ReadLimits,
    Receipt,
    Room,
    SchemaChange,
    Source,
    Sql,
    csv,
)
from moulin.source.words import (
    Compression,
    ContractMode,
    Dialect,
    DuplicateKeys,
    Encoding,
    LineEnding,
    OnBadFile,
    ProvenanceColumn,
    RaggedRows,
    words,
)
from moulin.v1 import error_pb2, job_pb2, source_pb2
from moulin.wire import (
    decode_duration,
    decode_fault,
    decode_job,
    decode_plan,
    decode_spec,
    encode_duration,
    encode_key,
    encode_source,
    encode_spec,
)

texts = st.text(min_size=1, max_size=20).filter(lambda text: bool(text.strip()))
lists = st.lists(st.text(max_size=4), max_size=3).map(tuple)
some = st.none() | texts
names = st.lists(texts, max_size=3, unique=True).map(tuple)
u32s = st.integers(1, 2**32 - 1)
u63s = st.integers(1, 2**63 - 1)
columns = st.lists(
    st.builds(Column, texts, st.just("boolean"), true_values=lists, false_values=lists)
    | st.builds(Column, texts, st.just("timestamptz"), format=some, timezone=some)
    | st.builds(
        Column, texts, st.just("decimal(12,2)"), decimal_separator=st.just(","), thousands_separator=st.just("_")
    ),
    max_size=3,
    unique_by=lambda column: column.name,
).map(tuple)
csv_formats = st.builds(
    CsvFormat,
    delimiter=st.sampled_from([None, ",", ";", "\t", "||", "→"]),
    quote=st.sampled_from([None, '"', "'"]),
    quoting=st.booleans(),
    escape=st.just("\\"),
    doubled_quotes=st.booleans(),
    header=st.booleans(),
    header_lines=u32s,
    column_names=names,
    null_values=lists,
    true_values=lists,
    false_values=lists,
    skip_lines=st.integers(0, 2**63 - 1),
    skip_rows=st.integers(0, 2**63 - 1),
    skip_footer_rows=st.integers(0, 2**63 - 1),
    comment=st.sampled_from([None, "#", "--"]),
    decimal_separator=st.sampled_from(".,"),
    thousands_separator=st.sampled_from([None, "_"]),
    date_format=some,
    time_format=some,
    timestamp_format=some,
    timezone=some,
    encoding=st.sampled_from(words(Encoding)),
    line_ending=st.sampled_from(words(LineEnding)),
    trailing_delimiter=st.booleans(),
    ragged_rows=st.sampled_from(words(RaggedRows)),
    trim=st.booleans(),
    dialect=st.sampled_from(words(Dialect)),
)
duplicate_keys = st.sampled_from(words(DuplicateKeys))
pointers = st.just("") | texts.map("/".__add__)
modes = st.sampled_from(words(ContractMode))
common = {
    "uris": st.lists(texts, min_size=1, max_size=3).map(tuple),
    "columns": columns,
    "provenance_columns": st.lists(st.sampled_from(words(ProvenanceColumn)), unique=True).map(tuple),
    "partition_columns": st.booleans(),
    "on_bad_file": st.sampled_from(words(OnBadFile)),
    "contract": st.builds(Contract, tables=modes, columns=modes, types=modes),
    "rescued_column": st.sampled_from([None, " rest "]),
    "inference": st.builds(Inference, sample_rows=u63s, sample_bytes=u63s),
    "limits": st.builds(
        ReadLimits,
        field_bytes=u63s,
        record_bytes=u63s,
        columns=u32s,
        depth=u32s,
        inflation_ratio=u32s,
        inflated_bytes=st.none() | u63s,
    ),
    "preserve_order": st.booleans(),
}
json_formats = st.builds(NdjsonFormat, duplicate_keys=duplicate_keys) | st.builds(
    JsonFormat, pointer=pointers, duplicate_keys=duplicate_keys
)
sources = st.builds(
    Source, format=csv_formats | json_formats, compression=st.sampled_from(words(Compression)), **common
) | st.builds(Source, format=st.just(ParquetFormat()), **common)
landings = st.builds(
    Landing,
    table=st.sampled_from(["a.b", "a.b.c"]),
    partition_by=st.lists(st.sampled_from(["x", "month(t)", "bucket(16, id)"]), max_size=2).map(tuple),
    properties=st.dictionaries(texts, st.text(max_size=5), max_size=2),
    on_loaded_file=st.sampled_from(["skip", "reload", "fail"]),
)
specs = st.builds(
    JobSpec,
    source=sources,
    target=landings,
    transform=st.none() | st.builds(Sql, texts) | st.builds(PolarsPlan, st.binary(min_size=1), st.text(max_size=8)),
    on_bad_row=st.sampled_from(["skip", "quarantine"]),
    max_bad_rows=st.none() | st.integers(0, 2**63 - 1),
    max_bad_ratio=st.none() | st.floats(0, 1),
    deadline=st.none() | st.timedeltas(timedelta(microseconds=1), timedelta(days=400)),
)


@given(specs)
def test_every_spec_comes_back_from_its_message(spec: JobSpec) -> None:
    message = encode_spec(spec)
    assert decode_spec(job_pb2.JobSpec.FromString(message.SerializeToString())) == spec


@given(specs)
def test_every_spec_comes_back_from_its_dict(spec: JobSpec) -> None:
    assert JobSpec.from_dict(spec.to_dict()) == spec


def test_what_nobody_said_is_not_sent() -> None:
    said = source_pb2.Source(uris=["a"], csv=source_pb2.CsvFormat(no_header=True))
    assert encode_source(csv("a", header=False, limits={})) == said


@pytest.mark.parametrize("map_index", [-1, 0, 7])
def test_a_map_index_is_always_sent(map_index: int) -> None:
    job = job_pb2.Job(key=encode_key(JobKey("t", map_index=map_index)))
    assert decode_job(job).key == JobKey("t", map_index=map_index)


@given(st.timedeltas(timedelta(days=-1000), timedelta(days=1000)))
def test_every_duration_comes_back(value: timedelta) -> None:
    assert decode_duration(encode_duration(value)) == value


def test_every_number_of_the_protocol_has_its_word() -> None:
    pairs: list[tuple[Any, str, Any]] = [
        (error_pb2.FaultKind, "FAULT_KIND_", FaultKind),
        (job_pb2.JobState, "JOB_STATE_", JobState),
        (job_pb2.Room, "ROOM_", Room),
    ]
    for numbers, prefix, kind in pairs:
        sent = {name.removeprefix(prefix) for name in dict(numbers.items())} - {"UNSPECIFIED"}
        assert sent == set(kind.__members__) - {"UNKNOWN"}


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


def test_a_plan_says_options_and_changes_in_the_words_of_job_files() -> None:
    message = job_pb2.JobPlan(table="a.b", shards=3)
    message.options.add(name="csv.delimiter", value=";", origin="sniffed", reason="in every line")
    message.changes.add(
        column="n",
        kind=job_pb2.SCHEMA_CHANGE_KIND_WIDEN_TYPE,
        to="long",
        mode=source_pb2.CONTRACT_MODE_DISCARD_ROW,
        **{"from": "int"},
    )
    message.changes.add(column="m", kind=99)
    plan = decode_plan(message)
    assert plan.options == (PlannedOption("csv.delimiter", ";", "sniffed", "in every line"),)
    assert plan.shards == 3
    assert plan.changes[0] == SchemaChange("n", "widen_type", "int", "long", "discard_row")
    assert (plan.changes[1].kind, plan.changes[1].mode) == ("unknown", "unknown")


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
    message.skipped_files.add(uri="b.csv.gz", reason="it ends in the middle")
    message.files_skipped = 1
    message.data_files = 1_900
    counts = message.file_counts
    counts.partitions, counts.threads, counts.target_bytes, counts.clustered = 1000, 2, 512 << 20, True
    counts.full, counts.made_way, counts.spilled_bytes = 3, 40, 1_610_612_736
    message.rejects.add(code="type.int", reason="`x` is not an int", place=error_pb2.Place(uri="a", line=3))
    receipt = decode_job(job_pb2.Job(job_id="j", receipt=message)).receipt
    assert receipt is not None
    shown = receipt.to_dict()
    assert shown["snapshot_id"] == "9223372036854775807"
    assert shown["rows_filtered"] == 0
    assert Receipt.from_dict(shown) == receipt
    # The same words as the worker's (`FileCounts::words`).
    assert (
        " in 1,900 data files (1,000 partitions, 2 threads, 3 at the target size of 512 MiB, 40 ended early to make "
        "way for other partitions, rows sorted by partition, since there are many, 1.5 GiB sorted on disk), "
        in str(receipt)
    )
