"""A job file means the same here and in the worker: the worker itself is asked for the names it knows."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from conftest import worker_binary

import moulin
from moulin import JobSpec, Source, iceberg
from moulin.landing import OnLoadedFile
from moulin.source import words
from moulin.spec import OnBadRow

Plan = Callable[[dict[str, Any]], str]

# Said in the words of serde, for a job file that is none.
NO_JOB = ("unknown field", "unknown variant", "invalid type", "missing field", "invalid value", "did not match")


@pytest.fixture
def refused(tmp_path: Path) -> Plan:
    """What `moulin plan` says against a job; empty: nothing."""

    def plan(job: dict[str, Any]) -> str:
        (tmp_path / "job.yaml").write_text(json.dumps(job))
        command = [str(worker_binary()), "plan", "job.yaml"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        return done.stderr if done.returncode else ""

    return plan


def job(source: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    return {"source": {"uris": ["a"], "format": "csv", **(source or {})}, "target": {"table": "a.b"}, **more}


NAMES: list[tuple[type, dict[str, Any]]] = [
    (moulin.JobSpec, job(zz=1)),
    (moulin.Landing, job(target={"table": "a.b", "zz": 1})),
    (moulin.Source, job({"zz": 1})),
    (moulin.CsvFormat, job({"format": {"csv": {"zz": 1}}})),
    (moulin.NdjsonFormat, job({"format": {"ndjson": {"zz": 1}}})),
    (moulin.JsonFormat, job({"format": {"json": {"zz": 1}}})),
    (moulin.Contract, job({"contract": {"zz": 1}})),
    (moulin.Inference, job({"inference": {"zz": 1}})),
    (moulin.ReadLimits, job({"limits": {"zz": 1}})),
]


@pytest.mark.parametrize(("kind", "wrong"), NAMES, ids=lambda value: getattr(value, "__name__", ""))
def test_the_worker_knows_the_same_fields(kind: Any, wrong: dict[str, Any], refused: Plan) -> None:
    assert {field.name for field in fields(kind)} == expected_of(refused(wrong))


WORDS: list[tuple[object, dict[str, Any]]] = [
    (OnBadRow, job(on_bad_row="zz")),
    (OnLoadedFile, job(target={"table": "a.b", "on_loaded_file": "zz"})),
    (words.Compression, job({"compression": "zz"})),
    (words.OnBadFile, job({"on_bad_file": "zz"})),
    (words.ProvenanceColumn, job({"provenance_columns": ["zz"]})),
    (words.ContractMode, job({"contract": {"types": "zz"}})),
    (words.Encoding, job({"format": {"csv": {"encoding": "zz"}}})),
    (words.Dialect, job({"format": {"csv": {"dialect": "zz"}}})),
    (words.LineEnding, job({"format": {"csv": {"line_ending": "zz"}}})),
    (words.RaggedRows, job({"format": {"csv": {"ragged_rows": "zz"}}})),
    (words.DuplicateKeys, job({"format": {"json": {"duplicate_keys": "zz"}}})),
]


@pytest.mark.parametrize(("literal", "wrong"), WORDS)
def test_the_worker_knows_the_same_words(literal: object, wrong: dict[str, Any], refused: Plan) -> None:
    assert set(words.words(literal)) == expected_of(refused(wrong))


def expected_of(said: str) -> set[str]:
    """The names in ``unknown field `zz`, expected one of `a`, `b` ``, or ``expected `a` or `b` ``."""
    return set(re.findall(r"`(\w+)`", said.partition("expected")[2].partition(" at line")[0]))


COLUMNS = [
    moulin.Column("a", "timestamptz", null_values=("-",), format="%d.%m.%Y %H:%M", timezone="Europe/Berlin"),
    moulin.Column("b", "decimal( 9 , 2 )", decimal_separator=",", thousands_separator="."),
    moulin.Column("c", "boolean", true_values=("ja",), false_values=("nein",)),
]
COMMON: dict[str, Any] = {
    "columns": COLUMNS,
    "provenance_columns": ["file", "row", "offset"],
    "partition_columns": True,
    "on_bad_file": "skip",
    "contract": {"tables": "freeze", "columns": "discard_row", "types": "discard_value"},
    "rescued_column": "_rescued",
    "inference": {"sample_rows": 7, "sample_bytes": 8},
    "limits": {
        "field_bytes": 1 << 20,
        "record_bytes": 2 << 20,
        "columns": 3,
        "depth": 4,
        "inflation_ratio": 5,
        "inflated_bytes": 6 << 20,
    },
    "preserve_order": True,
}
SOURCES = [
    moulin.csv(
        "nowhere.csv",
        delimiter="||",
        quote="'",
        escape="\\",
        doubled_quotes=False,
        header=False,
        header_lines=2,
        column_names=["a", "b", "c"],
        null_values=["NA"],
        true_values=["ja"],
        false_values=["nein"],
        skip_lines=3,
        skip_rows=4,
        skip_footer_rows=5,
        comment="--",
        decimal_separator=",",
        thousands_separator=".",
        date_format="%d.%m.%Y",
        time_format="%H",
        timestamp_format="%s",
        timezone="Europe/Berlin",
        encoding="windows_1252",
        line_ending="crlf",
        trailing_delimiter=True,
        ragged_rows="fit",
        trim=True,
        dialect="auto",
        compression="zstd",
        **COMMON,
    ),
    moulin.tsv("nowhere.tsv", quoting=False),
    moulin.ndjson("nowhere.ndjson", duplicate_keys="first", compression="gzip", **COMMON),
    moulin.json("nowhere.json", pointer="/data/items", duplicate_keys="reject", **COMMON),
    moulin.parquet("nowhere.parquet", **COMMON),
    moulin.ndjson("nowhere.ndjson", columns={"a": "struct<b:list<int>,c:map<string,decimal(9,2)>>"}),
]


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.uris[0])
def test_the_worker_reads_a_job_file_with_every_option(source: Source, refused: Plan) -> None:
    spec = JobSpec(
        source=source, target=iceberg("a.b"), on_bad_row="quarantine", max_bad_rows=1, max_bad_ratio=0.5, deadline="1h"
    )
    said = refused(spec.to_dict())
    assert said, "the file is not there, or no reader has one of the options"
    assert not any(words in said for words in (*NO_JOB, "job.yaml")), said


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.uris[0])
def test_the_worker_reads_a_message_with_every_option(source: Source, client: moulin.Client) -> None:
    with pytest.raises(moulin.MoulinError) as refused:
        client.plan(JobSpec(source=source, target=iceberg("a.b")))
    # The file is not there, or a reader lacks an option: not that the message makes no source.
    assert "unknown to this worker" not in str(refused.value)
    assert "one ASCII character" not in str(refused.value)


@pytest.mark.parametrize(
    "source",
    [
        {"format": {"csv": {"quote": ","}}},
        {"format": {"csv": {"quote": "''"}}},
        {"format": {"csv": {"delimiter": "a\n"}}},
        {"format": {"csv": {"delimiter": "||", "escape": "|"}}},
        {"format": {"csv": {"comment": ","}}},
        {"format": {"csv": {"comment": '"'}}},
        {"format": {"csv": {"comment": ""}}},
        {"format": {"csv": {"thousands_separator": "."}}},
        {"format": {"csv": {"doubled_quotes": False}}},
        {"format": {"csv": {"header_lines": 0}}},
        {"format": {"csv": {"column_names": ["a", "a"]}}},
        {"format": {"json": {"pointer": "data"}}},
        {"format": "parquet", "compression": "gzip"},
        {"format": "xml"},
        {"uris": []},
        {"uris": [" "]},
        {"columns": [{"name": "a", "type": "int"}, {"name": "a", "type": "int"}]},
        {"columns": [{"name": "a", "type": "list<int>"}]},
        {"columns": [{"name": "a", "type": "map<int, int>"}], "format": "ndjson"},
        {"columns": [{"name": "a", "type": "decimal(39,1)"}]},
        {"columns": [{"name": "a", "type": "int", "format": "%d"}]},
        {"columns": [{"name": "a", "type": "timestamp", "timezone": "UTC"}]},
        {"columns": [{"name": "a", "type": "int", "true_values": ["x"]}]},
        {"columns": [{"name": "a", "type": "date", "decimal_separator": ","}]},
        {"columns": [{"name": "_row", "type": "long"}], "provenance_columns": ["row"]},
        {"provenance_columns": ["row", "row"]},
        {"rescued_column": ""},
    ],
    ids=str,
)
def test_what_is_refused_here_the_worker_refuses(source: dict[str, Any], refused: Plan) -> None:
    wrong = job(source)
    with pytest.raises(moulin.SpecError):
        JobSpec.from_dict(wrong)
    said = refused(wrong)
    assert said
    assert "no file at" not in said, "it came as far as the files"


@pytest.mark.parametrize("more", [{"max_bad_rows": 1}, {"on_bad_row": "skip", "max_bad_ratio": 1.5}], ids=str)
def test_bounds_that_make_no_sense_are_refused_by_both(more: dict[str, Any], refused: Plan) -> None:
    with pytest.raises(moulin.SpecError):
        JobSpec.from_dict(job(**more))
    said = refused(job(**more))
    assert "max_bad_rows" in said or "share" in said
