"""The floor of a landing: the same Arrow batches, already in memory, to the same Parquet, and nothing else.

`encode` runs one of two encoders in a process of its own: Moulin's writer (`worker/lake/examples/landing.rs`), with as many
threads as a job has, and PyArrow's with the same compression and rows in a row group, in one thread. Reading the batches
into memory is outside of the clock.

    python -m benches.floor OUT FILE...        what PyArrow needs, as JSON
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from benches.measure import AS_THE_WORKER, ROOT
from benches.peer import cpu_seconds

ENCODERS = ("moulin's writer", "pyarrow's writer")
BATCH_ROWS = 16 << 10


def example() -> Path:
    """The example with Moulin's writer, in the release profile that everything else uses."""
    command = ["cargo", "build", "--release", "--locked", "--quiet", "-p", "moulin-lake", "--example", "landing"]
    subprocess.run(command, cwd=ROOT, check=True)
    target = Path(os.environ.get("CARGO_TARGET_DIR") or ROOT / "target")
    return target / "release" / "examples" / "landing"


def encode(encoder: str, binary: Path, files: list[Path], folder: Path) -> dict[str, Any]:
    """One encoding of the rows of some data files: rows, bytes, CPU and wall."""
    with tempfile.TemporaryDirectory(prefix="moulin-floor-", dir=folder) as out:
        env = dict(os.environ)
        if encoder == ENCODERS[0]:
            env |= AS_THE_WORKER
            command = [str(binary), "encode", out, str(len(os.sched_getaffinity(0))), *map(str, files)]
        else:
            command = [sys.executable, "-m", "benches.floor", f"{out}/rows.parquet", *map(str, files)]
        os.sync()
        done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True, env=env)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def keep(lake: Path, folder: Path) -> list[Path]:
    """Copies of the data files of a landing, which are read for their rows."""
    folder.mkdir(parents=True)
    kept = []
    for number, file in enumerate(sorted(lake.rglob("*.parquet"))):
        kept.append(Path(shutil.copy(file, folder / f"{number}.parquet")))
    return kept


def _pyarrow(out: str, files: list[str]) -> dict[str, Any]:
    batches: list[pa.RecordBatch] = []
    group_rows = 1
    for file in files:
        opened = pq.ParquetFile(file)
        groups = opened.metadata.num_row_groups
        group_rows = max(group_rows, *(opened.metadata.row_group(at).num_rows for at in range(groups)))
        batches.extend(opened.iter_batches(BATCH_ROWS))
    table = pa.Table.from_batches(batches)
    cpu, wall = cpu_seconds(), time.perf_counter()
    with pq.ParquetWriter(out, table.schema, compression="zstd", compression_level=1) as writer:
        writer.write_table(table, row_group_size=group_rows)
    with Path(out).open("rb+") as written:
        os.fsync(written.fileno())
    return {
        "rows": table.num_rows, "files": 1, "bytes": Path(out).stat().st_size,
        "cpu_s": cpu_seconds() - cpu, "wall_s": time.perf_counter() - wall,
    }  # fmt: skip


if __name__ == "__main__":
    print(json.dumps(_pyarrow(sys.argv[1], sys.argv[2:])))
