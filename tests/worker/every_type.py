"""Rows with every column type and nulls in every column, as Arrow and written to each format."""

from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

ROWS = 200
NULL = "NA"
SCHEMA = pa.schema(
    {
        "n": pa.int64(),
        "boolean": pa.bool_(),
        "int": pa.int32(),
        "long": pa.int64(),
        "float": pa.float32(),
        "double": pa.float64(),
        "decimal": pa.decimal128(20, 3),
        "date": pa.date32(),
        "time": pa.time64("us"),
        "timestamp": pa.timestamp("us"),
        "timestamptz": pa.timestamp("us", "UTC"),
        "string": pa.string(),
        "binary": pa.binary(),
    }
)
COLUMNS = {name: {"n": "long", "decimal": "decimal(20,3)"}.get(name, name) for name in SCHEMA.names}


def _value(column: str, n: int) -> Any:
    step = n * 7919
    at = dt.datetime(1969, 12, 28) + dt.timedelta(hours=n, microseconds=step)  # on both sides of 1970
    values: dict[str, Any] = {
        "n": n,
        "boolean": n % 2 == 0,
        "int": (-1) ** n * step,
        "long": (-1) ** n * step * 10**4,
        "float": (-1) ** n * step / 8,
        "double": (-1) ** n * step / 1024,
        "decimal": Decimal((-1) ** n * step * 10**9 + n).scaleb(-3),
        "date": at.date(),
        "time": at.time(),
        "timestamp": at,
        "timestamptz": at.replace(tzinfo=dt.UTC),
        "string": f'{n % 10} "quoted", ünï {n}',
        "binary": f"b{n}".encode(),
    }
    return values[column]


def truth() -> pa.Table:
    """The rows; each column but `n` is null in every eleventh row, each in others."""
    columns = [
        pa.array([None if at and (n + at) % 11 == 0 else _value(name, n) for n in range(ROWS)], SCHEMA.field(name).type)
        for at, name in enumerate(SCHEMA.names)
    ]
    return pa.table(columns, schema=SCHEMA)


def write(format_name: str, folder: Path) -> Path:
    """Writes the rows to a file of one format."""
    file = folder / f"rows.{format_name}"
    match format_name:
        case "csv":
            lines = [",".join(_csv(value) for value in row.values()) for row in truth().to_pylist()]
            file.write_text("\n".join([",".join(SCHEMA.names), *lines, ""]))
        case "ndjson":
            rows = ({name: _json(value) for name, value in row.items()} for row in truth().to_pylist())
            file.write_text("".join(json.dumps(row) + "\n" for row in rows))
        case _:
            pq.write_table(truth(), file)
    return file


def _csv(value: Any) -> str:
    match value:
        case None:
            return NULL
        case bool():
            return str(value).lower()
        case bytes():
            return value.decode()
        case str():
            return '"' + value.replace('"', '""') + '"'
        case dt.date() | dt.time():
            return value.isoformat()
        case _:
            return str(value)


def _json(value: Any) -> Any:
    match value:
        case bytes():
            return value.hex()
        case dt.date() | dt.time():
            return value.isoformat()
        case Decimal():
            return str(value)
        case _:
            return value
