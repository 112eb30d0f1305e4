"""One process in a group of its own, with a log file, that can be stopped with everything it started."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

T = TypeVar("T")

MARK = "MOULIN_LOCAL_STACK"
"""Environment variable that every process of one stack carries, also those that leave their group."""


class StackError(RuntimeError):
    """A part of the stack did not do what it should; the message ends with the tail of its log."""


class LocalProcess:
    """A started process: its group is the unit that is stopped."""

    def __init__(
        self,
        name: str,
        argv: Sequence[str],
        *,
        env: Mapping[str, str],
        log: Path,
        cwd: Path | None = None,
        user: int | None = None,
    ):
        self.name = name
        self.log = log
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as out:
            self._popen = subprocess.Popen(
                list(argv),
                env=dict(env),
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                user=user,
            )

    @property
    def pid(self) -> int:
        """Process id, which is also the id of the group."""
        return self._popen.pid

    def alive(self) -> bool:
        """Whether the process itself (not only a child) still runs."""
        return self._popen.poll() is None

    def tail(self, lines: int = 30) -> str:
        """The end of the log."""
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return "\n".join(text.splitlines()[-lines:])

    def expect_alive(self) -> None:
        """Raises `StackError` with the end of the log when the process has ended."""
        if not self.alive():
            raise StackError(f"{self.name} ended with code {self._popen.returncode}; its log ends:\n{self.tail()}")

    def kill(self) -> None:
        """SIGKILL to the whole group: nothing can be tidied up."""
        self._signal(signal.SIGKILL)
        self._popen.wait(10)

    def wait(self, patience: float) -> None:
        """Waits for its end; `StackError` after `patience` seconds."""
        try:
            self._popen.wait(patience)
        except subprocess.TimeoutExpired as error:
            raise StackError(
                f"{self.name} did not end within {patience:.0f} s; its log ends:\n{self.tail()}"
            ) from error

    def ask_to_stop(self) -> None:
        """SIGTERM to the group, without waiting."""
        self._signal(signal.SIGTERM)

    def stop(self, patience: float = 15.0) -> None:
        """SIGTERM to the group, SIGKILL to what is left of it after `patience` seconds."""
        self._signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._popen.wait(patience)
        self._signal(signal.SIGKILL)
        self._popen.wait(10)

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)


def marked_processes(mark: str) -> dict[int, str]:
    """Processes (id and command line) whose environment carries the mark. Empty where there is no /proc."""
    found: dict[int, str] = {}
    wanted = f"{MARK}={mark}".encode()
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if wanted not in (entry / "environ").read_bytes().split(b"\0"):
                continue
            if (entry / "stat").read_text().rsplit(")", 1)[1].split()[0] == "Z":
                continue
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
        except OSError:  # it ended while we looked
            continue
        if int(entry.name) != os.getpid():
            found[int(entry.name)] = command
    return found


def stop_marked(mark: str, patience: float = 5.0) -> dict[int, str]:
    """Ends what still carries the mark and says what that was."""
    left = marked_processes(mark)
    for number in (signal.SIGTERM, signal.SIGKILL):
        for pid in marked_processes(mark):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, number)
        until = time.monotonic() + patience
        while marked_processes(mark) and time.monotonic() < until:
            time.sleep(0.1)
    return left


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listened on a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def listens(port: int) -> bool:
    """Whether somebody takes connections on a port of 127.0.0.1."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def wait_until(what: str, look: Callable[[], T | None], timeout: float, every: float = 0.25) -> T:
    """Looks again and again until `look` gives something true; `StackError` that names `what` after `timeout` seconds."""
    until = time.monotonic() + timeout
    while True:
        found = look()
        if found:
            return found
        if time.monotonic() > until:
            raise StackError(f"{what}: not within {timeout:.0f} s (last seen: {found!r})")
        time.sleep(every)
