"""What differs between rows and table is shown by the plan, and the contract says what is done."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from landed_table import LandedTable
from worker_process import run_moulin


def _job(state: Path, text: str, contract: dict[str, str] | None = None) -> Path:
    (state / "in.csv").write_text(text)
    source: dict[str, Any] = {"uris": [f"file://{state}/in.csv"], "format": "csv"}
    if contract is not None:
        source["contract"] = contract
    job = state / "job.json"
    job.write_text(json.dumps({"source": source, "target": {"table": "bronze.numbers"}}))
    return job


@pytest.fixture
def landed(state: Path) -> None:
    """The table is there, with the columns id (long) and name (string)."""
    done = run_moulin(state, "run", _job(state, "id,name\n1,a\n"))
    assert done.returncode == 0, done.stderr


def test_a_plan_shows_every_option_and_where_it_comes_from(state: Path) -> None:
    done = run_moulin(state, "plan", _job(state, "id,name\n1,a\n"), "--json")
    assert done.returncode == 0, done.stderr
    plan = json.loads(done.stdout)
    assert (plan["shards"], plan["changes"]) == (1, [])
    options = {option["name"]: option["origin"] for option in plan["options"]}
    assert {"csv.delimiter", "csv.ragged_rows", "compression", "contract.tables", "limits.columns"} <= set(options)
    assert "with the options" in run_moulin(state, "plan", state / "job.json").stdout


@pytest.mark.usefixtures("landed")
def test_a_plan_names_the_differences_and_ends_with_2(state: Path) -> None:
    done = run_moulin(state, "plan", _job(state, "id,name,new\nx,a,1.5\n"), "--json")
    assert done.returncode == 2
    assert json.loads(done.stdout)["changes"] == [
        {"column": "id", "kind": "change_type", "from": "long", "to": "string", "mode": "evolve"},
        {"column": "new", "kind": "add_column", "from": "", "to": "double", "mode": "evolve"},
    ]
    assert "id" in done.stderr


def test_a_table_that_may_not_be_made_is_refused(state: Path, table: LandedTable) -> None:
    done = run_moulin(state, "run", _job(state, "id\n1\n", {"tables": "freeze"}))
    assert done.returncode == 2
    assert all(word in done.stderr for word in ("bronze.numbers", "source.contract.tables is freeze"))
    assert table.files_on_disk() == []


def _run(state: Path, text: str, contract: dict[str, str], **source: Any) -> subprocess.CompletedProcess[str]:
    job = _job(state, text, contract)
    spec = json.loads(job.read_text())
    spec["source"].update(source)
    spec["on_bad_row"] = "skip"
    job.write_text(json.dumps(spec))
    return run_moulin(state, "run", job)


@pytest.mark.usefixtures("landed")
@pytest.mark.parametrize(
    ("text", "contract", "words"),
    [
        ("id,name,new\n2,b,x\n", {"columns": "freeze"}, ("`new`", "source.contract.columns")),
        ("id,name\nx,b\n", {"types": "freeze"}, ("`id`", "source.contract.types")),
    ],
)
def test_a_frozen_table_takes_no_other_columns_or_types(
    state: Path, table: LandedTable, text: str, contract: dict[str, str], words: tuple[str, ...]
) -> None:
    done = _run(state, text, contract)
    assert done.returncode == 2, done.stdout
    assert all(word in done.stderr for word in words), done.stderr
    assert table.load().scan().to_arrow().to_pylist() == [{"id": 1, "name": "a"}]


COLUMNS = [{"name": "id", "type": "long"}, {"name": "name", "type": "string"}]


@pytest.mark.usefixtures("landed")
def test_discarded_values_are_left_out_and_their_rows_land(state: Path, table: LandedTable) -> None:
    contract = {"columns": "discard_value", "types": "discard_value"}
    done = _run(state, "id,name,new\n2,b,x\nbad,c,\n", contract, columns=COLUMNS)
    assert done.returncode == 0, done.stderr
    rows = sorted(table.load().scan().to_arrow().to_pylist(), key=lambda row: row["name"])
    assert rows == [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}, {"id": None, "name": "c"}]


@pytest.mark.usefixtures("landed")
def test_discarded_rows_are_rejected_with_their_reason(state: Path, table: LandedTable) -> None:
    contract = {"columns": "discard_row", "types": "discard_row"}
    done = _run(state, "id,name,new\n2,b,x\nbad,c,\n4,d,\n", contract, columns=COLUMNS)
    assert done.returncode == 0, done.stderr
    assert sorted(row["id"] for row in table.load().scan().to_arrow().to_pylist()) == [1, 4]
    assert all(word in done.stdout for word in ("contract.column", "type.long", "line 2", "line 3")), done.stdout
