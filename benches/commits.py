"""What a commit costs when a table already has many snapshots, and what grows with them.

    python -m benches.commits [--commits 2000] [--every 50] [--property commit.manifest-merge.enabled=true]

Lands one row at a time in one table by `worker/lake/examples/landing.rs` and prints, for the commits before each line, the
means of: CPU and wall time of the commit alone, CPU time of what comes before it (the table is loaded and searched for the
job's token), and the size of the table's metadata file.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import tempfile

from benches import floor
from benches.measure import AS_THE_WORKER


def main() -> None:
    """Reads the arguments, commits and prints."""
    parser = argparse.ArgumentParser(
        prog="benches.commits", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--commits", type=int, default=2_000)
    parser.add_argument("--every", type=int, default=50, help="commits that a mean is made of")
    parser.add_argument("--marks", default="50,500,1000,1500,2000", help="snapshots at which a line is printed")
    parser.add_argument("--property", action="append", default=[], help="of the table: name=value")
    asked = parser.parse_args()
    marks = {int(mark) for mark in asked.marks.split(",")} | {asked.commits}
    binary = floor.example()
    print(f"{'snapshots':>10}{'cpu ms':>10}{'wall ms':>10}{'load cpu ms':>13}{'metadata kB':>13}", flush=True)
    with tempfile.TemporaryDirectory(prefix="moulin-bench-") as folder:
        command = [str(binary), "commits", folder, str(asked.commits), str(asked.every), *asked.property]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | AS_THE_WORKER) as process:
            assert process.stdout is not None
            for line in process.stdout:
                told = json.loads(line)
                if told["snapshots"] in marks:
                    print(
                        f"{told['snapshots']:>10,}{told['commit_cpu_ms']:>10.2f}{told['commit_wall_ms']:>10.2f}"
                        f"{told['load_cpu_ms']:>13.2f}{told['metadata_bytes'] / 1e3:>13,.0f}",
                        flush=True,
                    )
    raise SystemExit(process.returncode)


if __name__ == "__main__":
    main()
