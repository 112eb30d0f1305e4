"""Polars, lazily and with its streaming engine, then PyIceberg."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pyarrow as pa

from benches.lineitem import COLUMNS
from benches.peers import destination

POLARS: dict[str, pl.DataType] = {
    "long": pl.Int64(),
    "int": pl.Int32(),
    "decimal(15,2)": pl.Decimal(15, 2),
    "string": pl.String(),
    "date": pl.Date(),
}
SCHEMA = pl.Schema({name: POLARS[kind] for name, kind in COLUMNS.items()})
versions = {"polars": pl.__version__}


def scan(file: Path, file_format: str) -> pl.LazyFrame:
    """The file with the types of the table."""
    match file_format:
        case "csv":
            return pl.scan_csv(file, schema=SCHEMA)
        case "ndjson":
            # The NDJSON reader takes no decimals; two digits survive the way through a double.
            decimals = [name for name, dtype in SCHEMA.items() if isinstance(dtype, pl.Decimal)]
            doubles = {name: pl.Float64() if name in decimals else dtype for name, dtype in SCHEMA.items()}
            return pl.scan_ndjson(file, schema=doubles).with_columns(pl.col(decimals).cast(pl.Decimal(15, 2)))
        case _:
            return pl.scan_parquet(file)


def land(file: Path, file_format: str, folder: Path) -> None:
    """Appends batch by batch while the streaming engine reads; twice as fast as collecting first."""
    table = destination.create(folder)

    def batches() -> Iterator[pa.RecordBatch]:
        for part in scan(file, file_format).collect_batches(chunk_size=1_000_000, maintain_order=True):
            yield from part.to_arrow().cast(destination.ARROW_SCHEMA).to_batches()

    table.append(pa.RecordBatchReader.from_batches(destination.ARROW_SCHEMA, batches()))
