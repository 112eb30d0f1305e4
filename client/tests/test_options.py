"""What the protocol can say, the builders can say, in the same words: nothing is forgotten on the Python side."""

from __future__ import annotations

import inspect
from dataclasses import fields, is_dataclass
from typing import Any, get_type_hints

import pytest

import moulin
from moulin import record
from moulin.inference import InferredColumn, InferredSource
from moulin.landing import OnLoadedFile
from moulin.source import FORMATS, words
from moulin.spec import OnBadRow
from moulin.v1 import error_pb2, job_pb2, job_service_pb2, landing_pb2, pool_service_pb2, source_pb2, table_input_pb2

# Every message, the class that says it, and the fields that have another name or form there.
PAIRS: list[tuple[Any, type, dict[str, str]]] = [
    (source_pb2.Source, moulin.Source, {"csv": "format", "ndjson": "format", "json": "format", "parquet": "format"}),
    (source_pb2.CsvFormat, moulin.CsvFormat, {}),
    (source_pb2.NdjsonFormat, moulin.NdjsonFormat, {}),
    (source_pb2.JsonFormat, moulin.JsonFormat, {}),
    (source_pb2.ParquetFormat, moulin.ParquetFormat, {}),
    (source_pb2.Column, moulin.Column, {}),
    (source_pb2.Contract, moulin.Contract, {}),
    (source_pb2.Inference, moulin.Inference, {}),
    (source_pb2.ReadLimits, moulin.ReadLimits, {}),
    (landing_pb2.Landing, moulin.Landing, {}),
    (job_pb2.JobSpec, moulin.JobSpec, {"landing": "target"}),
    (job_pb2.JobKey, moulin.JobKey, {}),
    (job_pb2.Job, moulin.Job, {}),
    (job_pb2.Progress, moulin.Progress, {}),
    (job_pb2.Receipt, moulin.Receipt, {}),
    (job_pb2.FileCounts, moulin.FileCounts, {}),
    (job_pb2.Reject, moulin.Reject, {}),
    (job_pb2.SkippedFile, moulin.SkippedFile, {}),
    (job_pb2.JobPlan, moulin.JobPlan, {}),
    (job_pb2.PlannedFile, moulin.PlannedFile, {}),
    (job_pb2.PlannedColumn, moulin.PlannedColumn, {}),
    (job_pb2.PlannedOption, moulin.PlannedOption, {}),
    (job_pb2.SchemaChange, moulin.SchemaChange, {"from": "from_"}),
    (job_pb2.PlannedTable, moulin.PlannedTable, {}),
    (job_pb2.Replay, moulin.Replay, {}),
    (job_pb2.ReplayCounts, moulin.ReplayCounts, {}),
    (table_input_pb2.TableInput, moulin.TableInput, {}),
    (table_input_pb2.TablePin, moulin.TablePin, {}),
    (table_input_pb2.TableRead, moulin.TableRead, {}),
    (job_service_pb2.InferResponse, InferredSource, {}),
    (job_service_pb2.InferredColumn, InferredColumn, {}),
    (pool_service_pb2.DescribeResponse, moulin.Worker, {}),
    (pool_service_pb2.Check, moulin.Check, {}),
    (error_pb2.Fault, moulin.Fault, {}),
    (error_pb2.Place, moulin.Place, {}),
]


@pytest.mark.parametrize(("message", "kind", "other"), PAIRS, ids=lambda value: getattr(value, "__name__", ""))
def test_every_field_of_a_message_is_a_field_of_its_class(message: Any, kind: Any, other: dict[str, str]) -> None:
    unsaid = {sent: name for name, sent in record.NEGATED.items()}
    sent = {other.get(name, unsaid.get(name, name)) for name in message.DESCRIPTOR.fields_by_name}
    assert {field.name for field in fields(kind)} == sent


def test_every_message_that_a_job_can_hold_has_a_class() -> None:
    known = {message.DESCRIPTOR.full_name for message, _, _ in PAIRS}
    seen: set[str] = set()
    left = [job_pb2.JobSpec.DESCRIPTOR, job_pb2.JobPlan.DESCRIPTOR, job_service_pb2.InferResponse.DESCRIPTOR]
    while left:
        message = left.pop()
        seen.add(message.full_name)
        parts = (field.message_type for field in message.fields if field.message_type is not None)
        left += [part for part in parts if part.full_name not in seen and part.file.package == "moulin.v1"]
    elsewhere = {"moulin.v1.Transform", "moulin.v1.SqlTransform", "moulin.v1.PolarsTransform"}
    assert seen - known - elsewhere - {"moulin.v1.Landing.PropertiesEntry", "moulin.v1.JobSpec.TablesEntry"} == set()


@pytest.mark.parametrize("name", [*FORMATS, "tsv"])
def test_every_option_is_an_argument_of_its_builder_with_its_default_and_meaning(name: str) -> None:
    builder = getattr(moulin, name)
    form = FORMATS.get(name, moulin.CsvFormat)
    wanted = {field.name: field for kind in (form, moulin.Source) for field in fields(kind)}
    del wanted["format"]
    if name == "tsv":
        del wanted["delimiter"]
    if name == "parquet":
        del wanted["compression"]
    arguments = inspect.signature(builder).parameters
    assert set(arguments) == set(wanted)
    for argument in arguments.values():
        default = wanted[argument.name].default
        assert argument.default == default or argument.default in (None, inspect.Parameter.empty)
        assert f"        {argument.name}: " in builder.__doc__
    built, given = builder("a"), form()
    assert built.format == (moulin.CsvFormat(delimiter="\t") if name == "tsv" else given)
    assert built == moulin.Source(uris=("a",), format=built.format)


@pytest.mark.parametrize(
    ("enum", "literal"),
    [
        (source_pb2.Compression, words.Compression),
        (source_pb2.Encoding, words.Encoding),
        (source_pb2.Dialect, words.Dialect),
        (source_pb2.LineEnding, words.LineEnding),
        (source_pb2.RaggedRows, words.RaggedRows),
        (source_pb2.DuplicateKeys, words.DuplicateKeys),
        (source_pb2.OnBadFile, words.OnBadFile),
        (source_pb2.OnBadRow, OnBadRow),
        (landing_pb2.OnLoadedFile, OnLoadedFile),
        (source_pb2.ProvenanceColumn, words.ProvenanceColumn),
        (source_pb2.ContractMode, words.ContractMode),
    ],
)
def test_every_value_of_an_enum_has_its_word(enum: Any, literal: Any) -> None:
    sent = {record.enum_word(enum.DESCRIPTOR, number) for number in enum.values()} - {"unknown"}
    # The zero of the others is a word of its own.
    assert sent == set(words.words(literal)) - ({"auto"} if literal is not words.Dialect else set())


def test_every_word_in_a_class_is_one_of_a_list() -> None:
    """A field that is an enum in the message is no free text in a class that people fill in."""
    for message, kind, _ in PAIRS[:11]:
        hints = get_type_hints(kind)
        for name, field in message.DESCRIPTOR.fields_by_name.items():
            if field.enum_type is not None and is_dataclass(kind):
                assert hints[name] is not str, f"{kind.__name__}.{name}"
