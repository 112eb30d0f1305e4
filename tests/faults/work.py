"""The jobs of a round, and what must come of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import moulin

ROWS = 24_000
FILES = 2
BAD_ROWS = 3


@dataclass(frozen=True)
class Work:
    """One job and its truth."""

    key: moulin.JobKey
    spec: moulin.JobSpec
    first_id: int

    def __hash__(self) -> int:
        return hash(self.key)

    @property
    def landed_ids(self) -> list[int]:
        """The ids of the rows that must be in the table."""
        return [n for n in range(self.first_id, self.first_id + ROWS) if n % 10 != 3]

    @property
    def filtered(self) -> int:
        """How many rows its transform leaves out."""
        return ROWS - len(self.landed_ids)


def work(folder: Path, table: str, number: int) -> Work:
    """A job with rows to land, to filter and to reject, in files of its own."""
    folder.mkdir(parents=True)
    first = number * ROWS
    share = ROWS // FILES
    for file in range(FILES):
        ids = range(first + file * share, first + (file + 1) * share)
        lines = [f"{n},{n % 4},name {n % 97},{n / 4}\n" for n in ids]
        (folder / f"{file}.csv").write_text("id,part,name,amount\n" + "".join(lines))
    with (folder / "0.csv").open("a") as last:
        last.write("".join(f"bad {number}.{row},0,x,1\n" for row in range(BAD_ROWS)))
    spec = moulin.JobSpec(
        source=moulin.csv(f"file://{folder}/*.csv", columns={"id": "long", "amount": "decimal(12,2)"}),
        transform=moulin.sql("SELECT * FROM input WHERE id % 10 <> 3"),
        target=moulin.iceberg(table, partition_by=["part"]),
        on_bad_row="quarantine",
    )
    return Work(moulin.JobKey(dag_id="chaos", run_id="run", task_id=f"land{number}"), spec, first)
