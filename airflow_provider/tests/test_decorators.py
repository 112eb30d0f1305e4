"""`@task.moulin` and `@task.moulin_sql`: what they take, what they refuse, and what a type checker makes of them."""

from __future__ import annotations

import re
import subprocess
import sys
import textwrap
import uuid
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest
from airflow.providers.common.compat.sdk import AirflowFailException
from airflow.sdk import DAG, task
from moulin import csv, iceberg
from pyiceberg.catalog.sql import SqlCatalog
from task_context import task_context

from moulin_provider.decorators.hints import (
    check_frame_function,
    check_query_function,
    frames_of,
    placed,
    with_frames,
    wrong_arguments,
)
from moulin_provider.hooks.moulin import MoulinHook

ROOT = Path(__file__).resolve().parents[2]
LAND = {"source": csv("file:///data/a.csv"), "target": iceberg("bronze.a")}


def frame_functions():
    def collected(frame: pl.LazyFrame) -> pl.DataFrame: ...
    def from_a_table(frame: pl.DataFrame) -> pl.LazyFrame: ...
    def nothing(frame: pl.LazyFrame) -> None: ...
    def a_number(frame: int): ...
    def no_frame() -> pl.LazyFrame: ...
    def only_keywords(*, frame) -> pl.LazyFrame: ...
    async def later(frame: pl.LazyFrame) -> pl.LazyFrame: ...

    return [collected, from_a_table, nothing, a_number, no_frame, only_keywords, later]


@pytest.mark.parametrize("function", frame_functions(), ids=lambda function: function.__name__)
def test_a_function_that_says_it_makes_no_plan_is_refused_when_the_dag_is_parsed(function):
    with DAG("d", schedule=None), pytest.raises(TypeError, match=function.__name__):
        task.moulin(**LAND)(function)()


def test_hints_that_are_classes_are_checked_like_texts():
    def collected(frame): ...

    collected.__annotations__ = {"frame": pl.LazyFrame, "return": pl.DataFrame}
    with pytest.raises(TypeError, match=r"return DataFrame, expected polars\.LazyFrame"):
        check_frame_function(collected, ["frame"])
    collected.__annotations__["return"] = pl.LazyFrame
    check_frame_function(collected, ["frame"])


def test_an_alias_that_is_not_known_is_let_through():
    def clean(frame: Frame) -> Frame: ...  # noqa: F821

    check_frame_function(clean, ["frame"])


@pytest.mark.parametrize("said", ["int", "None", "pl.LazyFrame", None])
def test_a_function_that_says_it_returns_no_text_is_no_query(said):
    def query(): ...

    query.__annotations__["return"] = said
    with pytest.raises(TypeError, match="query is annotated to return"):
        check_query_function(query)


def test_a_template_for_a_number_is_found_before_the_function_runs():
    def clean(frame: pl.LazyFrame, shortest: int, names: list[str] | None, share: float, day: Unknown): ...  # noqa: F821

    right = {"shortest": 1, "names": None, "share": 1, "day": object()}
    assert wrong_arguments(clean, right) == []
    (wrong,) = wrong_arguments(clean, {**right, "shortest": "1"})
    assert wrong == "argument 'shortest' of clean is '1' of type str, expected int"
    assert wrong_arguments(clean, {"names": "ab"}) != []
    assert wrong_arguments(clean, {"shortest": True}) != []


@pytest.fixture
def three(tmp_path):
    path = tmp_path / "three.csv"
    path.write_text("id,name\n1,a\n2,b\n3,c\n")
    return path


def test_a_query_is_asked_for_with_arguments_context_and_templates(worker, three):
    @task.moulin_sql(source=csv(three), target=iceberg("decorated.query"), deferrable=False)
    def query(above: int, params: dict[str, str] | None = None) -> str:
        return f"SELECT *, '{params['label']} {{{{ day }}}}' AS label FROM input WHERE id > {above}"

    with DAG("d", schedule=None):
        operator = query(above=1).operator
    receipt = operator.execute(task_context(params={"label": "from"}, day="2026-11-21"))
    assert (receipt["rows_read"], receipt["rows_landed"], receipt["rows_filtered"]) == (3, 2, 1)
    assert operator.transform == "SELECT *, 'from 2026-11-21' AS label FROM input WHERE id > 1"
    assert operator.custom_operator_name == "@task.moulin_sql"


