"""A worker of this process's own, for `dag.test()` and a laptop: nothing has to be started before."""

from __future__ import annotations

import atexit
import os
import re
import shutil
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

HOST = "local"
"""The host of a connection that asks for such a worker."""

_READY = re.compile(rb"^moulin worker \S+ listens on (\S+)$", re.MULTILINE)
_PATIENCE_SECONDS = 60.0

_lock = threading.Lock()
_running: dict[Path, tuple[subprocess.Popen[bytes], str]] = {}


def local_target(extra: dict[str, Any]) -> str:
    """`host:port` of this process's worker, which is started when there is none, and ends with the process.

    Its jobs, catalog and tables are in the folder that the extra `state_dir` of the connection names, else
    `MOULIN_STATE_DIR`, else `.moulin` in the current folder.

    Raises:
        ValueError: there is no program `moulin`, or it did not start.

    """
    folder = Path(extra.get("state_dir") or os.environ.get("MOULIN_STATE_DIR") or ".moulin").resolve()
    with _lock:
        process, target = _running.get(folder, (None, ""))
        if process is None or process.poll() is not None:
            process, target = _start(folder)
            _running[folder] = process, target
            atexit.register(_stop, process)
        return target


def _start(folder: Path) -> tuple[subprocess.Popen[bytes], str]:
    program = os.environ.get("MOULIN_BIN") or shutil.which("moulin")
    if not program:
        raise ValueError(
            "host 'local': found no program `moulin` on the PATH; `make build` makes it, MOULIN_BIN names it"
        )
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "local-worker.log"
    env = {**os.environ, "MOULIN_STATE_DIR": str(folder)}
    begin = log.stat().st_size if log.exists() else 0
    with log.open("ab") as out:
        process = subprocess.Popen(
            [program, "serve", "--local"], env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=out
        )
    give_up = time.monotonic() + _PATIENCE_SECONDS
    while process.poll() is None and time.monotonic() < give_up:
        if said := _READY.search(log.read_bytes()[begin:]):
            return process, said[1].decode()
        time.sleep(0.02)
    process.kill()
    process.wait()
    tail = log.read_bytes()[begin:][-500:].decode(errors="replace").strip()
    raise ValueError(f"host 'local': the worker in {folder} did not start: {tail}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
