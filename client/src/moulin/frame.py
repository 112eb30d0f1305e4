"""From the columns of a plan to an empty Polars frame, on which a transform is written."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from moulin.errors import SpecError
from moulin.plan import PlannedColumn
from moulin.source import Column
from moulin.source.column_type import top_level_parts

if TYPE_CHECKING:
    import polars as pl
    from polars._typing import PolarsDataType

_DECIMAL = re.compile(r"decimal\(\s*(\d+)\s*,\s*(\d+)\s*\)")


def empty_frame(columns: Mapping[str, str] | Iterable[PlannedColumn | Column]) -> pl.LazyFrame:
    """A LazyFrame without rows that has these columns: `plan.input`, declared columns, or names and types.

    What is written on it can be given to a job as its transform. Imports polars.

    Raises:
        SpecError: a type that Polars has no counterpart for.

    """
    import polars as pl

    pairs = columns.items() if isinstance(columns, Mapping) else [(one.name, one.type) for one in columns]
    return pl.LazyFrame(schema={name: _polars_type(name, text.strip()) for name, text in pairs})


def _polars_type(name: str, text: str) -> PolarsDataType:
    import polars as pl

    simple: dict[str, PolarsDataType] = {
        "boolean": pl.Boolean(), "int": pl.Int32(), "long": pl.Int64(), "float": pl.Float32(), "double": pl.Float64(),
        "date": pl.Date(), "time": pl.Time(), "timestamp": pl.Datetime("us"), "timestamptz": pl.Datetime("us", "UTC"),
        "string": pl.String(), "binary": pl.Binary(),
    }  # fmt: skip
    if text in simple:
        return simple[text]
    if match := _DECIMAL.fullmatch(text):
        return pl.Decimal(int(match[1]), int(match[2]))
    if text.startswith("list<") and text.endswith(">"):
        return pl.List(_polars_type(name, text[5:-1].strip()))
    if text.startswith("struct<") and text.endswith(">"):
        fields = (part.partition(":") for part in top_level_parts(text[7:-1]))
        return pl.Struct({field.strip(): _polars_type(name, kind.strip()) for field, _, kind in fields})
    raise SpecError.about(
        f"column {name!r} type", text, "a type that Polars has: a primitive, list<...> or struct<...>"
    )
