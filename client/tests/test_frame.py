"""Empty frames from columns."""

from __future__ import annotations

import polars as pl
import pytest

import moulin


def test_columns_of_a_plan_become_a_schema() -> None:
    types = {
        "boolean": pl.Boolean(), "int": pl.Int32(), "long": pl.Int64(), "float": pl.Float32(), "double": pl.Float64(),
        "decimal(12,2)": pl.Decimal(12, 2), "date": pl.Date(), "time": pl.Time(), "timestamp": pl.Datetime("us"),
        "timestamptz": pl.Datetime("us", "UTC"), "string": pl.String(), "binary": pl.Binary(),
        "list<string>": pl.List(pl.String()),
        "struct<a: int, b: list<struct<c: decimal(3,1)>>>": pl.Struct(
            {"a": pl.Int32(), "b": pl.List(pl.Struct({"c": pl.Decimal(3, 1)}))}
        ),
    }  # fmt: skip
    frame = moulin.empty_frame([moulin.PlannedColumn(text, text, True, "file") for text in types])
    assert frame.collect_schema() == {text: kind for text, kind in types.items()}  # noqa: C416
    assert frame.collect().height == 0


def test_a_type_polars_lacks_is_named() -> None:
    with pytest.raises(moulin.SpecError, match=r"column 'm' type: found 'map<string, int>'"):
        moulin.empty_frame({"m": "map<string, int>"})
