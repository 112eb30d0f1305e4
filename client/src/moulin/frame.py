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


def empty_frame(
    columns: Mapping[str, str] | Iterable[PlannedColumn | Column], *, name: str | None = None
) -> pl.LazyFrame:
    """A LazyFrame without rows that has these columns: `plan.input`, declared columns, or names and types.

    What is written on it can be given to a job as its transform. `name` is that of the input which the frame stands
    for, in a job of several: a plan over several frames then says which is which, also where their columns are the
    same. Imports polars.

    Raises:
        SpecError: a type that Polars has no counterpart for.

    """
    import polars as pl

    pairs = columns.items() if isinstance(columns, Mapping) else [(one.name, one.type) for one in columns]
    frame = pl.LazyFrame(schema={column: _polars_type(column, text.strip()) for column, text in pairs})
    # The worker knows the frame by this filter, which keeps every row, and takes it out of the plan.
    return frame if name is None else frame.filter(pl.lit(f"moulin.input:{name}").is_not_null())


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
