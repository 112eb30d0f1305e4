"""The jobs of a round, and what must come of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import moulin

ROWS = 24_000
FILES = 2
# Of each job, rows that do not fit: some that a replay lands, and one that never fits.
FIXABLE_ROWS = 2
BAD_ROWS = FIXABLE_ROWS + 1
# Ids of the rows that only a replay lands.
FIRST_FIXED = 10**8


@dataclass(frozen=True)
class Work:
    """One landing and its truth."""

    key: moulin.JobKey
    spec: moulin.JobSpec
    number: int
    generation: int = 0

    def __hash__(self) -> int:
        return hash((self.key, self.generation))

    @property
    def landed_ids(self) -> list[int]:
        """The ids of the rows that must be in the table."""
        first = self.number * ROWS
        return [n for n in range(first, first + ROWS) if n % 10 != 3]

    @property
    def fixed_ids(self) -> list[int]:
        """The ids of the rows that a replay lands."""
        first = FIRST_FIXED + self.number * FIXABLE_ROWS
        return list(range(first, first + FIXABLE_ROWS))

    @property
    def filtered(self) -> int:
        """How many rows its transform leaves out."""
        return ROWS - len(self.landed_ids)

    def redone(self) -> Work:
        """The same, asked for anew."""
        return replace(self, generation=self.generation + 1)


@dataclass(frozen=True)
class Replay:
    """A replay of the rejects of all jobs."""

    key: moulin.JobKey
    spec: moulin.JobSpec
    generation: int = 0

    def __hash__(self) -> int:
        return hash((self.key, self.generation))


def work(folder: Path, table: str, number: int) -> Work:
    """A job with rows to land, to filter and to reject, in files of its own."""
    folder.mkdir(parents=True)
    first = number * ROWS
    share = ROWS // FILES
    for file in range(FILES):
        ids = range(first + file * share, first + (file + 1) * share)
        lines = [f"{n},{n % 4},name {n % 97},{n / 4}\n" for n in ids]
        (folder / f"{file}.csv").write_text("id,part,name,amount\n" + "".join(lines))
    spec = moulin.JobSpec(
        source=moulin.csv(f"file://{folder}/*.csv", columns={"id": "long", "amount": "decimal(12,2)"}),
        transform=moulin.sql("SELECT * FROM input WHERE id % 10 <> 3"),
        target=moulin.iceberg(table, partition_by=["part"]),
        on_bad_row="quarantine",
    )
    made = Work(moulin.JobKey(dag_id="chaos", run_id="run", task_id=f"land{number}"), spec, number)
    with (folder / "0.csv").open("a") as last:
        last.write("".join(f"bad {n},0,fixed,1\n" for n in made.fixed_ids))
        last.write(f"never {number},0\n")
    return made


def replay(table: str, number: int) -> Replay:
    """A replay whose spec reads the ids that did not fit."""
    source = moulin.csv("file:///not/looked/at.csv", columns={"id": "string", "amount": "decimal(12,2)"})
    fixed = moulin.sql("SELECT CAST(replace(id, 'bad ', '') AS BIGINT) AS id, part, name, amount FROM input")
    return Replay(
        moulin.JobKey(dag_id="chaos", run_id="run", task_id=f"replay{number}"),
        moulin.replay(table, source, transform=fixed),
    )
