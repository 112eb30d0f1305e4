"""Reads tables with one engine, in a process and an environment of its own: `read.py ENGINE < tables.json > rows.json`.

Tables come by name, each with its folder, its metadata file, the columns that are left out, and dates that columns have to
equal. What comes out is, by the same names, `{"rows": [...]}` or `{"error": "..."}`.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import plain
import pyarrow as pa

Table = dict[str, Any]
Reader = Callable[[Table], pa.Table]


def duckdb() -> Reader:
    """DuckDB with its extension `iceberg`, which is C++ of its own."""
    import duckdb
    import duckdb_extension_avro
    import duckdb_extension_iceberg

    connection = duckdb.connect(config={"autoinstall_known_extensions": "false"})
    for package in (duckdb_extension_avro, duckdb_extension_iceberg):
        extension = next(Path(package.__file__).parent.rglob("*.duckdb_extension"))
        connection.execute(f"LOAD '{extension}'")

    def read(table: Table) -> pa.Table:
        without = ", ".join(f'"{name}"' for name in table["without"])
        columns = f"* EXCLUDE ({without})" if without else "*"
        scan = f"SELECT {columns} FROM iceberg_scan('{table['metadata']}')"
        where = " AND ".join(f"\"{name}\" = '{value}'" for name, value in table["equal"].items())
        return connection.sql(f"{scan} WHERE {where or 'true'}").to_arrow_table()

    return read


def sail() -> Reader:
    """Sail, a Spark Connect server in Rust with Iceberg code of its own."""
    from pysail.spark import SparkConnectServer
    from pyspark.sql import SparkSession

    server = SparkConnectServer()
    server.start(background=True)
    host, port = server.listening_address
    session = SparkSession.builder.remote(f"sc://{host}:{port}").getOrCreate()

    def read(table: Table, _server: object = server) -> pa.Table:  # it ends with its last reference
        frame = session.read.format("iceberg").load(table["location"])
        for name, value in table["equal"].items():
            frame = frame.where(f"`{name}` = DATE '{value}'")
        return frame.drop(*table["without"]).toArrow()

    return read


def daft() -> Reader:
    """Daft: its own reader of data files, planned by PyIceberg."""
    import daft

    def read(table: Table) -> pa.Table:
        frame = daft.read_iceberg(table["metadata"])
        for name, value in table["equal"].items():
            frame = frame.where(daft.col(name) == dt.date.fromisoformat(value))
        return frame.exclude(*table["without"]).to_arrow()

    return read


def polars() -> Reader:
    """Polars: its own reader of data files and its own planner."""
    import polars as pl

    def read(table: Table) -> pa.Table:
        frame = pl.scan_iceberg(table["metadata"], reader_override="native")
        for name, value in table["equal"].items():
            frame = frame.filter(pl.col(name) == dt.date.fromisoformat(value))
        return frame.drop(table["without"]).collect().to_arrow()

    return read


ENGINES = {"duckdb": duckdb, "sail": sail, "daft": daft, "polars": polars}


def main() -> None:
    """Reads what stands on the standard input."""
    tables: dict[str, Table] = json.load(sys.stdin)
    # What engines print is not the answer.
    answer = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    read = ENGINES[sys.argv[1]]()
    found: dict[str, Any] = {}
    for name, table in tables.items():
        try:
            found[name] = {"rows": plain.rows(read(table).to_pylist())}
        except BaseException as error:  # panics of Rust among them
            found[name] = {"error": f"{type(error).__name__}: {error}"[:2000]}
    json.dump(found, answer)
    answer.flush()
    # Some servers in the process do not end by themselves.
    os._exit(0)


if __name__ == "__main__":
    main()
