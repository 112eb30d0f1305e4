"""Rejects of a table, read again with a corrected spec."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from moulin import _argument as argument
from moulin.errors import SpecTypeError

if TYPE_CHECKING:
    import polars as pl

    from moulin.landing import Landing
    from moulin.source import Source
    from moulin.spec import JobSpec, OnBadRow
    from moulin.transform import Transform


@dataclass(frozen=True, slots=True)
class Replay:
    """Which rejects of its target a job reads again."""

    where: str = ""
    """A SQL condition over the columns of the table of rejects; empty: all that no replay has taken."""

    def __post_init__(self) -> None:
        if not isinstance(self.where, str):
            raise SpecTypeError.about("replay where", self.where, "a SQL condition such as \"code = 'type.int'\"")

    def to_dict(self) -> dict[str, Any]:
        """The part of a job file."""
        return {"where": self.where} if self.where else {}

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Replay:
        """Reads the part of a job file, or what `to_dict` wrote."""
        return cls(**argument.fields("replay", value, ("where",)))


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayCounts:
    """Rejects that a replay looked at: matched = replayed + cut + without_bytes + other_format."""

    table: str
    """The table of rejects."""
    snapshot_id: int | None = None
    """The snapshot of it that was read; None: there is no such table, or nothing was ever in it."""
    matched: int = 0
    """Rejects that meet the condition and that no replay has taken."""
    replayed: int = 0
    """Of those, read again and marked."""
    cut: int = 0
    """Of those, left because only the first 64 KiB of the record were kept: load their files again."""
    without_bytes: int = 0
    """Of those, left because they are rows of Parquet files, which have no bytes of their own."""
    other_format: int = 0
    """Of those, left because they were read as another format than the source says."""
    empty: int = 0
    """Of the replayed ones, those in whose bytes the source finds no record any more, such as a comment."""

    def to_dict(self) -> dict[str, Any]:
        """The figures as JSON values; the snapshot id is a text."""
        snapshot = None if self.snapshot_id is None else str(self.snapshot_id)
        return {name: getattr(self, name) for name in self.__slots__} | {"snapshot_id": snapshot}

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> ReplayCounts:
        """Reads what `to_dict` wrote."""
        snapshot = value.get("snapshot_id")
        return cls(**{**value, "snapshot_id": None if snapshot is None else int(snapshot)})

    def __str__(self) -> str:
        left = self.cut + self.without_bytes + self.other_format
        rest = f", {left:,} left as they are" if left else ""
        return f"{self.replayed:,} of {self.matched:,} rejects replayed{rest}"


def replay(
    target: Landing | Mapping[str, Any] | str,
    source: Source | Mapping[str, Any],
    *,
    where: str = "",
    transform: Transform | pl.LazyFrame | Mapping[str, Any] | None = None,
    on_bad_row: OnBadRow = "quarantine",
    max_bad_rows: int | None = None,
    max_bad_ratio: float | None = None,
    deadline: timedelta | str | None = None,
) -> JobSpec:
    """A job that reads the rejects of a table again; what fits by now lands in the table.

        client.submit(moulin.replay("bronze.flights", csv(FILES, null_values=["NA", "n/a"]))).wait()

    `source` is that of the job that rejected the rows, corrected; its uris are not looked at, and columns that it does
    not declare have the types that the job found. `where` is a SQL condition over the columns of `<table>__rejects`.
    What was taken is marked there (`replayed_by`, `replayed_at`); what still does not fit is a reject again, at the
    place it has had from the first. With `on_bad_row="fail"` the first such row ends the job, and nothing changes.
    """
    from moulin.landing import iceberg
    from moulin.spec import JobSpec

    return JobSpec(
        source=source,
        target=iceberg(target) if isinstance(target, str) else target,
        transform=transform,
        on_bad_row=on_bad_row,
        max_bad_rows=max_bad_rows,
        max_bad_ratio=max_bad_ratio,
        deadline=deadline,
        replay=Replay(where),
    )
