"""What a sample of files holds, column by column."""

from __future__ import annotations

from dataclasses import dataclass

from moulin.plan import PlannedFile, PlannedOption
from moulin.source import Column
from moulin.text_table import text_table


@dataclass(frozen=True, slots=True, kw_only=True)
class InferredColumn:
    """What a sample holds of one column."""

    name: str
    type: str
    """In Iceberg's words."""
    origin: str
    """`declared`, `inferred`, `file`, `partition` or `provenance`."""
    values: int
    """Values of the sample, nulls among them."""
    nulls: int
    min: str
    """The smallest value in the order of the type, as text, at most 100 characters; empty: only nulls."""
    max: str
    """The largest value."""
    reason: str
    """Why this type: what was seen and which types it rules out."""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class InferredSource:
    """What a sample of the files holds, and why each column got its type. Its text is a table.

    The sample is the same for the same bytes, and so is what is inferred from it; what is declared always wins.
    """

    files: tuple[PlannedFile, ...]
    """In the order they are read."""
    columns: tuple[InferredColumn, ...]
    """In the order of the file."""
    rows: int
    """Records of the sample."""
    rows_bad: int
    """Of those, the ones that are bad whatever the types."""
    options: tuple[PlannedOption, ...]
    """How the files are read: every option with its value, chosen, declared or default."""

    def declared(self) -> tuple[Column, ...]:
        """The columns of the files with their types, to be declared: `csv(uri, columns=inferred.declared())`."""
        of_the_files = ("declared", "inferred", "file")
        return tuple(Column(one.name, one.type) for one in self.columns if one.origin in of_the_files)

    def __str__(self) -> str:
        bad = f", {self.rows_bad:,} of them bad" if self.rows_bad else ""
        files = "1 file" if len(self.files) == 1 else f"{len(self.files):,} files"
        head = ("column", "type", "origin", "values", "nulls", "min", "max", "why")
        rows = [
            (one.name, one.type, one.origin, f"{one.values:,}", f"{one.nulls:,}", one.min, one.max, one.reason)
            for one in self.columns
        ]
        chosen = [f"{one.name} = {one.value} ({one.reason})" for one in self.options if one.origin == "sniffed"]
        return "\n".join([f"{files}, {self.rows:,} records sampled{bad}", text_table(head, rows), *chosen])

    __repr__ = __str__
