"""Builds the worker and shows how far the build is, on a terminal and in a log alike."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

ROOT = Path(__file__).resolve().parent.parent
LOG_EVERY_SECONDS = 15.0
BAR = re.compile(r"Building \[[^\]]*\]\s+(\d+)/(\d+)(?::\s*(.*))?")
# What cargo draws again and again while it fetches: `Fetch [==> ] 289 complete; 7 pending`, `Downloading 12 crates`.
FETCHING = re.compile(r"^\s*(?:Fetch \[[^\]]*\]\s*(.*)|(Downloading \d+ crates?.*))$")


def target_dir() -> Path:
    """The folder that cargo builds into."""
    return Path(os.environ.get("CARGO_TARGET_DIR") or ROOT / "target").absolute()


def worker_binary() -> Path:
    """The `moulin` binary that a build makes."""
    return target_dir() / "release" / "moulin"


def run_cargo(arguments: Sequence[str], stdout: IO[bytes] | None = None) -> int:
    """Runs cargo with its crate counter visible. Its standard output goes to `stdout`, or where ours goes.

    On a terminal cargo draws its own bar. Elsewhere it would say nothing between two crates, some of which take
    minutes: there the bar is read and told as one line now and then.
    """
    command = ["cargo", *arguments]
    if sys.stderr.isatty():
        return subprocess.run(command, cwd=ROOT, stdout=stdout, check=False).returncode
    env = {**os.environ, "CARGO_TERM_PROGRESS_WHEN": "always", "CARGO_TERM_PROGRESS_WIDTH": "120"}
    with subprocess.Popen(command, cwd=ROOT, env=env, stdout=stdout, stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        _tell(process.stderr)
    return process.returncode


def build_worker() -> Path:
    """Builds the release binary; ends the program when that fails."""
    if not (target_dir() / "release" / "deps").is_dir():
        print(
            f"building the worker into {target_dir()}: the first build compiles about 700 crates "
            "and takes minutes (half an hour on two cores); later ones take seconds",
            flush=True,
        )
    started = time.monotonic()
    try:
        code = run_cargo(["build", "--release", "--locked", "--bin", "moulin"])
    except FileNotFoundError:
        sys.exit("cargo was not found: install Rust (https://rustup.rs), 1.94 or newer, and put cargo on the PATH")
    if code != 0:
        sys.exit(f"the worker does not build (cargo ended with {code}); what went wrong stands above")
    print(f"the worker is built: {worker_binary()} ({time.monotonic() - started:.0f} s)", flush=True)
    return worker_binary()


def _tell(stream: IO[bytes]) -> None:
    started = last = time.monotonic()
    for piece in _pieces(stream):
        bar = BAR.search(piece)
        fetching = FETCHING.match(piece)
        now = time.monotonic()
        if fetching is not None:
            if now - last >= LOG_EVERY_SECONDS:
                print(f"  fetching crates: {fetching[1] or fetching[2]}", file=sys.stderr, flush=True)
                last = now
        elif bar is None:
            # Thousands of "Compiling ..." lines tell less than the counter does.
            if piece.strip() and not piece.lstrip().startswith(("Compiling ", "Downloaded ", "Fresh ")):
                print(piece, file=sys.stderr, flush=True)
        elif now - last >= LOG_EVERY_SECONDS:
            done, total, crates = bar.groups()
            news = f"  {done} of {total} crates after {_span(now - started)}; now: {crates or '...'}"
            print(news, file=sys.stderr, flush=True)
            last = now


def _pieces(stream: IO[bytes]) -> Iterator[str]:
    """Lines, and the texts between carriage returns, without control sequences."""
    rest = b""
    while chunk := os.read(stream.fileno(), 65536):
        *whole, rest = re.split(rb"[\r\n]", rest + chunk)
        for piece in whole:
            yield re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", piece.decode(errors="replace")).rstrip()
    if rest:
        yield rest.decode(errors="replace")


def _span(seconds: float) -> str:
    return f"{int(seconds) // 60} min {int(seconds) % 60:02d} s"


if __name__ == "__main__":
    # With arguments: cargo with these, its progress visible.
    if len(sys.argv) > 1:
        sys.exit(run_cargo(sys.argv[1:]))
    build_worker()
