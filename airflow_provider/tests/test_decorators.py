"""`@task.moulin` and `@task.moulin_sql`: what they take, what they refuse, and what a type checker makes of them."""

from __future__ import annotations

import re
import subprocess
import sys
import textwrap
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import polars as pl
import pytest
from airflow.providers.common.compat.sdk import AirflowFailException
from airflow.sdk import DAG, task
from moulin import csv, iceberg

from moulin_provider.decorators.hints import check_frame_function, check_query_function, wrong_arguments

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
        check_frame_function(collected)
    collected.__annotations__["return"] = pl.LazyFrame
    check_frame_function(collected)


def test_an_alias_that_is_not_known_is_let_through():
    def clean(frame: Frame) -> Frame: ...  # noqa: F821

    check_frame_function(clean)


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


def context(**values):
    ti = SimpleNamespace(
        dag_id="d", run_id=str(datetime.now(UTC)), task_id="t", map_index=-1, try_number=1, max_tries=0,
        xcom_push=lambda **_: None,
    )  # fmt: skip
    return {"ti": ti, "outlet_events": {}, **values}


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
    receipt = operator.execute(context(params={"label": "from"}, day="2026-11-21"))
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
        fresh.execute_complete(context(), {"status": "error", "job_id": "j"}, **operator._defer_kwargs())
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
        operator.execute(context())


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
        values = context()
        values["ti"].map_index = index
        landed.append(one.execute(values)["rows_landed"])
    assert landed == [3, 1]


USER_DAG = """
    from __future__ import annotations

    from typing import TYPE_CHECKING

    from airflow.sdk import DAG
    from moulin import csv, iceberg
    from moulin_provider.decorators import moulin_sql_task, moulin_task

    if TYPE_CHECKING:
        import polars as pl

    with DAG("d", schedule=None):

        @moulin_task(source=csv("a.csv"), target=iceberg("bronze.a"), retries=2)
        def clean(flights: pl.LazyFrame, shortest: int = 0) -> pl.LazyFrame:
            return flights

        @moulin_sql_task(source=csv("a.csv"), target=iceberg("bronze.b"))
        def query(day: str) -> str:
            return "SELECT 1"

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
    expected = ['"shortest"', 'Too few arguments|Missing positional argument "day"', "DataFrame", '"on_bad_row"']
    assert len(errors) == len(expected), said
    for line, pattern in zip(errors, expected, strict=True):
        assert re.search(pattern, line), said
