"""Runs one landing in a process of its own and measures it: wall, CPU and memory.

A peer's process imports its tool, says `ready`, waits for `go`, and times itself. Moulin's process is `moulin run`
itself; its start lies inside the clock. Memory is sampled from outside, so that the sampling costs the tool nothing.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benches.lineitem import COLUMNS

ROOT = Path(__file__).resolve().parent.parent
SAMPLE_SECONDS = 0.005
# The examples of the crates have the worker's allocator, which the worker itself tells these (`memory.rs`).
AS_THE_WORKER = {"MIMALLOC_ALLOW_THP": "0", "MIMALLOC_PURGE_DELAY": "10000"}


@dataclass
class Measured:
    """One landing."""

    tool: str
    wall_s: float
    cpu_s: float
    peak_rss_mb: float
    peak_anon_mb: float
    extra: dict[str, Any] = field(default_factory=dict)


class Memory:
    """Samples the peak resident set of a process and the part of it that is no file (RssAnon)."""

    def __init__(self, pid: int):
        self._status = Path(f"/proc/{pid}/status")
        self._over = threading.Event()
        self.rss_kb = self.anon_kb = 0
        self._thread = threading.Thread(target=self._sample, name="memory")
        self._thread.start()

    def _sample(self) -> None:
        while not self._over.wait(SAMPLE_SECONDS):
            try:
                status = self._status.read_text()
            except OSError:
                return
            for name, value in re.findall(r"^(VmHWM|RssAnon):\s+(\d+) kB", status, re.MULTILINE):
                if name == "VmHWM":
                    self.rss_kb = max(self.rss_kb, int(value))
                else:
                    self.anon_kb = max(self.anon_kb, int(value))

    def stop(self) -> tuple[float, float]:
        """Peaks in MB (10^6 bytes)."""
        self._over.set()
        self._thread.join()
        return self.rss_kb * 1024 / 1e6, self.anon_kb * 1024 / 1e6


def interpreter(tool: str) -> Path:
    """The Python that has the tool: this one, or for dlt one of its own, whose packages would not go with the rest."""
    if tool != "dlt":
        return Path(sys.executable)
    sys.path[:0] = [str(ROOT / "scripts")]
    from local_stack.installed import python_of

    return python_of(ROOT / "requirements" / "dlt.txt")


def peer(tool: str, file: Path, file_format: str, folder: Path) -> Measured:
    """One landing by a peer."""
    command = [str(interpreter(tool)), "-m", "benches.peer", tool, str(file), file_format, str(folder)]
    with subprocess.Popen(
        command,
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        if process.stdout.readline().strip() != "ready":
            raise RuntimeError(f"{tool} did not start; see its output above")
        os.sync()
        memory = Memory(process.pid)
        try:
            process.stdin.write("go\n")
            process.stdin.flush()
            line = process.stdout.readline()
        finally:
            rss, anon = memory.stop()
    if process.returncode != 0 or not line:
        raise RuntimeError(f"{tool} failed on {file} with code {process.returncode}; see its output above")
    said = json.loads(line)
    return Measured(tool, said["wall_s"], said["cpu_s"], rss, anon, said["versions"])


def moulin(binary: Path, file: Path, file_format: str, folder: Path) -> Measured:
    """One landing by `moulin run`, from the start of its process to its end."""
    folder.mkdir(parents=True)
    job = folder / "job.json"  # YAML is a superset of JSON
    job.write_text(json.dumps(job_spec(file, file_format)))
    env = os.environ | {"MOULIN_STATE_DIR": str(folder)}
    os.sync()
    with tempfile.TemporaryFile() as out:
        started = time.perf_counter()
        process = subprocess.Popen([binary, "run", str(job), "--json"], cwd=folder, env=env, stdout=out)
        memory = Memory(process.pid)
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        rss, anon = memory.stop()
        out.seek(0)
        text = out.read().decode()
    if process.returncode != 0:
        raise RuntimeError(f"moulin run ended with code {process.returncode} on {file}:\n{text}")
    # Where it was measured is nobody's business: only figures go into the results.
    receipt = json.loads(text)
    figures = {name: receipt[name] for name in ("elapsed", "rooms", "rows_landed", "data_files", "bytes_written")}
    return Measured("moulin", wall, usage.ru_utime + usage.ru_stime, rss, anon, {"receipt": figures})


def job_spec(file: Path, file_format: str) -> dict[str, Any]:
    """The job with the types of the table; a Parquet file has them already."""
    source: dict[str, Any] = {"uris": [f"file://{file}"], "format": file_format}
    if file_format != "parquet":
        source["columns"] = [{"name": name, "type": kind} for name, kind in COLUMNS.items()]
    return {"source": source, "target": {"table": "bench.lineitem"}}
