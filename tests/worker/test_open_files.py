"""How many files a worker may have open is what the system lets it have, not what its shell began with."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from worker_process import PATIENCE_SECONDS, binary, environment


def test_files_of_many_partitions_are_open_although_the_shell_allows_few(state: Path) -> None:
    # 64 of them are written side by side.
    (state / "in.csv").write_text("id\n" + "".join(f"{n}\n" for n in range(100)))
    target = {"table": "bronze.wide", "partition_by": ["id"]}
    job = state / "job.json"
    job.write_text(json.dumps({"source": {"uris": [f"file://{state}/in.csv"], "format": "csv"}, "target": target}))
    command = ["prlimit", "--nofile=60:4096", binary(), "run", job]
    done = subprocess.run(
        command, env=environment(state), cwd=state, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "100 data files" in done.stdout + done.stderr
