"""The input: TPC-H `lineitem` as CSV, NDJSON and Parquet, made by tpchgen-cli, and how it is typed everywhere."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

FORMATS = ("csv", "ndjson", "parquet")

# Name -> type in Iceberg's words. Every tool has to land exactly these.
COLUMNS = {
    "l_orderkey": "long",
    "l_partkey": "long",
    "l_suppkey": "long",
    "l_linenumber": "int",
    "l_quantity": "decimal(15,2)",
    "l_extendedprice": "decimal(15,2)",
    "l_discount": "decimal(15,2)",
    "l_tax": "decimal(15,2)",
    "l_returnflag": "string",
    "l_linestatus": "string",
    "l_shipdate": "date",
    "l_commitdate": "date",
    "l_receiptdate": "date",
    "l_shipinstruct": "string",
    "l_shipmode": "string",
    "l_comment": "string",
}


def data_folder(scale: str) -> Path:
    """`$BENCH_DATA/sf<scale>`, or in the clone."""
    base = os.environ.get("BENCH_DATA") or str(Path(__file__).resolve().parent / "data")
    return Path(base) / f"sf{scale}"


def make(scale: str, file_format: str) -> Path:
    """The file of one scale and format; made when it is not there yet."""
    folder = data_folder(scale)
    file = folder / f"lineitem.{file_format}"
    if file.exists():
        return file
    folder.mkdir(parents=True, exist_ok=True)
    print(f"making {file}", flush=True)
    if file_format == "ndjson":
        _make_ndjson(make(scale, "parquet"), file)
        return file
    making = folder / "making"
    tool = str(Path(sys.executable).parent / "tpchgen-cli")
    command = [tool, file_format, "-s", scale, "--tables=lineitem", f"--output-dir={making}", "--quiet"]
    subprocess.run(command, check=True)
    (making / file.name).rename(file)
    making.rmdir()
    return file


def _make_ndjson(parquet: Path, file: Path) -> None:
    """tpchgen-cli writes no NDJSON. DuckDB writes decimals as JSON numbers, digit for digit."""
    import duckdb

    making = file.with_suffix(".making")
    duckdb.connect().execute(f"COPY (SELECT * FROM '{parquet}') TO '{making}' (FORMAT json)")
    making.rename(file)
