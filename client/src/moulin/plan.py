"""What a job would do."""

from __future__ import annotations

from dataclasses import dataclass

from moulin.replaying import ReplayCounts


@dataclass(frozen=True, slots=True)
class PlannedFile:
    """An input file."""

    uri: str
    size_bytes: int
    etag: str
    """Entity tag; of a local file its inode and times of change; empty: nothing tells contents apart."""
    skipped: str = ""
    """Why the job would leave the file out; empty: it would be taken."""


@dataclass(frozen=True, slots=True)
class PlannedColumn:
    """A column of a plan, its type in Iceberg's words."""

    name: str
    type: str
    nullable: bool
    origin: str
    """For input columns: `declared`, `inferred`, `file`, `partition` or `provenance`; empty for output columns."""


@dataclass(frozen=True, slots=True)
class PlannedOption:
    """An option of the reader, with its value."""

    name: str
    """As in a job file: `csv.delimiter`."""
    value: str
    """As it is written there."""
    origin: str
    """`declared`, `sniffed` or `default`."""
    reason: str
    """Why it was chosen, when it was."""


@dataclass(frozen=True, slots=True)
class SchemaChange:
    """A difference between the rows and the table, and what the contract says to it."""

    column: str
    """With dots for fields of structs."""
    kind: str
    """`add_column`, `widen_type`, `change_type` or `make_optional`."""
    from_: str
    """The type in the table; empty: the table does not have the column."""
    to: str
    """The type of the rows; empty: the rows do not have the column."""
    mode: str
    """What is done: `evolve`, `freeze`, `discard_row` or `discard_value`."""


@dataclass(frozen=True, slots=True)
class PlannedTable:
    """A table that a job would read."""

    name: str
    """The input's name."""
    table: str
    snapshot_id: int | None
    """None: the table has none."""
    files: int
    rows: int
    """Before deletes are applied."""
    bytes: int
    columns: tuple[PlannedColumn, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class JobPlan:
    """What a job would do."""

    files: tuple[PlannedFile, ...]
    input: tuple[PlannedColumn, ...]
    """Columns of the rows read."""
    output: tuple[PlannedColumn, ...]
    """Columns of the rows landed."""
    table: str
    table_exists: bool
    table_location: str
    partition_by: tuple[str, ...]
    row_wise: bool
    """Whether the transform keeps at the most one row for one row, so that it runs in constant memory."""
    options: tuple[PlannedOption, ...] = ()
    """How the files are read: every option with its value, chosen, declared or default."""
    shards: int = 0
    """The parts that the files are read in; each may be read by itself."""
    changes: tuple[SchemaChange, ...] = ()
    """What differs between the rows and the table."""
    on_rerun: str = "replace"
    """What would become of the rows of the generation before, when the job is a redo."""
    tables: tuple[PlannedTable, ...] = ()
    """The tables that are inputs."""
    replay: ReplayCounts | None = None
    """The rejects that a replay would take; None: the job is no replay."""
