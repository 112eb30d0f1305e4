"""The table that the peers land in: a fresh SQLite catalog and a local warehouse, as PyIceberg makes them."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.schema import Schema
from pyiceberg.table import Table
from pyiceberg.types import DateType, DecimalType, IntegerType, LongType, NestedField, PrimitiveType, StringType

from benches.lineitem import COLUMNS

TABLE = "bench.lineitem"

ICEBERG: dict[str, PrimitiveType] = {
    "long": LongType(),
    "int": IntegerType(),
    "decimal(15,2)": DecimalType(15, 2),
    "string": StringType(),
    "date": DateType(),
}
ARROW: dict[str, pa.DataType] = {
    "long": pa.int64(),
    "int": pa.int32(),
    "decimal(15,2)": pa.decimal128(15, 2),
    "string": pa.string(),
    "date": pa.date32(),
}
ARROW_SCHEMA = pa.schema([(name, ARROW[kind]) for name, kind in COLUMNS.items()])


def catalog(folder: Path) -> SqlCatalog:
    """The catalog in a folder; made when it is not there."""
    return SqlCatalog("moulin", uri=f"sqlite:///{folder}/catalog.db", warehouse=f"file://{folder}/warehouse")


def create(folder: Path) -> Table:
    """A new, empty table."""
    (folder / "warehouse").mkdir(parents=True)
    fields = [NestedField(at, name, ICEBERG[kind]) for at, (name, kind) in enumerate(COLUMNS.items(), start=1)]
    made = catalog(folder)
    made.create_namespace("bench")
    return made.create_table(TABLE, Schema(*fields), properties={"write.parquet.compression-codec": "zstd"})
