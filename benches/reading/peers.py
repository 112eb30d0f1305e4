"""How one would read a file to typed Arrow batches without Moulin.

A process a reading:

    python -m benches.reading.peers TOOL FILE FORMAT THREADS [sums]

It prints one JSON object: rows, wall and CPU seconds from the first call to the last batch, and with `sums` what
tells two readers apart (computed within the clock: such a run is not one to measure).
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from benches.lineitem import COLUMNS

ARROW = {
    "long": pa.int64(),
    "int": pa.int32(),
    "decimal(15,2)": pa.decimal128(15, 2),
    "string": pa.string(),
    "date": pa.date32(),
}
SCHEMA = pa.schema([(name, ARROW[kind]) for name, kind in COLUMNS.items()])

Batches = Iterator[pa.RecordBatch]


def polars_batches(file: Path, file_format: str, threads: int) -> Batches:
    """Polars' streaming engine."""
    os.environ["POLARS_MAX_THREADS"] = str(threads)
    import polars as pl

    from benches.peers.polars_pyiceberg import scan

    for part in scan(file, file_format).collect_batches():
        yield from part.to_arrow(compat_level=pl.CompatLevel.newest()).to_batches()


def duckdb_batches(file: Path, file_format: str, threads: int) -> Batches:
    """DuckDB, streaming."""
    import duckdb

    from benches.peers.duckdb_pyiceberg import query

    connection = duckdb.connect(config={"threads": threads})
    yield from connection.sql(query(file, file_format)).to_arrow_reader(100_000)


def pyarrow_batches(file: Path, file_format: str, threads: int) -> Batches:
    """PyArrow's readers; the ones for text read the whole file."""
    import pyarrow.csv
    import pyarrow.json
    import pyarrow.parquet

    pa.set_cpu_count(threads)
    match file_format:
        case "csv":
            read = pyarrow.csv.ReadOptions(use_threads=threads > 1)
            # An empty text is null for PyArrow only when that is asked for: as everywhere here, it is not.
            convert = pyarrow.csv.ConvertOptions(column_types=SCHEMA)
            table = pyarrow.csv.read_csv(file, read_options=read, convert_options=convert)
        case "ndjson":
            # Its JSON reader has no dates: they are cast from texts.
            fields = [pa.field(f.name, pa.string() if pa.types.is_date(f.type) else f.type) for f in SCHEMA]
            parse = pyarrow.json.ParseOptions(explicit_schema=pa.schema(fields))
            read = pyarrow.json.ReadOptions(use_threads=threads > 1)
            table = pyarrow.json.read_json(file, read_options=read, parse_options=parse).cast(SCHEMA)
        case _:
            yield from pyarrow.parquet.ParquetFile(file).iter_batches(use_threads=threads > 1)
            return
    yield from table.to_batches()


TOOLS: dict[str, Callable[[Path, str, int], Batches]] = {
    "polars": polars_batches,
    "duckdb": duckdb_batches,
    "pyarrow": pyarrow_batches,
}


def add_sums(batch: pa.RecordBatch, sums: dict[str, int]) -> None:
    """Sums of numbers (decimals without their point), extremes of dates in days, bytes of texts, nulls."""
    for field, column in zip(batch.schema, batch.columns, strict=True):
        sums["nulls"] = sums.get("nulls", 0) + column.null_count
        if pa.types.is_date(field.type):
            found = pc.min_max(column.cast(pa.int32())).as_py()
            for which, better in (("min", min), ("max", max)):
                name = f"{which} {field.name}"
                sums[name] = better(sums.get(name, found[which]), found[which])
            continue
        if pa.types.is_decimal(field.type):
            value = int(pc.sum(column).as_py().scaleb(field.type.scale))
        elif pa.types.is_integer(field.type):
            value = pc.sum(column).as_py()
        else:
            value = pc.sum(pc.binary_length(column.cast(pa.large_string()))).as_py()
        sums[f"sum {field.name}"] = sums.get(f"sum {field.name}", 0) + value


def main() -> None:
    """Reads once and tells the figures."""
    tool, file, file_format, threads, *more = sys.argv[1:]
    used, started = os.times(), time.perf_counter()
    rows, sums = 0, dict[str, int]()
    for batch in TOOLS[tool](Path(file), file_format, int(threads)):
        rows += batch.num_rows
        if more:
            add_sums(batch, sums)
    wall, now = time.perf_counter() - started, os.times()
    cpu = now.user + now.system - used.user - used.system
    print(json.dumps({"rows": rows, "wall_s": wall, "cpu_s": cpu, "sums": {k: str(v) for k, v in sums.items()}}))


if __name__ == "__main__":
    main()
