"""Moulin and PyIceberg write the same tables, through the same catalog."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest

import catalogs
import moulin
from catalogs import CatalogUnderTest
from local_stack.postgres import LocalPostgres
from worker_process import NewWorker

TABLE = "bronze.numbers"


@pytest.fixture(params=["sqlite", "postgres"])
def catalog(request: pytest.FixtureRequest, state: Path) -> CatalogUnderTest:
    if request.param == "sqlite":
        return catalogs.sqlite(state)
    server: LocalPostgres = request.getfixturevalue("postgres")
    return catalogs.postgres(state, server.new_database())


@pytest.fixture
def client(catalog: CatalogUnderTest, new_worker: NewWorker) -> Iterator[moulin.Client]:
    return new_worker(**catalog.settings).start()


def test_moulin_and_pyiceberg_write_one_table_in_turns(
    catalog: CatalogUnderTest, client: moulin.Client, tmp_path: Path
) -> None:
    for turn in range(3):
        ours, theirs = range(turn * 100, turn * 100 + 50), range(turn * 100 + 50, turn * 100 + 100)
        _land(client, tmp_path / str(turn), ours)
        table = catalog.open().load_table(TABLE)
        table.append(_rows(theirs).cast(table.schema().as_arrow()))

    table = catalog.open().load_table(TABLE)
    assert sorted(table.scan().to_arrow()["id"].to_pylist()) == list(range(300))
    snapshots = sorted(table.snapshots(), key=lambda snapshot: snapshot.sequence_number or 0)
    assert [s.summary and s.summary["total-records"] for s in snapshots] == [str(n) for n in range(50, 301, 50)]


def test_moulin_lands_in_a_table_that_pyiceberg_made_in_a_namespace_with_a_place(
    catalog: CatalogUnderTest, client: moulin.Client, tmp_path: Path
) -> None:
    theirs = catalog.open()
    theirs.create_namespace("silver", {"location": f"file://{tmp_path}/elsewhere"})
    theirs.create_table("silver.theirs", _rows(range(0)).schema)

    _land(client, tmp_path / "a", range(10), "silver.theirs")
    _land(client, tmp_path / "b", range(10), "silver.ours")

    for name in ("theirs", "ours"):
        table = theirs.load_table(f"silver.{name}")
        assert sorted(table.scan().to_arrow()["id"].to_pylist()) == list(range(10))
        assert table.location() == f"file://{tmp_path}/elsewhere/{name}"


def _land(client: moulin.Client, folder: Path, ids: range, table: str = TABLE) -> None:
    folder.mkdir()
    (folder / "rows.csv").write_text("id,name\n" + "".join(f"{n},name {n}\n" for n in ids))
    source = moulin.csv(f"file://{folder}/rows.csv", columns={"id": "long", "name": "string"})
    receipt = client.submit(moulin.JobSpec(source=source, target=moulin.iceberg(table))).wait(60).receipt
    assert receipt is not None
    assert receipt.rows_landed == len(ids)


def _rows(ids: range) -> pa.Table:
    return pa.table({"id": pa.array(ids, pa.int64()), "name": pa.array([f"name {n}" for n in ids], pa.string())})
