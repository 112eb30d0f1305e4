"""DuckDB, streaming, then PyIceberg."""

from __future__ import annotations

from pathlib import Path

import duckdb

from benches.lineitem import COLUMNS
from benches.peers import destination

DUCKDB = {"long": "BIGINT", "int": "INTEGER", "decimal(15,2)": "DECIMAL(15,2)", "string": "VARCHAR", "date": "DATE"}
versions = {"duckdb": duckdb.__version__}


def query(file: Path, file_format: str) -> str:
    """A SELECT over the file with the types of the table."""
    columns = "{" + ", ".join(f"{name}: '{DUCKDB[kind]}'" for name, kind in COLUMNS.items()) + "}"
    match file_format:
        case "csv":
            return f"SELECT * FROM read_csv('{file}', columns={columns}, header=true, delim=',', quote='\"', auto_detect=false)"
        case "ndjson":
            return f"SELECT * FROM read_json('{file}', columns={columns}, format='newline_delimited')"
        case _:
            return f"SELECT * FROM read_parquet('{file}')"


def land(file: Path, file_format: str, folder: Path) -> None:
    """Appends batch by batch while DuckDB reads."""
    table = destination.create(folder)
    result = duckdb.connect().sql(query(file, file_format))
    table.append(result.to_arrow_reader(1_000_000))
