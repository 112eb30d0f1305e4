"""Iceberg tables as inputs of a job."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from moulin import _argument as argument
from moulin.errors import SpecError, SpecTypeError


@dataclass(frozen=True, slots=True)
class TablePin:
    """A table as it stood when a job was accepted: what every attempt reads."""

    snapshot_id: int | None
    """None: the table had no snapshot, so it has no rows."""
    schema_id: int
    """The schema whose columns are seen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TableInput:
    """A table that a job reads, and which of its snapshots. Made by `table`."""

    table: str
    snapshot_id: int | None = None
    ref: str = ""
    """A branch or a tag; empty: none is named."""
    as_of: datetime | None = None
    pinned: TablePin | None = None
    """What was found when the job was accepted. Set by the worker; of no meaning in a submit."""

    def __post_init__(self) -> None:
        argument.table_name("table", self.table)
        if not isinstance(self.ref, str):
            raise SpecTypeError.about("table ref", self.ref, "the name of a branch or a tag")
        if self.snapshot_id is not None:
            argument.count("table snapshot_id", self.snapshot_id)
        object.__setattr__(self, "as_of", _moment(self.as_of))
        if sum((self.snapshot_id is not None, bool(self.ref), self.as_of is not None)) > 1:
            raise SpecError.about("table", self.table, "one of snapshot_id, ref and as_of, not several")

    def to_dict(self) -> dict[str, Any]:
        """The input as JSON values in the shape of a job file."""
        found: dict[str, Any] = {"table": self.table}
        if self.snapshot_id is not None:
            found["snapshot_id"] = self.snapshot_id
        if self.ref:
            found["ref"] = self.ref
        if self.as_of is not None:
            found["as_of"] = self.as_of.isoformat().replace("+00:00", "Z")
        return found

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> TableInput:
        """Reads an input of a job file, or what `to_dict` wrote."""
        found = argument.fields("tables", value, ("table", "snapshot_id", "ref", "as_of"))
        argument.required("tables", found, "table")
        return cls(**found)


def table(
    name: str, *, snapshot_id: int | None = None, ref: str = "", as_of: datetime | str | None = None
) -> TableInput:
    """An Iceberg table as an input of a job.

    `JobSpec(tables={"flights": table("bronze.flights")}, ...)`: the transform knows it by that name. Without
    more it is the table as it is when the job is accepted; every attempt and every retry reads that snapshot.

    Args:
        name: `namespace.table`.
        snapshot_id: this snapshot.
        ref: the snapshot that this branch or tag names.
        as_of: the snapshot that was the table's at this moment; a text is ISO 8601, a moment without zone is UTC.

    """
    return TableInput(table=name, snapshot_id=snapshot_id, ref=ref, as_of=_moment(as_of))


@dataclass(frozen=True, slots=True)
class TableRead:
    """What a job read of one table."""

    name: str
    """The input's name."""
    table: str
    snapshot_id: int | None
    """None: the table had none."""
    rows_read: int
    """Rows that its scans handed on: not deleted, and not left out because of a condition of the transform."""
    files: int
    """Data files opened."""
    files_pruned: int
    """Data files that the transform's conditions let the scan leave out."""
    bytes: int
    """Size of the data files opened."""

    def to_dict(self) -> dict[str, Any]:
        """The figures as JSON values. The snapshot id is a text: 64 bits do not survive JavaScript."""
        found = {name: getattr(self, name) for name in ("name", "table", "rows_read", "files", "files_pruned", "bytes")}
        return found | {"snapshot_id": None if self.snapshot_id is None else str(self.snapshot_id)}

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> TableRead:
        """Reads what `to_dict` wrote."""
        found = cls(**value)
        return found if found.snapshot_id is None else replace(found, snapshot_id=int(found.snapshot_id))


def tables_from(value: object) -> dict[str, TableInput]:
    """The inputs of a spec: by name, each a `TableInput`, a dict or the name of a table alone.

    Raises:
        SpecError: a name that SQL and Python cannot write.

    """
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise SpecTypeError.about("tables", value, "names and tables: {'flights': table('bronze.flights')}")
    found = {}
    for name, one in value.items():
        if not isinstance(name, str) or not name.isidentifier() or name == "input":
            raise SpecError.about("tables", name, "a name of letters, digits and _, other than 'input'")
        if isinstance(one, str):
            one = table(one)
        elif isinstance(one, Mapping):
            one = TableInput.from_dict(one)
        if not isinstance(one, TableInput):
            raise SpecTypeError.about(f"tables.{name}", one, "table('namespace.table')")
        found[name] = one
    return found


def _moment(value: object) -> datetime | None:
    if value is None:
        return None
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError as error:
            raise SpecError.about("table as_of", value, "a moment such as 2026-01-31T08:00:00Z") from error
    if not isinstance(value, datetime):
        raise SpecTypeError.about("table as_of", value, "a datetime or a text in ISO 8601")
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
