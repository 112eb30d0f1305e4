"""Where rows go."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from moulin import _argument as argument


@dataclass(frozen=True, slots=True, kw_only=True)
class Landing:
    """An Iceberg table in the worker's catalog. Made by `iceberg`."""

    table: str
    partition_by: tuple[str, ...] = ()
    properties: Mapping[str, str] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        argument.table_name("iceberg table", self.table)
        fields = argument.texts("iceberg partition_by", self.partition_by)
        checked = (argument.partition_field(f"iceberg partition_by[{at}]", one) for at, one in enumerate(fields))
        object.__setattr__(self, "partition_by", tuple(checked))
        object.__setattr__(self, "properties", argument.properties("iceberg properties", self.properties))

    def to_dict(self) -> dict[str, Any]:
        """The target as JSON values in the shape of a job file; defaults are left out."""
        found: dict[str, Any] = {"table": self.table}
        if self.partition_by:
            found["partition_by"] = list(self.partition_by)
        if self.properties:
            found["properties"] = dict(self.properties)
        return found

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Landing:
        """Reads the `target` of a job file, or what `to_dict` wrote."""
        found = argument.fields("target", value, ("table", "partition_by", "properties"))
        return cls(
            table=argument.required("target", found, "table"),
            partition_by=found.get("partition_by", ()),
            properties=found.get("properties", {}),
        )


def iceberg(
    table: str,
    *,
    partition_by: str | Iterable[str] = (),
    properties: Mapping[str, str | int | float | bool] | None = None,
) -> Landing:
    """An Iceberg table, `namespace.table`; namespace and table are made when absent.

    `partition_by` (`month(time_hour)`, `bucket(16, id)`, a column) and `properties` are for the table this job
    makes; for one that exists `partition_by` must be empty or equal to what it has.
    """
    return Landing(
        table=table,
        partition_by=argument.texts("iceberg partition_by", partition_by),
        properties=argument.properties("iceberg properties", properties or {}),
    )
