"""The real worker as a process that a test can let die, stop, pause and start again."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import build
import moulin

T = TypeVar("T")

READY = re.compile(r"^moulin worker (\S+) listens on (\S+)$", re.MULTILINE)
PATIENCE_SECONDS = 60.0


def binary() -> Path:
    """The worker under test: `MOULIN_BIN`, or what `make build` makes."""
    return Path(os.environ.get("MOULIN_BIN") or build.worker_binary())


def until(what: str, look: Callable[[], T], seconds: float = PATIENCE_SECONDS) -> T:
    """Looks again and again until `look` gives something true."""
    end = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < end, f"{what}: not within {seconds:.0f} s"
        time.sleep(0.01)
    return found


def environment(state: Path, **settings: str) -> dict[str, str]:
    """The environment of a worker: nothing of the caller's own settings, and its state in one folder."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith("MOULIN_")}
    return {**plain, "MOULIN_STATE_DIR": str(state), **settings}


def run_moulin(state: Path, *arguments: str | Path, **settings: str) -> subprocess.CompletedProcess[str]:
    """Runs one command of the worker's command line to its end."""
    command = [binary(), *arguments]
    return subprocess.run(
        command, env=environment(state, **settings), cwd=state, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False
    )  # fmt: skip


class WorkerProcess:
    """`moulin serve` on a free port, with its state in one folder."""

    def __init__(self, state: Path, **settings: str):
        state.mkdir(parents=True, exist_ok=True)
        self.state = state
        self.settings = {"MOULIN_LISTEN": "127.0.0.1:0", **settings}
        self._log = state / "worker.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._clients: list[moulin.Client] = []

    def start(self, **settings: str) -> moulin.Client:
        """Starts it, `settings` for this time only, and gives a client as soon as it says that it listens."""
        begin = self._log.stat().st_size if self._log.exists() else 0
        env = environment(self.state, **{**self.settings, **settings})
        with self._log.open("ab") as log:
            self._process = subprocess.Popen([binary(), "serve"], env=env, cwd=self.state, stdout=log, stderr=log)

        def listens() -> re.Match[str] | None:
            # Asked first, because a worker that is to die in its first job may have done so when its log is read.
            ended = self._running().poll() is not None
            found = READY.search(self.log(begin))
            assert found or not ended, f"the worker ended at once:\n{self.log(begin)}"
            return found

        client = moulin.Client(until("the worker listens", listens).group(2), reconnect=0)
        self._clients.append(client)
        return client

    def log(self, begin: int = 0) -> str:
        """What it wrote, from a byte of its log on."""
        return self._log.read_bytes()[begin:].decode(errors="replace")

    @property
    def pid(self) -> int:
        """Its number in the system."""
        return self._running().pid

    def wait_end(self, seconds: float = PATIENCE_SECONDS) -> int:
        """Waits for its end; the exit code, or the signal that ended it as a negative number."""
        return self._running().wait(seconds)

    def is_dead(self) -> bool:
        """Whether the process has ended."""
        return self._running().poll() is not None

    def is_paused(self) -> bool:
        """Whether it has stopped itself at a fault point."""
        if self.is_dead():
            return False
        stat = Path(f"/proc/{self._running().pid}/stat").read_text()
        return stat.rsplit(")", 1)[1].split()[0] == "T"

    def wait_paused(self) -> None:
        """Waits until it has stopped itself at a fault point."""

        def stopped() -> bool:
            assert not self.is_dead(), f"the worker ended instead of pausing:\n{self.log()[-2000:]}"
            return self.is_paused()

        until("the worker pauses", stopped)

    def send(self, number: signal.Signals) -> None:
        """Sends it a signal."""
        self._running().send_signal(number)

    def resume(self) -> None:
        """Lets it go on after a pause."""
        self.send(signal.SIGCONT)

    def close(self) -> None:
        """Ends it if it runs, however it stands."""
        for client in self._clients:
            client.close()
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait(10)

    def _running(self) -> subprocess.Popen[bytes]:
        assert self._process is not None, "the worker was not started"
        return self._process


NewWorker = Callable[..., WorkerProcess]
