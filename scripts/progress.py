"""Steps of a long command on a terminal or in a log: always something to see, never a wall of text."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Iterator

TERMINAL_EVERY_SECONDS = 0.5
LOG_EVERY_SECONDS = 10.0


class Step:
    """A step that is going on. `news` is shown behind its name."""

    def __init__(self, name: str):
        self.name = name
        self.news = ""
        self.started = time.monotonic()

    @property
    def seconds(self) -> float:
        """Since it began."""
        return time.monotonic() - self.started

    def line(self) -> str:
        """The step in one line."""
        return f"{self.name} ({self.seconds:.0f} s){': ' if self.news else ''}{self.news}"


@contextlib.contextmanager
def step(name: str) -> Iterator[Step]:
    """Shows that the step goes on until it is over, then how long it took."""
    going = Step(name)
    over = threading.Event()
    terminal = sys.stdout.isatty()

    def show() -> None:
        if not terminal:
            print(f"- {going.name} ...", flush=True)
        while not over.wait(TERMINAL_EVERY_SECONDS if terminal else LOG_EVERY_SECONDS):
            print(
                f"\r\x1b[2K- {going.line()[:110]}" if terminal else f"  ... {going.line()}",
                end="" if terminal else "\n",
                flush=True,
            )

    shower = threading.Thread(target=show, name="progress", daemon=True)
    shower.start()
    outcome = "failed"
    try:
        yield going
        outcome = "done"
    finally:
        over.set()
        shower.join()
        news = f": {going.news}" if going.news else ""
        begin = "\r\x1b[2K" if terminal else ""
        print(f"{begin}- {going.name}: {outcome} in {going.seconds:.1f} s{news}", flush=True)
