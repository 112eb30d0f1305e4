"""Input files whose truth is known."""

from __future__ import annotations

from pathlib import Path

import moulin
from moulin.landing import OnLoadedFile

FILES = 3
GOOD_ROWS = 90_000
BAD_ROWS = 2
FILTERED_ROWS = GOOD_ROWS // 10
LANDED_IDS = [n for n in range(GOOD_ROWS) if n % 10 != 3]


def numbered(folder: Path, rows: int = GOOD_ROWS, files: int = FILES) -> str:
    """CSV files with the ids 0, 1, 2, ... in order over all of them; gives their pattern."""
    folder.mkdir(parents=True, exist_ok=True)
    share = -(-rows // files)
    for number in range(files):
        ids = range(number * share, min((number + 1) * share, rows))
        lines = [f"{n},{n % 4},name {n % 97},{n / 4}\n" for n in ids]
        (folder / f"{number}.csv").write_text("id,part,name,amount\n" + "".join(lines))
    return f"file://{folder}/*.csv"


def job(folder: Path, table: str = "bronze.numbers", on_loaded_file: OnLoadedFile = "skip") -> moulin.JobSpec:
    """A job with rows to land, to filter and to reject, into four partitions."""
    pattern = numbered(folder)
    with (folder / "0.csv").open("a") as first:
        first.write("not a number,0,x,1\n" * BAD_ROWS)
    return moulin.JobSpec(
        source=moulin.csv(pattern, columns={"id": "long", "amount": "decimal(12,2)"}),
        transform=moulin.sql("SELECT * FROM input WHERE id % 10 <> 3"),
        target=moulin.iceberg(table, partition_by=["part"], on_loaded_file=on_loaded_file),
        on_bad_row="skip",
    )


def size_bytes(folder: Path) -> int:
    """Size of all files of the folder."""
    return sum(file.stat().st_size for file in folder.iterdir())
