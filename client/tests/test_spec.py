"""Building specs, and refusing wrong ones."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import polars as pl
import pytest
import yaml

import moulin
from moulin import JobKey, JobSpec, Source, csv, iceberg, json, ndjson, parquet, polars_plan, request, sql, tsv
from moulin.errors import SpecError


def test_the_shape_is_that_of_a_job_file() -> None:
    spec = JobSpec(
        source=csv("file:///data/flights.csv.gz", delimiter="|", null_values=["NA"], columns={"dep_delay": "double"}),
        transform=sql("SELECT * FROM input"),
        target=iceberg(
            "bronze.flights", partition_by=["month(time_hour)", "void(tail.no)"], properties={"write.x": 1, "y": True}
        ),
        on_bad_row="skip",
        deadline=timedelta(minutes=15),
    )
    assert spec.to_dict() == {
        "source": {
            "uris": ["file:///data/flights.csv.gz"],
            "format": {"csv": {"delimiter": "|", "null_values": ["NA"]}},
            "columns": [{"name": "dep_delay", "type": "double"}],
        },
        "transform": {"sql": "SELECT * FROM input"},
        "target": {
            "table": "bronze.flights",
            "partition_by": ["month(time_hour)", "void(tail.no)"],
            "properties": {"write.x": "1", "y": "true"},
        },
        "on_bad_row": "skip",
        "deadline": "900s",
    }


def test_what_is_the_default_is_left_out() -> None:
    spec = JobSpec(source=csv("a.csv"), target=iceberg("a.b"))
    assert spec.to_dict() == {"source": {"uris": ["a.csv"], "format": "csv"}, "target": {"table": "a.b"}}


@pytest.mark.parametrize(
    "source",
    [
        ndjson("a.ndjson", compression="zstd", duplicate_keys="reject"),
        json("a.json", pointer="/data/items", columns={"tags": "list<string>"}),
        tsv("a.tsv", quoting=False, contract={"columns": "freeze"}, limits={"depth": 9}),
        parquet(["a.parquet", "b/*.parquet"], on_bad_file="skip", provenance_columns=["file", "row"]),
    ],
)
def test_other_formats_come_back_from_their_dict(source: moulin.Source) -> None:
    assert moulin.Source.from_dict(source.to_dict()) == source


def test_options_of_a_source_stand_where_job_files_have_them() -> None:
    source = csv(
        "a.csv",
        delimiter="||",
        columns=[moulin.Column("day", "date", format="%d.%m.%Y"), moulin.Column("n", "long", null_values=("-",))],
        contract={"types": "discard_value"},
        rescued_column="_rescued",
        inference=moulin.Inference(sample_rows=7),
        preserve_order=True,
    )
    assert source.to_dict() == {
        "uris": ["a.csv"],
        "format": {"csv": {"delimiter": "||"}},
        "columns": [
            {"name": "day", "type": "date", "format": "%d.%m.%Y"},
            {"name": "n", "type": "long", "null_values": ["-"]},
        ],
        "contract": {"types": "discard_value"},
        "rescued_column": "_rescued",
        "inference": {"sample_rows": 7},
        "preserve_order": True,
    }


def test_what_is_said_of_a_dialect_can_be_told_from_a_default() -> None:
    assert csv("a", delimiter=",", dialect="auto") != csv("a", dialect="auto")
    assert csv("a", escape='"', doubled_quotes=False, dialect="auto"), "the quote is found in a sample"


def test_an_escape_may_be_the_quote() -> None:
    assert csv("a", escape='"', doubled_quotes=False)
    assert csv("a", escape="'", quote="'")


def test_tabs_are_what_tells_tsv_from_csv() -> None:
    assert tsv("a", trim=True) == csv("a", delimiter="\t", trim=True)


@pytest.mark.parametrize(
    ("written", "normal"),
    [
        ("list< string >", "list<string>"),
        ("map<string,decimal( 9 , 2 )>", "map<string, decimal(9,2)>"),
        (
            "struct<a:int,b:list<struct<c:date,d:map<string,double>>>>",
            "struct<a: int, b: list<struct<c: date, d: map<string, double>>>>",
        ),
    ],
)
def test_nested_types_are_written_as_the_worker_writes_them(written: str, normal: str) -> None:
    assert moulin.Column("n", written).type == normal


def test_limits_on_bad_rows_are_part_of_a_spec() -> None:
    spec = _spec(on_bad_row="quarantine", max_bad_rows=0, max_bad_ratio=0.5)
    assert spec.to_dict()["max_bad_rows"] == 0
    assert JobSpec.from_dict(yaml.safe_load(spec.to_yaml())) == spec


def test_a_job_file_written_by_hand_is_a_spec() -> None:
    written = """