def test_a_deferred_query_is_shown_after_the_end_too(worker, three):
    @task.moulin_sql(source=csv(three), target=iceberg("decorated.deferred"), deferrable=True)
    def query() -> str:
        return "SELECT id FROM input"

    with DAG("d", schedule=None):
        operator, fresh = query().operator, query.override(task_id="again")().operator
    assert operator._defer_kwargs() == {"query": None}
    operator.transform = "SELECT id FROM input"
    with pytest.raises(AirflowFailException):
        fresh.execute_complete(task_context(), {"status": "error", "job_id": "j"}, **operator._defer_kwargs())
    assert fresh.transform == "SELECT id FROM input"
    assert fresh.overwrite_rtif_after_execution


@pytest.mark.parametrize(("made", "said"), [(None, "NoneType"), ("  ", "an empty text"), (7, "int")])
def test_what_is_no_query_fails_the_task_at_once(made, said):
    @task.moulin_sql(**LAND)
    def query():
        return made

    with DAG("d", schedule=None):
        operator = query().operator
    with pytest.raises(AirflowFailException, match=f"query returned .*{said}"):
        operator.execute(task_context())


def test_the_transform_is_the_function_and_nothing_else():
    for decorator in (task.moulin, task.moulin_sql):

        @decorator(**LAND, transform="SELECT 1")
        def made(frame): ...

        with DAG("d", schedule=None), pytest.raises(TypeError, match="takes no transform"):
            made()


def test_a_decorated_function_can_be_mapped(worker, three):
    # Each instance takes other rows of the one file.
    mapped_target = iceberg("decorated.mapped", on_loaded_file="reload")

    @task.moulin(source=csv(three), target=mapped_target, deferrable=False)
    def above(frame: pl.LazyFrame, bound: int, column: str = "id") -> pl.LazyFrame:
        return frame.filter(pl.col(column) > bound)

    with DAG("d", schedule=None):
        mapped = above.partial(column="id").expand(bound=[0, 2]).operator
    landed = []
    for index in range(2):
        one = mapped.unmap({"op_kwargs": {"column": "id", "bound": [0, 2][index]}})
        values = task_context()
        values["ti"].map_index = index
        landed.append(one.execute(values)["rows_landed"])
    assert landed == [3, 1]


def place(function, files, tables, /, *args, **kwargs):
    """What the function gets in each argument, when its frames are their own names."""
    frames = frames_of(function, files=files, tables=tables)
    held = placed(function, dict.fromkeys(frames), args, kwargs)
    in_order, named = with_frames(function, frames, *held)
    return function(*in_order, **named)


def test_frames_have_the_places_of_their_names_whatever_is_given_between_them():
    def between(n, airlines, files, late=1, *, planes):
        return locals()

    expected = {"n": 7, "airlines": "airlines", "files": "files", "late": 2, "planes": "planes"}
    tables = ["airlines", "planes"]
    assert frames_of(between, files=False, tables=tables) == {"airlines": "airlines", "planes": "planes"}
    assert place(between, False, tables, 7, "files", 2) == expected
    assert place(between, False, tables, n=7, files="files", late=2) == expected
    # With files the first argument that is no table's frame is theirs.
    assert place(between, True, tables, "f", late=2) == {**expected, "n": "input", "files": "f"}

    def star(*frames, airlines):
        return frames, airlines

    assert place(star, True, ["airlines"], 1, 2) == (("input", 1, 2), "airlines")
    assert place(lambda frame: frame, True, []) == "input"


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        ({}, "needs something to read"),
        ({"tables": {}}, "needs something to read"),
        ({"tables": "tables.yaml"}, "expected a dict"),
        ({"tables": {"planes": "b.planes"}}, "no argument 'planes'"),
        ({"tables": {"frame": "b.t"}, "source": csv("a.csv")}, "takes no argument"),
        ({"tables": {"frame": "b.t"}}, "annotated as pl.DataFrame"),
    ],
)
def test_inputs_that_do_not_fit_the_function_are_refused_when_the_dag_is_parsed(inputs, said):
    @task.moulin(**inputs, target=iceberg("bronze.a"))
    def made(frame: pl.DataFrame): ...

    with DAG("d", schedule=None), pytest.raises(TypeError, match=said):
        made()


@pytest.fixture
def airlines(worker):
    name = f"decorated.airlines_{uuid.uuid4().hex[:8]}"
    with MoulinHook().get_conn() as client:
        assert client.describe().catalog
    catalog = SqlCatalog("moulin", uri=worker.catalog_uri, warehouse=worker.warehouse)
    catalog.create_namespace_if_not_exists("decorated")
    rows = pa.table({"id": [1, 2], "name": ["American", "United"]})
    catalog.create_table(name, schema=rows.schema).append(rows)
    return name


