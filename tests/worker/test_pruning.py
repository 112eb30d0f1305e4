"""Rows that a filter leaves out are accounted for, whether or not anybody read them."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import moulin
from landed_table import LandedTable

ROWS, GROUP = 100_000, 10_000


@pytest.mark.parametrize(
    ("query", "landed", "filtered"),
    [
        ("SELECT id FROM input WHERE id >= 95000", 5_000, 95_000),
        ("SELECT id, upper(name) AS name FROM input WHERE id IN (1, 99999)", 2, 99_998),
        ("SELECT id FROM input WHERE id < 0", 0, 100_000),
        ("SELECT name AS id, count(*) AS n FROM input WHERE id < 10000 GROUP BY name", 7, None),
    ],
)
def test_rows_of_row_groups_that_are_passed_over_are_filtered(
    client: moulin.Client, table: LandedTable, tmp_path: Path, query: str, landed: int, filtered: int | None
) -> None:
    ids = pa.array(range(ROWS), pa.int64())
    names = pa.array([f"name {n % 7}" for n in range(ROWS)])
    # What nobody asks for is not even fetched.
    wide = pa.array([f"{n * 7919 % 100_003:>64}" for n in range(ROWS)])
    file = tmp_path / "a.parquet"
    pq.write_table(pa.table({"id": ids, "name": names, "wide": wide}), file, row_group_size=GROUP)
    spec = moulin.JobSpec(
        source=moulin.parquet(f"file://{file}"),
        transform=moulin.sql(query),
        target=moulin.iceberg("bronze.numbers"),
    )
    receipt = client.submit(spec).wait(60).receipt
    assert receipt is not None
    assert (receipt.rows_read, receipt.rows_landed, receipt.rows_rejected) == (ROWS, landed, 0)
    assert receipt.rows_filtered == filtered
    assert receipt.bytes_read < file.stat().st_size / 2
    if landed:
        assert table.load().scan().to_arrow().num_rows == landed


def test_a_bad_value_in_a_column_that_nobody_asks_for_is_rejected(
    client: moulin.Client, table: LandedTable, tmp_path: Path
) -> None:
    file = tmp_path / "a.csv"
    file.write_text("id,day\n1,2024-01-02\n2,soon\n3,2024-01-04\n")
    spec = moulin.JobSpec(
        source=moulin.csv(f"file://{file}", columns={"id": "long", "day": "date"}),
        transform=moulin.sql("SELECT id FROM input"),
        target=moulin.iceberg("bronze.numbers"),
        on_bad_row="skip",
    )
    receipt = client.submit(spec).wait(60).receipt
    assert receipt is not None
    assert (receipt.rows_read, receipt.rows_landed, receipt.rows_rejected) == (3, 2, 1)
    table.holds_each_row_once([1, 3])
