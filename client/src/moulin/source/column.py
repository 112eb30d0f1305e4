"""Declared columns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from moulin import _argument as argument
from moulin import _options as options
from moulin.errors import SpecError, SpecTypeError
from moulin.source.column_type import column_type

Columns = Mapping[str, str] | Iterable["Column | Mapping[str, Any] | tuple[str, str]"]

_NUMBERS = ("int", "long", "float", "double", "decimal(")
_MOMENTS = ("date", "time", "timestamp", "timestamptz")


@dataclass(frozen=True, slots=True)
class Column:
    """A declared column: its name, its type in Iceberg's words, and how its values are written.

    What is left out is as the format says. `docs/reference/source.md` has the meaning of every field.
    """

    name: str
    type: str
    null_values: tuple[str, ...] = ()
    format: str | None = None
    timezone: str | None = None
    true_values: tuple[str, ...] = ()
    false_values: tuple[str, ...] = ()
    decimal_separator: str | None = None
    thousands_separator: str | None = None

    def __post_init__(self) -> None:
        argument.text("column name", self.name)
        at = f"columns[{self.name!r}]"
        object.__setattr__(self, "type", column_type(at, self.type))
        for name in ("null_values", "true_values", "false_values"):
            object.__setattr__(self, name, argument.texts(f"{at} {name}", getattr(self, name), blank=True))
        for name in ("format", "timezone"):
            if getattr(self, name) is not None:
                argument.text(f"{at} {name}", getattr(self, name))
        for name in ("decimal_separator", "thousands_separator"):
            if getattr(self, name) is not None:
                argument.one_character(f"{at} {name}", getattr(self, name))
        if not argument.is_template(self.type):
            self._check_options_are_of_the_type(at)

    def _check_options_are_of_the_type(self, at: str) -> None:
        is_number = self.type.startswith(_NUMBERS)
        fitting = {
            "format": (self.type in _MOMENTS, "none: it is for date, time, timestamp and timestamptz columns"),
            "timezone": (self.type == "timestamptz", "none: it is for timestamptz columns"),
            "true_values": (self.type == "boolean", "none: it is for boolean columns"),
            "false_values": (self.type == "boolean", "none: it is for boolean columns"),
            "decimal_separator": (is_number, "none: it is for columns of numbers"),
            "thousands_separator": (is_number, "none: it is for columns of numbers"),
        }
        for name, (fits, expected) in fitting.items():
            if getattr(self, name) and not fits:
                raise SpecError.about(f"{at} {name}", getattr(self, name), f"{expected}, this one is {self.type}")

    def to_dict(self) -> dict[str, Any]:
        """The column as JSON values in the shape of a job file."""
        return options.to_dict(self)


def columns_from(value: object) -> tuple[Column, ...]:
    """Columns as people give them: `{"price": "decimal(12,2)"}`, pairs, dicts or `Column`s."""
    if isinstance(value, Mapping):
        value = tuple(value.items())
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise SpecTypeError.about("columns", value, "a dict of names and types, e.g. {'price': 'decimal(12,2)'}")
    found = tuple(_column(f"columns[{at}]", one) for at, one in enumerate(value))
    argument.distinct("columns", [column.name for column in found])
    return found


def _column(name: str, value: object) -> Column:
    if isinstance(value, Column):
        return value
    if isinstance(value, Mapping):
        return options.from_dict(Column, name, value)
    if isinstance(value, tuple | list) and len(value) == 2:
        return Column(value[0], value[1])
    raise SpecTypeError.about(name, value, "a name and a type")
