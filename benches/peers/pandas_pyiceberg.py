"""pandas with Arrow types and pyarrow's readers, then PyIceberg."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pyarrow as pa

from benches.peers import destination

versions = {"pandas": pd.__version__, "pyarrow": pa.__version__}


def read(file: Path, file_format: str) -> pd.DataFrame:
    """The file as pandas reads it: dates and strings right, decimals as numbers."""
    match file_format:
        case "csv":
            return pd.read_csv(file, engine="pyarrow", dtype_backend="pyarrow")
        case "ndjson":
            return pd.read_json(file, lines=True, engine="pyarrow", dtype_backend="pyarrow")
        case _:
            return pd.read_parquet(file, dtype_backend="pyarrow")


def exact(column: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    """The column in its type. pandas hands no decimal type to its readers; two digits survive the way by a double."""
    if column.type == kind:
        return column
    if pa.types.is_decimal(kind) and pa.types.is_integer(column.type):
        column = column.cast(pa.decimal128(21, 2))
    return column.cast(kind)


def land(file: Path, file_format: str, folder: Path) -> None:
    """Reads the whole and appends it."""
    table = destination.create(folder)
    rows = pa.Table.from_pandas(read(file, file_format), preserve_index=False)
    columns = [exact(rows[field.name], field.type) for field in destination.ARROW_SCHEMA]
    table.append(pa.Table.from_arrays(columns, schema=destination.ARROW_SCHEMA))
