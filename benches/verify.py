"""Reads what a tool landed, through PyIceberg for all of them alike: `python -m benches.verify FOLDER`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pyarrow.compute as pc

from benches.peers import destination


def facts(folder: Path) -> dict[str, Any]:
    """Rows, sums, extremes and types: equal for two tools that landed the same."""
    table = destination.catalog(folder).load_table(destination.TABLE)
    columns = ("l_orderkey", "l_quantity", "l_extendedprice", "l_discount", "l_shipdate", "l_comment")
    rows = table.scan(selected_fields=columns).to_arrow()
    dates = pc.min_max(rows["l_shipdate"]).as_py()
    sums = {name: str(pc.sum(rows[name]).as_py()) for name in columns[:4]}
    return {
        "rows": rows.num_rows,
        **{f"sum({name})": value for name, value in sums.items()},
        "min(l_shipdate)": str(dates["min"]),
        "max(l_shipdate)": str(dates["max"]),
        "sum(length(l_comment))": pc.sum(pc.utf8_length(rows["l_comment"])).as_py(),
        "nulls": sum(column.null_count for column in rows.columns),
        "types": {field.name: str(field.field_type) for field in table.schema().fields},
    }


def landed(folder: Path) -> dict[str, int]:
    """Data files and their bytes."""
    files = [path.stat().st_size for path in folder.rglob("*.parquet")]
    return {"data_files": len(files), "data_bytes": sum(files)}


if __name__ == "__main__":
    print(json.dumps({"facts": facts(Path(sys.argv[1])), **landed(Path(sys.argv[1]))}))
