"""What partitions cost and what they are good for: files, metadata and pruned reads of a table that one job landed.

    python -m benches.partitions [--rows 10000000] [--partitions 1000] [--memory-limit-mb 768] [--readings 3]

`--partitions 10000` is the fan-out at its widest, `--rows 45000000` a GB of data files.

Prints the size of the CSV, of the data files and of Iceberg's metadata, the peak memory of the landing, and how long
PyIceberg takes for the whole table and for one partition of it.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pc
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.table import Table

from benches.measure import ROOT, Memory

sys.path[:0] = [str(ROOT / "scripts")]
import build  # noqa: E402  # a script, not a package

ROWS_AT_ONCE = 1_000_000


def write_csv(path: Path, rows: int, partitions: int) -> None:
    """Rows whose partitions come in no order."""
    random = np.random.default_rng(7)
    with pc.CSVWriter(path, _batch(random, 0, 0, partitions).schema) as writer:
        for begin in range(0, rows, ROWS_AT_ONCE):
            writer.write_table(_batch(random, begin, min(ROWS_AT_ONCE, rows - begin), partitions))


def _batch(random: np.random.Generator, begin: int, rows: int, partitions: int) -> pa.Table:
    texts = np.array([f"a text that comes again {n:05}" for n in range(10_000)])
    columns = {
        "id": np.arange(begin, begin + rows),
        "part": random.integers(0, partitions, rows),
        "price": np.round(random.random(rows) * 1000, 4),
        "quantity": random.integers(0, 50, rows),
        "name": texts[random.integers(0, len(texts), rows)],
        "code": random.integers(0, 1 << 60, rows),
    }
    return pa.table(columns)


def land(state: Path, csv: Path) -> Memory:
    """Runs the job in a process of its own."""
    job = state / "job.json"
    source = {"uris": [f"file://{csv}"], "format": "csv"}
    job.write_text(json.dumps({"source": source, "target": {"table": "bench.wide", "partition_by": ["part"]}}))
    binary = os.environ.get("MOULIN_BIN") or str(build.worker_binary())
    env = os.environ | {"MOULIN_STATE_DIR": str(state)}
    process = subprocess.Popen([binary, "run", job], env=env, cwd=state, stdout=subprocess.DEVNULL)
    memory = Memory(process.pid)
    code = process.wait()
    if code:
        raise SystemExit(f"the landing ended with {code}")
    return memory


def seconds(read: Callable[[], object], readings: int) -> float:
    """The median time of some reads."""
    times = []
    for _ in range(readings):
        begin = time.perf_counter()
        read()
        times.append(time.perf_counter() - begin)
    return statistics.median(times)


def report(table: Table, warehouse: Path, csv: Path, memory: Memory, asked: argparse.Namespace) -> bool:
    """Prints the figures; whether they are as promised."""
    data = sum(file.stat().st_size for file in warehouse.rglob("*.parquet"))
    files = sum(1 for _ in warehouse.rglob("*.parquet"))
    # Only what the current snapshot needs: its metadata, list and manifests.
    metadata = sum(file.stat().st_size for file in warehouse.rglob("*.avro"))
    metadata += Path(table.metadata_location.removeprefix("file://")).stat().st_size
    whole = seconds(lambda: table.scan().to_arrow(), asked.readings)
    wanted = f"part == {asked.partitions // 2}"
    one = seconds(lambda: table.scan(row_filter=wanted).to_arrow(), asked.readings)
    peak_mb, _ = memory.stop()
    print(f"csv {csv.stat().st_size / 1e6:,.0f} MB, data {data / 1e6:,.0f} MB in {files:,} files "
          f"(1 : {csv.stat().st_size / data:.1f})")  # fmt: skip
    print(f"metadata {metadata / 1e6:.2f} MB, {100 * metadata / data:.3f} % of the data")
    print(f"peak memory of the landing {peak_mb:,.0f} MB")
    print(
        f"whole table {whole:.2f} s, one of {asked.partitions:,} partitions {one:.3f} s: {whole / one:.0f} times faster"
    )
    return metadata < data / 100 and whole > 10 * one and peak_mb < asked.memory_limit_mb


def main() -> None:
    """Makes the rows, lands them and prints what that came to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--partitions", type=int, default=1_000)
    parser.add_argument("--memory-limit-mb", type=int, default=768)
    parser.add_argument(
        "--readings", type=int, default=3, help="of the whole table and of one partition; the median counts"
    )
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="moulin-bench-") as folder:
        state, csv = Path(folder) / "state", Path(folder) / "in.csv"
        state.mkdir()
        write_csv(csv, args.rows, args.partitions)
        memory = land(state, csv)
        catalog = SqlCatalog("moulin", uri=f"sqlite:///{state}/catalog.db", warehouse=f"file://{state}/warehouse")
        table = catalog.load_table("bench.wide")
        good = report(table, state / "warehouse", csv, memory, args)
    raise SystemExit(0 if good else 1)


if __name__ == "__main__":
    main()
