"""A table follows the rows where the contract lets it; old snapshots read as they were, also by PyIceberg."""

from __future__ import annotations

import json
from pathlib import Path

import moulin
from landed_table import LandedTable


def _land(client: moulin.Client, folder: Path, rows: list[dict[str, object]], **columns: str) -> moulin.Receipt:
    file = folder / f"{len(list(folder.iterdir()))}.ndjson"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    source = moulin.ndjson(f"file://{file}", columns=columns)
    receipt = client.submit(moulin.JobSpec(source=source, target=moulin.iceberg("bronze.numbers"))).wait(60).receipt
    assert receipt is not None
    return receipt


def test_columns_come_types_widen_and_every_snapshot_reads_right(
    client: moulin.Client, table: LandedTable, tmp_path: Path
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    old = {"id": 1, "price": 0.5, "amount": "1.25", "at": {"x": 7}, "tags": [{"a": 1}]}
    types = {
        "id": "int",
        "price": "float",
        "amount": "decimal(9,2)",
        "at": "struct<x: int>",
        "tags": "list<struct<a: int>>",
    }
    first = _land(client, folder, [old], **types)
    new = {"id": 1 << 40, "price": 0.1, "amount": "12345678901.25", "at": {"x": 1 << 40, "y": "north"},
           "tags": [{"a": 2, "b": True}], "note": "new"}  # fmt: skip
    wider = {"id": "long", "price": "double", "amount": "decimal(20,2)", "at": "struct<x: long, y: string>",
             "tags": "list<struct<a: long, b: boolean>>", "note": "string"}  # fmt: skip
    second = _land(client, folder, [new], **wider)
    third = _land(client, folder, [old], **types)

    loaded = table.load()
    rows = sorted(loaded.scan().to_arrow().to_pylist(), key=lambda row: row["id"])
    assert [row["id"] for row in rows] == [1, 1, 1 << 40]
    assert all(row["at"] == {"x": 7, "y": None} and row["tags"] == [{"a": 1, "b": None}] for row in rows[:2])
    assert (rows[2]["price"], str(rows[2]["amount"]), rows[2]["at"]) == (
        0.1,
        "12345678901.25",
        {"x": 1 << 40, "y": "north"},
    )
    assert (rows[2]["tags"], rows[2]["note"], rows[0]["note"]) == ([{"a": 2, "b": True}], "new", None)
    # Travelling back, the table is as it was.
    then = loaded.scan(snapshot_id=first.snapshot_id).to_arrow()
    assert then.schema.names == list(old)
    assert str(then.schema.field("id").type) == "int32"
    assert then.to_pylist()[0]["at"] == {"x": 7}
    assert [second.rows_landed, third.rows_landed] == [1, 1]
    assert len(loaded.schemas()) == 2


def test_a_job_that_fails_leaves_the_schema_as_it_was(
    client: moulin.Client, table: LandedTable, tmp_path: Path
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    _land(client, folder, [{"id": 1}], id="long")
    file = folder / "bad.ndjson"
    file.write_text('{"id": 2, "note": "x"}\n' * 1000 + "broken\n")
    source = moulin.ndjson(f"file://{file}", columns={"id": "long", "note": "string"})
    job = client.submit(moulin.JobSpec(source=source, target=moulin.iceberg("bronze.numbers")))
    try:
        job.wait(60)
    except moulin.JobFailed:
        pass
    else:
        raise AssertionError("the job landed a broken row")
    assert table.load().schema().column_names == ["id"]
