"""dlt, whose files PyArrow reads, then dlt's own Iceberg tables, which PyIceberg writes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

# Read when dlt is imported: nothing is told to anybody, and nothing is looked for outside of the job's folder.
os.environ |= {"RUNTIME__DLTHUB_TELEMETRY": "false", "RUNTIME__LOG_LEVEL": "ERROR"}

import dlt
import pyarrow as pa
import pyarrow.compute as compute
import pyarrow.csv as pc
import pyarrow.json as pj
import pyarrow.parquet as pq
from dlt.destinations import filesystem

from benches.peers import destination

versions = {"dlt": dlt.__version__, "pyarrow": pa.__version__}


def tables(file: Path, file_format: str) -> Iterator[pa.Table]:
    """The file with the types of the table, as Arrow: dlt's way for rows that need no work."""
    match file_format:
        case "csv":
            options = pc.ConvertOptions(column_types=destination.ARROW_SCHEMA)
            for batch in pc.open_csv(file, pc.ReadOptions(block_size=16 << 20), convert_options=options):
                yield pa.Table.from_batches([batch])
        case "ndjson":
            # The reader takes decimals and dates from texts only: numbers go through doubles, which two digits survive.
            read = {pa.types.is_decimal: pa.float64(), pa.types.is_date: pa.string()}
            kinds = [
                next((kind for test, kind in read.items() if test(field.type)), field.type)
                for field in destination.ARROW_SCHEMA
            ]
            schema = pa.schema(list(zip(destination.ARROW_SCHEMA.names, kinds, strict=True)))
            options = pj.ParseOptions(explicit_schema=schema)
            for batch in pj.open_json(file, pj.ReadOptions(block_size=16 << 20), options):
                yield _typed(pa.Table.from_batches([batch]))
        case _:
            for batch in pq.ParquetFile(file).iter_batches(1 << 18):
                yield pa.Table.from_batches([batch]).cast(destination.ARROW_SCHEMA)


def _typed(table: pa.Table) -> pa.Table:
    columns = []
    for field in destination.ARROW_SCHEMA:
        column = table[field.name]
        if pa.types.is_decimal(field.type):
            column = compute.round(column.cast(pa.decimal128(25, 8)), 2)
        columns.append(column.cast(field.type))
    return pa.table(columns, schema=destination.ARROW_SCHEMA)


def land(file: Path, file_format: str, folder: Path) -> None:
    """Extracts, normalizes and loads into Iceberg; then the table is put into the catalog that all tools have."""
    (folder / "warehouse").mkdir(parents=True)
    pipeline = dlt.pipeline(
        "bench",
        destination=filesystem(f"file://{folder}/warehouse"),
        dataset_name="bench",
        pipelines_dir=str(folder / "dlt"),
    )
    rows = dlt.resource(tables(file, file_format), name="lineitem", table_format="iceberg")
    pipeline.run(rows, loader_file_format="parquet").raise_on_failed_jobs()
    newest = max(
        (folder / "warehouse" / "bench" / "lineitem" / "metadata").glob("*.metadata.json"), key=os.path.getmtime
    )
    catalog = destination.catalog(folder)
    catalog.create_namespace("bench")
    catalog.register_table(destination.TABLE, f"file://{newest}")
