"""Runs every test of the project and ends with one line, `N passed, M failed`, over all suites.

Ends with 1 when a test failed, a suite could not run, or a suite ran nothing.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import build
import flights

ROOT = build.ROOT
REPORTS = ROOT / ".cache" / "tests"
CARGO_RESULT = re.compile(rb"^test result: \S+ (\d+) passed; (\d+) failed; (\d+) ignored", re.MULTILINE)


@dataclass(frozen=True)
class Outcome:
    """What came of one suite. `broken` says in words why it is not to be trusted; empty: it is."""

    name: str
    passed: int = 0
    failed: int = 0
    skipped: int = 0
    seconds: float = 0.0
    broken: str = ""

    @property
    def ok(self) -> bool:
        """Whether every test that ran passed, and some did."""
        return self.failed == 0 and not self.broken


def cargo_suite() -> Outcome:
    """All Rust tests, in the release profile that everything else uses."""
    output: list[bytes] = []
    code = _cargo_test(output)
    counts = [tuple(map(int, found)) for found in CARGO_RESULT.findall(b"".join(output))]
    passed, failed, ignored = (sum(column) for column in zip(*counts, strict=True)) if counts else (0, 0, 0)
    broken = "" if code == 0 or failed else f"cargo test ended with {code}"
    return Outcome("rust", passed, failed, ignored, broken=broken)


def _cargo_test(output: list[bytes]) -> int:
    """Runs cargo with its standard output both shown and kept."""
    reading, writing = os.pipe()

    def show() -> None:
        with os.fdopen(reading, "rb") as stream:
            for line in stream:
                output.append(line)
                sys.stdout.buffer.write(line)
                sys.stdout.buffer.flush()

    shower = threading.Thread(target=show, name="cargo output")
    shower.start()
    try:
        with os.fdopen(writing, "wb") as stdout:
            return build.run_cargo(["test", "--release", "--workspace", "--locked", "--no-fail-fast"], stdout=stdout)
    finally:
        shower.join()


def pytest_suite(name: str, folder: Path) -> Outcome:
    """The tests of one folder, with the settings that lie in it."""
    REPORTS.mkdir(parents=True, exist_ok=True)
    report = REPORTS / f"{name}.xml"
    report.unlink(missing_ok=True)
    command = [sys.executable, "-m", "pytest", f"--junitxml={report}", "--durations=5", "-q"]
    # The built binary, where tests look for it; folders of other runs do not matter to them.
    env = {**os.environ, "MOULIN_BIN": str(build.worker_binary())}
    code = subprocess.run(command, cwd=folder, env=env, stdin=subprocess.DEVNULL, check=False).returncode
    if not report.exists():
        return Outcome(name, broken=f"pytest ended with {code} and left no report")
    suites = list(ET.parse(report).getroot().iter("testsuite"))
    total, wrong, skipped = (
        sum(int(suite.get(key, "0")) for suite in suites for key in keys)
        for keys in (("tests",), ("failures", "errors"), ("skipped",))
    )
    broken = "" if code == 0 or wrong else f"pytest ended with {code}"
    return Outcome(name, total - wrong - skipped, wrong, skipped, broken=broken)


def run(name: str, suite: Callable[[], Outcome]) -> Outcome:
    """Runs one suite under a headline and times it."""
    print(f"\n===== {name}", flush=True)
    started = time.monotonic()
    found = suite()
    broken = found.broken or ("" if found.passed + found.failed else "it ran no test")
    return Outcome(name, found.passed, found.failed, found.skipped, time.monotonic() - started, broken)


def main() -> None:
    """All suites; a first one that is broken does not keep the others from running."""
    flights.fetch()
    build.build_worker()
    outcomes = [
        run("rust", cargo_suite),
        run("client", lambda: pytest_suite("client", ROOT / "client")),
        run("airflow_provider", lambda: pytest_suite("airflow_provider", ROOT / "airflow_provider")),
        run("end to end", lambda: pytest_suite("end_to_end", ROOT)),
    ]
    print("\n===== all")
    for outcome in outcomes:
        skipped = f", {outcome.skipped} skipped" if outcome.skipped else ""
        note = f"  <- {outcome.broken}" if outcome.broken else ""
        print(
            f"{outcome.name:<18} {outcome.passed} passed, {outcome.failed} failed{skipped} ({outcome.seconds:.0f} s){note}"
        )
    # A suite that could not run is a failure too: the last line must not look better than the run was.
    failed = sum(outcome.failed or bool(outcome.broken) for outcome in outcomes)
    print(f"{sum(outcome.passed for outcome in outcomes)} passed, {failed} failed", flush=True)
    sys.exit(0 if all(outcome.ok for outcome in outcomes) else 1)


if __name__ == "__main__":
    main()