source:
  uris: ["file:///data/flights.csv.gz"]
  format: {csv: {null_values: [NA], delimiter: "|"}}
  columns: [{name: dep_delay, type: "decimal( 5 , 2 )"}]
transform: {sql: SELECT 1}
target: {table: bronze.flights}
deadline: 1h 30m
"""
    spec = JobSpec.from_dict(yaml.safe_load(written))
    assert spec.deadline == timedelta(hours=1, minutes=30)
    assert spec.source is not None
    assert spec.source.columns == (moulin.Column("dep_delay", "decimal(5,2)"),)


@pytest.mark.parametrize(
    "text", ["plain", "a: b # c", "two\nlines\t", "é 😀 \u2028 \x7f \ufeff", '"quoted" \\ \'', "{x}"]
)
def test_any_text_survives_a_job_file(text: str) -> None:
    spec = JobSpec(
        source=csv(text, null_values=[text, ""]), transform=sql(text), target=iceberg("a.b", properties={text: text})
    )
    assert JobSpec.from_dict(yaml.safe_load(spec.to_yaml())) == spec


@pytest.mark.parametrize(
    ("deadline", "text"),
    [(timedelta(seconds=90), "90s"), (timedelta(milliseconds=1500), "1500ms"), (timedelta(microseconds=1), "1us")],
)
def test_deadlines_are_exact(deadline: timedelta, text: str) -> None:
    spec = JobSpec(source=csv("a"), target=iceberg("a.b"), deadline=deadline)
    assert spec.to_dict()["deadline"] == text
    assert JobSpec.from_dict(spec.to_dict()).deadline == deadline


@pytest.mark.parametrize(
    ("text", "deadline"),
    [
        ("90s", timedelta(seconds=90)),
        ("1h 30m", timedelta(hours=1, minutes=30)),
        ("2 minutes 3sec", timedelta(minutes=2, seconds=3)),
        ("1day", timedelta(days=1)),
        ("250ms", timedelta(milliseconds=250)),
    ],
)
def test_deadlines_are_read_as_job_files_write_them(text: str, deadline: timedelta) -> None:
    assert JobSpec(source=csv("a"), target=iceberg("a.b"), deadline=text).deadline == deadline


def test_a_lazy_frame_is_a_transform() -> None:
    frame = pl.LazyFrame(schema={"a": pl.Int64}).filter(pl.col("a") > 1)
    spec = JobSpec(source=csv("a"), target=iceberg("a.b"), transform=frame)
    assert isinstance(spec.transform, moulin.PolarsPlan)
    assert spec.transform.polars_version == pl.__version__
    again = pl.LazyFrame.deserialize(__import__("io").BytesIO(spec.transform.plan))
    assert again.collect_schema() == {"a": pl.Int64}


def test_a_plan_survives_json_and_a_job_file() -> None:
    spec = JobSpec(source=csv("a"), target=iceberg("a.b"), transform=pl.LazyFrame(schema={"a": pl.Int64}))
    assert JobSpec.from_dict(spec.to_dict()) == spec
    in_file = yaml.safe_load(spec.to_yaml())
    assert JobSpec.from_dict(in_file) == spec


def test_specs_can_be_copied_pickled_and_compared() -> None:
    spec = JobSpec(source=csv("a"), target=iceberg("a.b", properties={"k": "v"}), transform=sql("SELECT 1"))
    assert copy.deepcopy(spec) == pickle.loads(pickle.dumps(spec)) == spec
    assert hash(spec) == hash(copy.copy(spec))
    with pytest.raises(AttributeError):
        spec.on_bad_row = "skip"  # type: ignore[misc]


def test_templates_are_checked_after_they_are_rendered() -> None:
    source = csv("{{ params.path }}", delimiter="{{ params.delimiter }}", columns={"a": "{{ params.type }}"})
    target = iceberg("{{ params.table }}", partition_by=["{{ params.field }}"])
    rendered = {**source.to_dict(), "format": {"csv": {"quote": ";;"}}}
    with pytest.raises(moulin.SpecError, match="csv quote"):
        JobSpec(source=rendered, target={**target.to_dict(), "table": "a.b"})
    with pytest.raises(moulin.SpecError, match="iceberg table"):
        JobSpec(source=csv("a"), target={**target.to_dict(), "table": "nowhere"})


def test_a_path_becomes_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert csv(Path("data/a.csv")).uris == (str(tmp_path / "data" / "a.csv"),)
    assert csv("data/a.csv").uris == ("data/a.csv",), "a text is what it says: the worker may be another machine"


@pytest.mark.parametrize(
    ("build", "said"),
    [
        (lambda: csv([]), r"uris: found \[\], expected at least one file"),
        (lambda: csv(["a", " "]), r"uris\[1\]: found ' ', expected a text that is not blank"),
        (lambda: csv("a", delimiter=""), "csv delimiter: found '', expected one or more characters"),
        (lambda: csv("a", delimiter="\n"), "csv delimiter"),
        (lambda: csv("a", quote="é"), "csv quote: found 'é', expected one ASCII character"),
        (lambda: csv("a", quote=","), "csv quote: found ',', expected another character than the delimiter"),
        (lambda: csv("a", delimiter="||", escape="|"), "csv escape: found '|', expected another .* the delimiter"),
        (
            lambda: csv("a", comment='"x'),
            "csv comment: found '\"x', expected a text that does not start",
        ),
        (
            lambda: csv("a", comment=","),
            "csv comment: found ',', expected another text than the start",
        ),
        (lambda: csv("a", comment=""), "csv comment: found ''"),
        (lambda: csv("a", decimal_separator=",", thousands_separator=","), "csv thousands_separator: found ','"),
        (lambda: csv("a", doubled_quotes=False), "csv doubled_quotes: found False, expected True, or an escape"),
        (lambda: csv("a", header_lines=0), "csv header_lines: found 0, expected a whole number from 1"),
        (lambda: csv("a", column_names=["x", "y", "x"]), "csv column_names: found 'x', expected each name once"),
        (lambda: csv("a", encoding=cast("Any", "cp437")), "csv encoding: found 'cp437', expected 'auto' or 'utf8'"),
        (
            lambda: csv("a", ragged_rows=cast("Any", "drop")),
            "csv ragged_rows: found 'drop', expected 'reject'",
        ),
        (lambda: ndjson("a", duplicate_keys=cast("Any", "all")), "ndjson duplicate_keys: found 'all'"),
        (lambda: json("a", pointer="data"), "json pointer: found 'data', expected a JSON pointer"),
        (
            lambda: csv("a", contract={"column": "freeze"}),
            "contract: found 'column', expected one of the fields",
        ),
        (lambda: csv("a", contract={"types": "drop"}), "contract types: found 'drop', expected 'evolve' or 'freeze'"),
        (lambda: csv("a", inference={"sample_rows": 0}), "inference sample_rows: found 0"),
        (lambda: csv("a", limits={"columns": 2**32}), "limits columns: found 4294967296"),
        (lambda: csv("a", limits={"inflated_bytes": 0}), "limits inflated_bytes: found 0"),
        (lambda: csv("a", rescued_column=""), "rescued_column: found ''"),
        (lambda: csv("a", provenance_columns=["file", "file"]), "provenance_columns: found 'file', expected each"),
        (lambda: csv("a", provenance_columns=[cast("Any", "line")]), r"provenance_columns\[0\]: found 'line'"),
        (
            lambda: csv("a", provenance_columns=["row"], rescued_column="_row"),
            "rescued_column: found '_row', expected each name once",
        ),
        (
            lambda: csv("a", columns={"_row": "long"}, provenance_columns=["row"]),
            "columns: found '_row', expected another name",
        ),
        (
            lambda: csv("a", columns={"n": "list<int>"}),
            r"columns\['n'\]: found 'list<int>', expected a type of one",
        ),
        (lambda: ndjson("a", columns={"n": "map<int, int>"}), r"columns\['n'\]: found 'map<int, int>'"),
        (lambda: ndjson("a", columns={"n": "struct<a: int, a: int>"}), r"columns\['n'\]"),
        (lambda: ndjson("a", columns={"n": "list<" * 65 + "int" + ">" * 65}), r"columns\['n'\]"),
        (
            lambda: moulin.Column("n", "long", format="%d"),
            r"columns\['n'\] format: found '%d', expected none: .* this one is long",
        ),
        (lambda: moulin.Column("n", "timestamp", timezone="UTC"), r"columns\['n'\] timezone"),
        (lambda: moulin.Column("n", "string", true_values=("x",)), r"columns\['n'\] true_values"),
        (lambda: moulin.Column("n", "date", decimal_separator=","), r"columns\['n'\] decimal_separator"),
        (lambda: moulin.Column("n", "int", thousands_separator="__"), r"columns\['n'\] thousands_separator"),
        (lambda: _spec(max_bad_rows=1), "max_bad_rows: found 1, expected none: with on_bad_row = 'fail'"),
        (
            lambda: _spec(on_bad_row="skip", max_bad_ratio=1.1),
            "max_bad_ratio: found 1.1, expected a number from",
        ),
        (lambda: _spec(on_bad_row="skip", max_bad_rows=-1), "max_bad_rows: found -1"),
        (lambda: csv("a", skip_lines=-1), "csv skip_lines: found -1, expected a whole number from 0"),
        (
            lambda: csv("a", compression=cast("Any", "bz2")),
            "source compression: found 'bz2', expected 'auto' or 'none'",
        ),
        (lambda: csv("a", columns={"n": "integer"}), r"columns\['n'\]: found 'integer', expected boolean, int, long"),
        (lambda: csv("a", columns={"n": "decimal(39,2)"}), r"columns\['n'\]"),
        (lambda: csv("a", columns={"n": "decimal(3,4)"}), r"columns\['n'\]"),
        (lambda: csv("a", columns=[("n", "int"), ("n", "long")]), "columns: found 'n', expected each name once"),
        (lambda: iceberg("flights"), "iceberg table: found 'flights', expected namespace.table"),
        (lambda: iceberg("a..b"), "iceberg table"),
        (lambda: iceberg("a/b.c"), "iceberg table"),
        (lambda: iceberg("a.b", partition_by=["week(t)"]), r"iceberg partition_by\[0\]: found 'week\(t\)', expected"),
        (lambda: iceberg("a.b", partition_by=["void()"]), r"partition_by\[0\]"),
        (lambda: iceberg("a.b", partition_by=["bucket(id)"]), r"partition_by\[0\]"),
        (lambda: iceberg("a.b", partition_by=["bucket(0, id)"]), r"partition_by\[0\]"),
        (lambda: iceberg("a.b", partition_by=["bucket(٣, id)"]), r"partition_by\[0\]"),
        (lambda: iceberg("a.b", partition_by=["month(a, b)"]), r"partition_by\[0\]"),
        (lambda: iceberg("a.b", partition_by=["month(a) b"]), r"partition_by\[0\]"),
        (lambda: iceberg("a.b", partition_by=["month(day(a))"]), r"partition_by\[0\]"),
        (lambda: iceberg("a.b", partition_by=["a, b"]), r"partition_by\[0\]"),
        (lambda: sql("  "), "sql query: found '  ', expected a text that is not blank"),
        (lambda: JobKey(""), "key task_id"),
        (lambda: _spec(on_bad_row="ignore"), "on_bad_row: found 'ignore', expected 'fail' or 'skip'"),
        (lambda: _spec(deadline="15 fortnights"), "deadline: found '15 fortnights', expected a text such as"),
        (lambda: _spec(deadline=""), "deadline: found '', expected a text such as"),
        (lambda: _spec(deadline="15m x"), "deadline: found '15m x'"),
        (lambda: _spec(deadline=timedelta(0)), "deadline"),
        (
            lambda: JobSpec.from_dict({"source": {}, "target": {}, "tranform": {}}),
            "job: found 'tranform', expected one",
        ),
        (lambda: JobSpec.from_dict({"source": {"uris": ["a"], "format": "csv"}}), "job: .* expected a field `target`"),
        (lambda: moulin.Source.from_dict({"uris": ["a"], "format": "xml"}), "source format: found 'xml'"),
        (lambda: moulin.Source.from_dict({"uris": ["a"], "format": {"csv": {"sep": ","}}}), "format csv: found 'sep'"),
        (lambda: JobSpec.from_dict({**_job(), "transform": {"sql": "a", "polars": {}}}), "transform: .* either sql or"),
        (lambda: JobSpec.from_dict({**_job(), "transform": {"polars": {"plan": "%"}}}), "plan: .* a text in base64"),
    ],
)
def test_a_wrong_value_names_the_argument(build: Callable[[], object], said: str) -> None:
    with pytest.raises(moulin.SpecError, match=said) as raised:
        build()
    assert isinstance(raised.value, ValueError)
    assert not isinstance(raised.value, TypeError)
    assert raised.value.kind is moulin.FaultKind.INVALID_SPEC
    assert not raised.value.retryable
    assert "what to do: " in str(raised.value)


def test_a_key_that_is_no_key_says_what_one_is() -> None:
    with pytest.raises(
        moulin.SpecError, match=r"key: found 'k' of type str, expected a JobKey or its fields"
    ) as raised:
        request.submit(_spec(), cast("Any", "k"), 0, 1)
    assert isinstance(raised.value, TypeError)
    # Its fields do as well.
    assert request.submit(_spec(), {"task_id": "k"}, 0, 1).message.key.task_id == "k"
    with pytest.raises(moulin.SpecError, match=r"key: found \['dag_id'\], expected a field `task_id`"):
        request.submit(_spec(), {"dag_id": "d"}, 0, 1)


@pytest.mark.parametrize(
    ("build", "said"),
    [
        (lambda: csv(7), "uris: found 7 of type int, expected a uri or a list of them"),  # type: ignore[arg-type]
        (lambda: csv("a", header=1), "csv header: found 1 of type int, expected True or False"),  # type: ignore[arg-type]
        (lambda: csv("a", skip_rows=False), "csv skip_rows: found False of type bool, expected a whole number"),
        (lambda: csv("a", columns="n int"), "columns: found 'n int' of type str, expected a dict"),  # type: ignore[arg-type]
        (lambda: csv("a", null_values=[None]), r"csv null_values\[0\]: found None"),  # type: ignore[list-item]
        (lambda: iceberg("a.b", properties={"k": None}), r"properties\['k'\]"),  # type: ignore[dict-item]
        (lambda: JobSpec(source="a.csv", target=iceberg("a.b")), "source: found 'a.csv' of type str, expected csv"),  # type: ignore[arg-type]
        (lambda: _spec(transform="SELECT 1"), "transform: found 'SELECT 1' of type str, expected sql"),
        (lambda: _spec(transform=pl.DataFrame({"a": [1]})), "transform: .* of type DataFrame"),
        (lambda: polars_plan(pl.DataFrame()), "of type DataFrame, expected a polars.LazyFrame .*by .lazy"),  # type: ignore[arg-type]
        (lambda: csv("a", contract="freeze"), "contract: found 'freeze' of type str, expected a dict with tables"),  # type: ignore[arg-type]
        (lambda: json("a", pointer=None), "json pointer: found None"),  # type: ignore[arg-type]
        (lambda: _spec(on_bad_row="skip", max_bad_ratio="5%"), "max_bad_ratio: found '5%' of type str"),
        (lambda: _spec(deadline=900), "deadline: found 900 of type int, expected a timedelta"),
    ],
)
def test_a_wrong_type_is_a_type_error(build: Callable[[], object], said: str) -> None:
    with pytest.raises(moulin.SpecTypeError, match=said) as raised:
        build()
    assert isinstance(raised.value, TypeError)


def test_a_plan_that_carries_rows_is_refused() -> None:
    frame = pl.LazyFrame({"a": pl.Series(range(5_000_000), dtype=pl.Int64)})
    with pytest.raises(moulin.SpecError, match="start from an empty frame"):
        polars_plan(frame)


def _job() -> dict[str, object]:
    return {"source": {"uris": ["a"], "format": "csv"}, "target": {"table": "a.b"}}


def _spec(**more: object) -> JobSpec:
    return JobSpec(source=csv("a"), target=iceberg("a.b"), **more)  # type: ignore[arg-type]


def test_a_replay_is_a_job_of_the_rejects_of_its_target() -> None:
    spec = moulin.replay("bronze.flights", moulin.csv("a.csv", null_values=["n/a"]), where="code = 'type.int'")
    assert spec.on_bad_row == "quarantine"
    assert spec.to_dict()["replay"] == {"where": "code = 'type.int'"}
    assert moulin.JobSpec.from_dict(spec.to_dict()) == spec
    all_of_them = moulin.replay({"table": "bronze.flights"}, {"uris": ["a.csv"], "format": "csv"})
    assert moulin.JobSpec.from_dict(all_of_them.to_dict()).replay == moulin.Replay()


def test_a_replay_keeps_what_still_does_not_fit() -> None:
    with pytest.raises(moulin.SpecError, match="a replay keeps what still does not fit"):
        moulin.replay("bronze.flights", moulin.csv("a.csv"), on_bad_row="skip")
    with pytest.raises(moulin.SpecTypeError, match="a SQL condition"):
        moulin.Replay(where=3)  # type: ignore[arg-type]


@pytest.mark.parametrize("build", [csv, ndjson, json, parquet])
def test_what_a_builder_makes_is_what_its_class_makes(build: Callable[..., Source]) -> None:
    said: dict[str, Any] = {"columns": {"a": "int"}, "on_bad_file": "skip"} | (
        {"null_values": ["NA"]} if build is csv else {}
    )
    built = build("a", **said)
    again = Source(**{field.name: getattr(built, field.name) for field in dataclasses.fields(Source)})
    form: Any = type(built.format)
    assert again.format == form(**{field.name: getattr(built.format, field.name) for field in dataclasses.fields(form)})
    for other in (again, dataclasses.replace(built), pickle.loads(pickle.dumps(built)), copy.deepcopy(built)):
        assert (other, hash(other), repr(other)) == (built, hash(built), repr(built))
        assert other.to_dict() == built.to_dict()
    assert dataclasses.replace(built, preserve_order=True) != built
    with pytest.raises(dataclasses.FrozenInstanceError):
        cast("Any", built).preserve_order = True
    with pytest.raises(SpecError, match="found 'later'"):
        build("a", **said, contract={"columns": "later"})
