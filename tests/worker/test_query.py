"""SQL over tables of the catalog: over Flight, from Python and on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import flight

import moulin
from landed_table import catalog
from worker_process import NewWorker, run_moulin

ROWS = pa.table({"id": pa.array(range(1000), pa.int64()), "kind": [["a", "b"][n % 2] for n in range(1000)]})


@pytest.fixture
def table(client: moulin.Client, state: Path) -> str:
    assert client.describe().catalog
    lake = catalog(state)
    lake.create_namespace("bronze")
    lake.create_table("bronze.numbers", schema=ROWS.schema).append(ROWS)
    return "bronze.numbers"


def test_a_query_gives_the_rows_of_its_tables(client: moulin.Client, table: str) -> None:
    sql = f"SELECT kind, count(*) AS n, max(id) AS most FROM {table} WHERE id >= 10 GROUP BY kind ORDER BY kind"
    found = client.query(sql).read_all()
    assert found.to_pylist() == [{"kind": "a", "n": 495, "most": 998}, {"kind": "b", "n": 495, "most": 999}]


def test_a_ticket_is_redeemed_at_another_worker_with_the_rows_of_its_snapshots(
    new_worker: NewWorker, state: Path
) -> None:
    one, other = new_worker("one").start(), new_worker("other").start()
    lake = catalog(state)
    lake.create_namespace("bronze")
    numbers = lake.create_table("bronze.numbers", schema=ROWS.schema)
    numbers.append(ROWS)
    snapshot = numbers.current_snapshot()
    assert snapshot is not None
    ticket = one.query_ticket("SELECT count(*) AS n FROM bronze.numbers")
    assert ticket.tables() == {"bronze.numbers": snapshot.snapshot_id}
    numbers.append(ROWS)
    assert other.redeem(ticket.ticket).read_all().to_pylist() == [{"n": 1000}]
    assert other.query("SELECT count(*) AS n FROM bronze.numbers").read_all().to_pylist() == [{"n": 2000}]


def test_any_flight_client_asks_with_a_select_as_command(client: moulin.Client, table: str) -> None:
    with flight.FlightClient(f"grpc://{client.connection.target}") as arrow:
        info = arrow.get_flight_info(flight.FlightDescriptor.for_command(f"SELECT id FROM {table} WHERE id < 3"))
        assert info.schema.names == ["id"]
        found = arrow.do_get(info.endpoints[0].ticket).read_all()
    assert sorted(found["id"].to_pylist()) == [0, 1, 2]


def test_a_result_beyond_its_limit_is_an_error_and_no_part_of_it(client: moulin.Client, table: str) -> None:
    assert client.query(f"SELECT id FROM {table}", max_rows=1000).read_all().num_rows == 1000
    with pytest.raises(moulin.MoulinError, match="more than 10 rows"):
        client.query(f"SELECT id FROM {table}", max_rows=10).read_all()


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        ("SELECT\n  idd FROM bronze.numbers", "the query: no column `idd`; did you mean `id`?"),
        ("SELECT\n  idd FROM bronze.numbers", "at line 2, column 3"),
        ("SELECT id FRM bronze.numbers", "Line: 1, Column: "),
        ("SELECT * FROM numbers", "write namespace.table"),
        ("SELECT * FROM bronze.letters", "bronze.letters"),
        ("DROP TABLE bronze.numbers", "may only be a SELECT"),
    ],
)
def test_a_wrong_query_is_told_where_it_is_wrong(client: moulin.Client, table: str, sql: str, words: str) -> None:
    with pytest.raises(moulin.MoulinError) as caught:
        client.query(sql)
    assert words in str(caught.value)


def test_a_query_on_the_command_line_prints_a_table_csv_or_json(table: str, state: Path) -> None:
    sql = f"SELECT id, kind FROM {table} WHERE id < 2 ORDER BY id"
    assert run_moulin(state, "query", sql, "--output", "csv").stdout == "id,kind\n0,a\n1,b\n"
    lines = run_moulin(state, "query", sql, "--output", "json").stdout.splitlines()
    assert [json.loads(line) for line in lines] == [{"id": 0, "kind": "a"}, {"id": 1, "kind": "b"}]
    shown = run_moulin(state, "query", sql)
    assert "| 0  | a    |" in shown.stdout
    assert "2 rows" in shown.stderr
    wrong = run_moulin(state, "query", "SELECT nothing FROM bronze.numbers")
    assert wrong.returncode == 2
    assert "no column `nothing`" in wrong.stderr
