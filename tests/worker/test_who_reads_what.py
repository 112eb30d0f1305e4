"""Engines of other people read every table that is landed, and see the rows of the input.

Each engine reads all tables in one process; docs/reading.md has the table of who reads what.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pyiceberg.expressions import EqualTo

from landed_table import catalog
from local_stack.installed import ROOT, maven_jars, python_of
from read_cases import Case, Landings
from worker_process import WorkerProcess

FOLDER = Path(__file__).resolve().parent / "engines"
sys.path.append(str(FOLDER))
import plain  # noqa: E402  # shared with the engines' own environment

Answers = dict[str, dict[str, Any]]

ENGINES = ("pyiceberg", "java", "duckdb", "sail", "daft", "polars")
# Columns that an engine has no type for, and cases that it does not read, with its own words. A case that it does read
# fails here too, so that this stays true.
WITHOUT = {"sail": {"time"}}
_NULL_LISTS = "'points': []"
UNREAD: dict[tuple[str, str], str] = {
    # A null list of structs comes as an empty one.
    ("pyiceberg", "nested"): _NULL_LISTS,
    ("pyiceberg", "partitions by nested fields"): _NULL_LISTS,
    # Its own fault, and the same when PyIceberg wrote the table. The manifest says {"type": "fixed", "size": 4} and holds
    # four bytes, as Appendix A of the spec has it; InternalReader$ResolvingReadBuilder.primitive of 1.11.0 reads FIXED like
    # BYTES (ValueReaders.byteBuffers), so that the first byte of the value is taken for a length. What that ends in depends
    # on the bytes that follow: ids and times that are others in every run. ValueWriters$FixedByteBufferWriter writes such a
    # length, which is https://github.com/apache/iceberg/issues/17501.
    ("java", "partitions by fixed"): "Exception",
}


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, dict[str, Case]]]:
    """The folder of a worker's state, and the cases that were landed in it."""
    state = tmp_path_factory.mktemp("state")
    worker = WorkerProcess(state)
    (state / "in").mkdir()
    try:
        yield state, Landings(worker.start(), state / "in").all()
    finally:
        worker.close()
        print(worker.log()[-4000:])


@pytest.mark.parametrize("engine", ENGINES)
def test_an_engine_reads_what_is_landed(engine: str, cases: tuple[Path, dict[str, Case]]) -> None:
    state, landed = cases
    without = WITHOUT.get(engine, set())
    answers = _pyiceberg(state, landed) if engine == "pyiceberg" else _ask(engine, state, landed, without)
    wrong = []
    for name, case in landed.items():
        expected = plain.rows([{key: row[key] for key in row if key not in without} for row in case.rows])
        unread, problem = UNREAD.get((engine, name)), _problem(answers[name], expected)
        if unread is None and problem:
            wrong.append(f"{name}: {problem}")
        elif unread is not None and (problem is None or unread not in problem):
            wrong.append(f"{name}: it was not read because of `{unread}`, now: {problem or 'it is read'}")
    assert not wrong, "\n".join(wrong)


def _problem(answer: dict[str, Any], expected: list[dict[str, Any]]) -> str | None:
    if "error" in answer:
        return str(answer["error"])
    found = plain.rows(answer["rows"])
    if found == expected:
        return None
    differing = [(have, want) for have, want in zip(found, expected, strict=False) if have != want]
    return f"{len(found)} rows of {len(expected)}; first difference: {differing[0] if differing else 'none'}"


def _ask(engine: str, state: Path, landed: dict[str, Case], without: set[str]) -> Answers:
    tables = {}
    for name, case in landed.items():
        table = catalog(state).load_table(case.table)
        left_out = sorted(without & set(table.schema().column_names))
        tables[name] = {
            "metadata": table.metadata_location,
            "location": table.location(),
            "without": left_out,
            "equal": case.equal,
        }
    if engine == "java":
        jars = maven_jars("iceberg-reader")
        command = ["java", "-XX:TieredStopAtLevel=1", "-cp", f"{jars}/*", str(FOLDER / "ReadTables.java")]
    else:
        command = [str(python_of(ROOT / "requirements" / "engines.txt")), str(FOLDER / "read.py"), engine]
    done = subprocess.run(command, input=json.dumps(tables), capture_output=True, text=True, timeout=180, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    answers: Answers = json.loads(done.stdout)
    return answers


def _pyiceberg(state: Path, landed: dict[str, Case]) -> Answers:
    answers: Answers = {}
    for name, case in landed.items():
        scan = catalog(state).load_table(case.table).scan()
        for column, value in case.equal.items():
            scan = scan.filter(EqualTo(column, value))
        answers[name] = {"rows": scan.to_arrow().to_pylist()}
    return answers