def test_files_and_tables_are_frames_by_the_names_of_arguments(worker, three, airlines):
    @task.moulin(
        source=csv(three), tables={"airlines": "{{ airlines }}"}, target=iceberg(airlines + "_joined"), deferrable=False
    )
    def joined(files: pl.LazyFrame, least: int, airlines: pl.LazyFrame) -> pl.LazyFrame:
        return files.filter(pl.col("id") >= least).join(airlines, on="id").select("id", airline="name_right")

    with DAG("d", schedule=None):
        operator = joined(2).operator
    operator.render_template_fields({"airlines": airlines})
    receipt = operator.execute(task_context())
    assert receipt["rows_landed"] == 1
    assert [(one["name"], one["table"]) for one in receipt["tables"]] == [("airlines", airlines)]
    assert MoulinHook().reader(receipt).read_all().to_pylist() == [{"id": 2, "airline": "United"}]


def test_two_tables_of_one_schema_are_told_apart(worker, airlines):
    @task.moulin(tables={"old": airlines, "new": airlines}, target=iceberg(airlines + "_new"), deferrable=False)
    def gone(new: pl.LazyFrame, old: pl.LazyFrame, until: int = 1) -> pl.LazyFrame:
        return old.join(new.filter(pl.col("id") > until), on="id", how="anti")

    with DAG("d", schedule=None):
        operator = gone().operator
    receipt = operator.execute(task_context())
    assert MoulinHook().reader(receipt).read_all().to_pylist() == [{"id": 1, "name": "American"}]


def test_a_query_over_tables_alone(worker, airlines):
    @task.moulin_sql(tables={"airlines": airlines}, target=iceberg(airlines + "_sql"), deferrable=False)
    def named(like: str) -> str:
        return f"SELECT * FROM airlines WHERE name LIKE '{like}'"

    with DAG("d", schedule=None):
        operator = named("A%").operator
    assert operator.execute(task_context())["rows_landed"] == 1
    with DAG("d", schedule=None), pytest.raises(TypeError, match="needs something to read"):
        task.moulin_sql(target=iceberg("a.b"))(lambda: "SELECT 1")()


USER_DAG = """
    from __future__ import annotations

    from typing import TYPE_CHECKING

    from airflow.sdk import DAG
    from moulin import csv, iceberg
    from moulin_provider.decorators import moulin_sql_task, moulin_tables_task, moulin_task

    if TYPE_CHECKING:
        import polars as pl

    with DAG("d", schedule=None):

        @moulin_task(source=csv("a.csv"), target=iceberg("bronze.a"), retries=2)
        def clean(flights: pl.LazyFrame, shortest: int = 0) -> pl.LazyFrame:
            return flights

        @moulin_sql_task(source=csv("a.csv"), target=iceberg("bronze.b"))
        def query(day: str) -> str:
            return "SELECT 1"

        @moulin_tables_task(tables={"airlines": "bronze.airlines"}, source=csv("a.csv"), target=iceberg("bronze.c"))
        def joined(flights: pl.LazyFrame, airlines: pl.LazyFrame) -> pl.LazyFrame:
            return flights.join(airlines, on="carrier")

        joined()
        landed = clean(shortest=1)
        landed >> query("monday")
        clean.expand(shortest=[1, 2])
        reveal_type(landed)
"""
WRONG_DAG = """
        clean(shortest="1")
        query()

        @moulin_task(source=csv("a.csv"), target=iceberg("bronze.a"))
        def collected(flights: pl.LazyFrame) -> pl.DataFrame:
            return flights.collect()

        @moulin_tables_task(tables=["bronze.airlines"], target=iceberg("bronze.a"))
        def listed(airlines: pl.LazyFrame) -> pl.LazyFrame:
            return airlines

        @moulin_task(source=csv("a.csv"), target=iceberg("bronze.a"), on_bad_row="ignore")
        def ignoring(flights: pl.LazyFrame) -> pl.LazyFrame:
            return flights
"""


def mypy(tmp_path: Path, text: str) -> str:
    path = tmp_path / "user_dag.py"
    path.write_text(textwrap.dedent(text))
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(ROOT / ".mypy_cache" / "user"), str(path)],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.stdout + done.stderr


def test_a_users_dag_is_checked_by_mypy(tmp_path):
    said = mypy(tmp_path, USER_DAG + WRONG_DAG)
    errors = [line for line in said.splitlines() if ": error:" in line]
    assert 'Revealed type is "airflow.sdk.definitions.xcom_arg.XComArg"' in said
    expected = [
        '"shortest"',
        'Too few arguments|Missing positional argument "day"',
        "DataFrame",
        '"tables"',
        '"on_bad_row"',
    ]
    assert len(errors) == len(expected), said
    for line, pattern in zip(errors, expected, strict=True):
        assert re.search(pattern, line), said
