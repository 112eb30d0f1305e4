"""Where rows go."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from moulin import _argument as argument

OnRerun = Literal["replace", "skip", "append"]
Nanoseconds = Literal["refuse", "floor"]
OnLoadedFile = Literal["skip", "reload", "fail"]
_ON_RERUN, _NANOSECONDS, _ON_LOADED_FILE = (get_args(words) for words in (OnRerun, Nanoseconds, OnLoadedFile))


@dataclass(frozen=True, slots=True, kw_only=True)
class Landing:
    """An Iceberg table in the worker's catalog. Made by `iceberg`."""

    table: str
    partition_by: tuple[str, ...] = ()
    properties: Mapping[str, str] = field(default_factory=dict, hash=False)
    on_rerun: OnRerun = "replace"
    sort_by: tuple[str, ...] = ()
    nanoseconds: Nanoseconds = "refuse"
    on_loaded_file: OnLoadedFile = "skip"

    def __post_init__(self) -> None:
        argument.table_name("iceberg table", self.table)
        # DAG files make many of these, and what is not said cannot be wrong.
        if self.partition_by != ():
            fields = argument.texts("iceberg partition_by", self.partition_by)
            checked = [argument.partition_field(f"iceberg partition_by[{at}]", one) for at, one in enumerate(fields)]
            object.__setattr__(self, "partition_by", tuple(checked))
        if self.properties != {}:
            object.__setattr__(self, "properties", argument.properties("iceberg properties", self.properties))
        if self.on_rerun != "replace":
            argument.choice("iceberg on_rerun", self.on_rerun, _ON_RERUN)
        if self.sort_by != ():
            object.__setattr__(self, "sort_by", argument.texts("iceberg sort_by", self.sort_by))
        if self.nanoseconds != "refuse":
            argument.choice("iceberg nanoseconds", self.nanoseconds, _NANOSECONDS)
        if self.on_loaded_file != "skip":
            argument.choice("iceberg on_loaded_file", self.on_loaded_file, _ON_LOADED_FILE)

    def to_dict(self) -> dict[str, Any]:
        """The target as JSON values in the shape of a job file; defaults are left out."""
        found: dict[str, Any] = {"table": self.table}
        if self.partition_by:
            found["partition_by"] = list(self.partition_by)
        if self.properties:
            found["properties"] = dict(self.properties)
        if self.on_rerun != "replace":
            found["on_rerun"] = self.on_rerun
        if self.sort_by:
            found["sort_by"] = list(self.sort_by)
        if self.nanoseconds != "refuse":
            found["nanoseconds"] = self.nanoseconds
        if self.on_loaded_file != "skip":
            found["on_loaded_file"] = self.on_loaded_file
        return found

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Landing:
        """Reads the `target` of a job file, or what `to_dict` wrote."""
        known = ("table", "partition_by", "properties", "on_rerun", "sort_by", "nanoseconds", "on_loaded_file")
        found = argument.fields("target", value, known)
        return cls(
            table=argument.required("target", found, "table"),
            partition_by=found.get("partition_by", ()),
            properties=found.get("properties", {}),
            on_rerun=found.get("on_rerun", "replace"),
            sort_by=found.get("sort_by", ()),
            nanoseconds=found.get("nanoseconds", "refuse"),
            on_loaded_file=found.get("on_loaded_file", "skip"),
        )


# What is given is checked and put in its final form there, which the types of the fields do not say.
_Landing: Callable[..., Landing] = Landing


def iceberg(
    table: str,
    *,
    partition_by: str | Iterable[str] = (),
    properties: Mapping[str, str | int | float | bool] | None = None,
    on_rerun: OnRerun = "replace",
    sort_by: str | Iterable[str] = (),
    nanoseconds: Nanoseconds = "refuse",
    on_loaded_file: OnLoadedFile = "skip",
) -> Landing:
    """An Iceberg table, `namespace.table`; namespace and table are made when absent.

    `partition_by` (`month(time_hour)`, `bucket(16, id)`, a column), `sort_by` (`time_hour`, `delay desc nulls last`)
    and `properties` are for the table this job makes; for one that exists `partition_by` and `sort_by` must be empty
    or equal to what it has.

    `on_rerun` says what becomes of the rows that this work landed before its task was cleared: the new ones
    `replace` them in one snapshot, the new run takes them for its own and is done (`skip`), or the new ones come to
    them (`append`).

    `nanoseconds`: times that are not whole microseconds are refused, or rounded down (`floor`).

    `on_loaded_file` says what becomes of a file that the table has been loaded with already, by another key: `skip`
    leaves it out and the receipt names it, `reload` loads it once more, `fail` ends the job before it reads a row.
    """
    return _Landing(
        table=table,
        partition_by=partition_by,
        properties=properties or {},
        on_rerun=on_rerun,
        sort_by=sort_by,
        nanoseconds=nanoseconds,
        on_loaded_file=on_loaded_file,
    )
