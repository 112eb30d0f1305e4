"""What a job is to do, and who asks for it."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_args

from moulin import _argument as argument
from moulin.errors import SpecError, SpecTypeError
from moulin.landing import Landing
from moulin.replaying import Replay
from moulin.source import Source
from moulin.tables import TableInput, tables_from
from moulin.transform import Transform, transform_from

if TYPE_CHECKING:
    import polars as pl

OnBadRow = Literal["fail", "skip", "quarantine"]
_Part = TypeVar("_Part", Source, Landing, Replay)

_UNITS_US = {"us": 1, "ms": 1000, "s": 10**6, "m": 60 * 10**6, "h": 3600 * 10**6, "d": 86400 * 10**6}
_LONG_UNITS = {
    "usec": "us", "msec": "ms", "sec": "s", "second": "s", "seconds": "s", "min": "m", "minute": "m", "minutes": "m",
    "hr": "h", "hour": "h", "hours": "h", "day": "d", "days": "d",
}  # fmt: skip
_DURATION_PART = re.compile(r"\s*(\d+)\s*([a-z]+)\s*")


@dataclass(frozen=True, slots=True)
class JobKey:
    """Who asks: in Airflow one task instance. Two submits of one key and generation make one job."""

    task_id: str
    dag_id: str = ""
    run_id: str = ""
    map_index: int = -1
    """-1: the task is not mapped."""

    def __post_init__(self) -> None:
        argument.text("key task_id", self.task_id)
        for name in ("dag_id", "run_id"):
            if not isinstance(getattr(self, name), str):
                raise SpecTypeError.about(f"key {name}", getattr(self, name), "a text, possibly empty")
        if isinstance(self.map_index, bool) or not isinstance(self.map_index, int):
            raise SpecTypeError.about("key map_index", self.map_index, "a whole number, -1 when not mapped")
        if not -(2**31) <= self.map_index < 2**31:
            raise SpecError.about("key map_index", self.map_index, "a number of 32 bits")

    @classmethod
    def fresh(cls, table: str) -> JobKey:
        """A key that nobody else has, for a job outside Airflow."""
        return cls(task_id=table, run_id=str(uuid.uuid4()))

    def to_dict(self) -> dict[str, Any]:
        """The key as JSON values; `JobKey(**value)` reads it back."""
        return {"dag_id": self.dag_id, "run_id": self.run_id, "task_id": self.task_id, "map_index": self.map_index}


@dataclass(frozen=True, slots=True, init=False)
class JobSpec:
    """Files or tables to read, transform, target, what to do with bad rows, and the time the job may take."""

    source: Source | None
    transform: Transform | None
    target: Landing
    on_bad_row: OnBadRow
    max_bad_rows: int | None
    max_bad_ratio: float | None
    deadline: timedelta | None
    tables: Mapping[str, TableInput] = field(hash=False)
    replay: Replay | None

    def __init__(
        self,
        *,
        source: Source | Mapping[str, Any] | None = None,
        target: Landing | Mapping[str, Any],
        transform: Transform | pl.LazyFrame | Mapping[str, Any] | None = None,
        on_bad_row: OnBadRow = "fail",
        max_bad_rows: int | None = None,
        max_bad_ratio: float | None = None,
        deadline: timedelta | str | None = None,
        tables: Mapping[str, TableInput | Mapping[str, Any] | str] | None = None,
        replay: Replay | Mapping[str, Any] | None = None,
    ) -> None:
        """Source and target come from the builders or as they stand in a job file; a LazyFrame is serialized here.

        `on_bad_row`: `fail` ends the job at the first row that does not fit, `skip` counts such rows and leaves them
        out, `quarantine` also keeps every one with its place, its reason and its bytes (`Client.rejects`).
        More than `max_bad_rows` of them, or at the end a larger share than `max_bad_ratio` (0 to 1) of all rows read,
        fail the job, and nothing is visible; None: no limit.
        `deadline` is the time from the submit over all attempts; None: the worker's `job.deadline`.
        `tables` are Iceberg tables to read, by the names that the transform knows them by:
        `{"flights": table("bronze.flights")}`. A job reads files, tables, or both; SQL knows the files as `input`.
        `replay`: the job reads the rejects of its target as `source` says, and no files; `moulin.replay` makes it.
        """
        set_field = object.__setattr__
        set_field(self, "tables", tables_from(tables))
        if source is None and not self.tables:
            raise SpecError.about("source", source, "files to read, or tables={'name': table('namespace.table')}")
        files = "csv(...), ndjson(...), json(...) or parquet(...)"
        set_field(self, "source", None if source is None else _made(Source, "source", source, files))
        set_field(self, "transform", transform_from(transform))
        set_field(self, "target", _made(Landing, "target", target, "iceberg('namespace.table')"))
        set_field(self, "on_bad_row", argument.choice("on_bad_row", on_bad_row, get_args(OnBadRow)))
        set_field(self, "max_bad_rows", _limit("max_bad_rows", max_bad_rows, argument.count, on_bad_row))
        set_field(self, "max_bad_ratio", _limit("max_bad_ratio", max_bad_ratio, argument.ratio, on_bad_row))
        set_field(self, "deadline", _deadline(deadline))
        set_field(self, "replay", None if replay is None else _made(Replay, "replay", replay, "Replay(where='...')"))
        if self.replay is not None and on_bad_row == "skip":
            raise SpecError.about(
                "on_bad_row", on_bad_row, "'quarantine' or 'fail': a replay keeps what still does not fit"
            )

    def to_dict(self) -> dict[str, Any]:
        """The spec as JSON values in the shape of a job file; defaults are left out."""
        found: dict[str, Any] = {}
        if self.source is not None:
            found["source"] = self.source.to_dict()
        if self.tables:
            found["tables"] = {name: one.to_dict() for name, one in self.tables.items()}
        if self.transform is not None:
            found["transform"] = self.transform.to_dict()
        found["target"] = self.target.to_dict()
        if self.on_bad_row != "fail":
            found["on_bad_row"] = self.on_bad_row
        for name in ("max_bad_rows", "max_bad_ratio"):
            if getattr(self, name) is not None:
                found[name] = getattr(self, name)
        if self.deadline is not None:
            found["deadline"] = duration_text(self.deadline)
        if self.replay is not None:
            found["replay"] = self.replay.to_dict()
        return found

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> JobSpec:
        """Reads a job file (`yaml.safe_load`, `json.load`), or what `to_dict` wrote."""
        found = argument.fields("job", value, tuple(field.name for field in fields(cls)))
        if not found.get("tables"):
            argument.required("job", found, "source")
        argument.required("job", found, "target")
        return cls(**found)

    def to_yaml(self) -> str:
        """The spec as a job file for `moulin run` and `moulin plan`."""
        return "\n".join(_yaml_lines(self.to_dict())) + "\n"


def _made(kind: type[_Part], name: str, value: object, expected: str) -> _Part:
    if isinstance(value, kind):
        return value
    if isinstance(value, Mapping):
        return kind.from_dict(value)
    raise SpecTypeError.about(name, value, expected)


def _limit(
    name: str, value: object, check: Callable[[str, object], int | float], on_bad_row: str
) -> int | float | None:
    if value is None:
        return None
    if on_bad_row == "fail":
        raise SpecError.about(name, value, "none: with on_bad_row = 'fail' the first bad row ends the job")
    return check(name, value)


def _deadline(value: object) -> timedelta | None:
    if value is None:
        return None
    if isinstance(value, str):
        value = _parse_duration(value)
    if not isinstance(value, timedelta):
        raise SpecTypeError.about("deadline", value, "a timedelta or a text such as '15m'")
    if value <= timedelta(0):
        raise SpecError.about("deadline", value, "a time longer than nothing")
    return value


def duration_text(value: timedelta) -> str:
    """A duration as job files write it, exact to the microsecond: `900s`, `1500ms`."""
    total_us = value // timedelta(microseconds=1)
    for unit in ("s", "ms"):
        if total_us % _UNITS_US[unit] == 0:
            return f"{total_us // _UNITS_US[unit]}{unit}"
    return f"{total_us}us"


def _parse_duration(value: str) -> timedelta:
    total_us, at = 0, 0
    while match := _DURATION_PART.match(value, at):
        unit = _LONG_UNITS.get(match[2], match[2])
        if unit not in _UNITS_US:
            break
        total_us += int(match[1]) * _UNITS_US[unit]
        at = match.end()
    if at != len(value) or at == 0:
        raise SpecError.about("deadline", value, "a text such as '90s', '15m' or '1h 30m'")
    return timedelta(microseconds=total_us)


def _yaml_lines(value: Mapping[str, Any], indent: str = "") -> list[str]:
    lines: list[str] = []
    for name, one in value.items():
        key = name if re.fullmatch(r"[a-z_]+", name) else _yaml_scalar(name)
        if isinstance(one, Mapping):
            lines.append(f"{indent}{key}:")
            lines.extend(_yaml_lines(one, indent + "  "))
        else:
            lines.append(f"{indent}{key}: {_yaml_scalar(one)}")
    return lines


def _yaml_scalar(value: object) -> str:
    """JSON is YAML, except that its escapes know no characters beyond 16 bits: those are written as they are."""
    shown = json.dumps(value, ensure_ascii=False)
    return "".join(c if c.isprintable() else f"\\U{ord(c):08x}" for c in shown)
