"""A worker on this machine."""

from __future__ import annotations

import os
import re
import uuid
from typing import TYPE_CHECKING

from local_stack.processes import MARK, LocalProcess, StackError, free_port, stop_marked, wait_until

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


class LocalWorker:
    """`moulin serve` with its embedded defaults, on a free port that stays the same over restarts."""

    def __init__(
        self,
        binary: Path,
        state_dir: Path,
        *,
        env: Mapping[str, str] | None = None,
        port: int | None = None,
        mark: str | None = None,
    ):
        self.binary = binary
        self.state_dir = state_dir
        self.port = port or free_port()
        self.mark = mark or uuid.uuid4().hex
        self.extra_env = dict(env or {})
        self._process: LocalProcess | None = None

    @property
    def address(self) -> str:
        """`host:port` for clients."""
        return f"127.0.0.1:{self.port}"

    @property
    def catalog_uri(self) -> str:
        """The SQL catalog as PyIceberg wants it."""
        return f"sqlite:///{self.state_dir.resolve()}/catalog.db"

    @property
    def warehouse(self) -> str:
        """Where tables are."""
        return f"file://{self.state_dir.resolve()}/warehouse"

    @property
    def log(self) -> Path:
        """Its log."""
        return self.state_dir / "worker.log"

    def start(self, timeout: float = 30.0, **env: str) -> None:
        """Starts the worker and returns when it says that it listens."""
        if not self.binary.exists():
            raise StackError(f"there is no worker at {self.binary}: build it first")
        self.state_dir.mkdir(parents=True, exist_ok=True)
        settings = {
            "MOULIN_STATE_DIR": str(self.state_dir.resolve()),
            "MOULIN_LISTEN": self.address,
            MARK: self.mark,
            **self.extra_env,
            **env,
        }
        seen = self.log.stat().st_size if self.log.exists() else 0
        self._process = LocalProcess(
            "worker", [str(self.binary), "serve"], env={**os.environ, **settings}, log=self.log, cwd=self.state_dir
        )
        wait_until("the worker listens", lambda: self._ready(seen), timeout, every=0.05)

    def _ready(self, seen: int) -> bool:
        process = self._running()
        process.expect_alive()
        with self.log.open("rb") as log:
            log.seek(seen)
            return re.search(rb"moulin worker \S+ listens on ", log.read()) is not None

    def alive(self) -> bool:
        """Whether the process runs."""
        return self._process is not None and self._process.alive()

    def tail(self, lines: int = 30) -> str:
        """The end of its log."""
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return "\n".join(text.splitlines()[-lines:])

    def kill(self) -> None:
        """SIGKILL."""
        self._running().kill()

    def stop(self) -> None:
        """SIGTERM, and SIGKILL to what stays."""
        if self._process is not None:
            self._process.stop()
            self._process = None

    def stop_all(self) -> dict[int, str]:
        """`stop`, and everything with this stack's mark; says what had to be ended that way."""
        self.stop()
        return stop_marked(self.mark)

    def _running(self) -> LocalProcess:
        if self._process is None:
            raise StackError("the worker was not started")
        return self._process
