"""The process of one peer: `python -m benches.peer TOOL FILE FORMAT FOLDER`. See `benches.measure`."""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
from pathlib import Path


def cpu_seconds() -> float:
    """User and system time of this process and of children that have ended."""
    used = os.times()
    return used.user + used.system + used.children_user + used.children_system


def main() -> None:
    """Warms the imports, waits for `go`, lands, tells the figures."""
    tool, file, file_format, folder = sys.argv[1:]
    module = importlib.import_module(f"benches.peers.{tool}_pyiceberg")
    # Whatever the tools print must not come between the figures.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    print("ready", file=answers, flush=True)
    sys.stdin.readline()
    # From here on the peak counts anew: imports are not the tool's memory for the job, but stay part of its base.
    Path("/proc/self/clear_refs").write_text("5")
    cpu, wall = cpu_seconds(), time.perf_counter()
    module.land(Path(file), file_format, Path(folder))
    took = {"wall_s": time.perf_counter() - wall, "cpu_s": cpu_seconds() - cpu, "versions": module.versions}
    print(json.dumps(took), file=answers, flush=True)


if __name__ == "__main__":
    main()
