"""Tests the provider in several releases of Airflow: the newest patch of each, from the package index, in a venv of its own.

    python scripts/airflow_matrix.py                          every release, the provider's tests and the real Airflow
    python scripts/airflow_matrix.py --airflow 3.1 --suite provider
    python scripts/airflow_matrix.py --airflow 3.3 --python 3.13
    python scripts/airflow_matrix.py --pip                    only: do the wheels install with pip alone, and does Airflow find them

Every release is tested with the Python that runs this, the newest one also with the others that this machine has. The packages
are installed as wheels, as a user would. Environments are kept in `.cache/airflow-matrix` and made anew when a release has another
patch. Ends with one line for each, and with 1 when one of them failed.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import build
import flights

ROOT = build.ROOT
CACHE = ROOT / ".cache" / "airflow-matrix"
RELEASES = ("3.1", "3.2", "3.3")
PYTHONS = ("3.11", "3.12", "3.13")
PACKAGES = ("client", "airflow_provider")
# What the tests import beside the packages' own needs; versions are those of requirements/dev.txt where they matter.
TEST_NEEDS = (
    "pytest>=8.3", "pytest-asyncio>=1.0", "pyiceberg[sql-sqlite,pyarrow]==0.12.*", "polars==1.41.2", "mypy", "jsonschema",
    "apache-airflow-providers-standard", "apache-airflow-providers-openlineage", "cryptography",
)  # fmt: skip
# Newer ones than Airflow's constraints file of that release has. With the first two its api-server does not start; the third
# takes the services from the API that `dag.test()` has in its process, and no task of any DAG runs there.
TOO_NEW = {"3.2": ("cadwyn<8", "fastapi<0.137", "svcs<26.2")}
# What Airflow is to know of the provider.
TOLD = (
    "hooks", "operators", "sensors", "triggers", "task-decorators", "asset-uris", "extra-links", "connection-types",
)  # fmt: skip
SUITES = {"provider": (ROOT / "airflow_provider",), "airflow": (ROOT,)}


@dataclass(frozen=True)
class Cell:
    """One release of Airflow on one Python."""

    release: str
    python: str
    interpreter: Path

    @property
    def folder(self) -> Path:
        """Where its environment is kept."""
        return CACHE / f"airflow-{self.release}-python-{self.python}"


@dataclass(frozen=True)
class Outcome:
    """What came of one cell: the last line of every suite."""

    cell: Cell
    installed: str
    said: tuple[str, ...]
    failed: bool

    def __str__(self) -> str:
        return f"Airflow {self.cell.release} ({self.installed}), Python {self.cell.python}: {'; '.join(self.said)}"


def interpreter(python: str) -> Path | None:
    """The interpreter of this version on the PATH or among those of pyenv; None: this machine has none."""
    on_path = shutil.which(f"python{python}")
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    candidates = [Path(on_path)] if on_path else []
    for candidate in (*candidates, *sorted(pyenv.glob(f"versions/{python}.*/bin/python{python}"), reverse=True)):
        # A name on the PATH is not enough: pyenv puts shims there for versions that are not selected.
        if subprocess.run([candidate, "-c", ""], capture_output=True, check=False).returncode == 0:
            return candidate
    return None


def cells(releases: list[str] | None, pythons: list[str] | None) -> list[Cell]:
    """What is to be tested."""
    running = f"{sys.version_info.major}.{sys.version_info.minor}"
    wanted = [(release, python) for release in releases or RELEASES for python in pythons or [running]]
    if not pythons and (not releases or RELEASES[-1] in releases):
        wanted += [(RELEASES[-1], python) for python in PYTHONS if python != running]
    found = []
    for release, python in wanted:
        executable = Path(sys.executable) if python == running else interpreter(python)
        if executable is not None:
            found.append(Cell(release, python, executable))
        elif pythons:
            raise SystemExit(f"this machine has no Python {python}")
        else:
            print(f"not tested: Airflow {release} on Python {python}, which this machine does not have")
    return found


def run(*command: str | Path, cwd: Path = ROOT, env: dict[str, str] | None = None) -> bool:
    """Runs a command and says whether it ended well."""
    print("+", *command, flush=True)
    return subprocess.run([str(part) for part in command], cwd=cwd, env=env, check=False).returncode == 0


def wheels() -> list[Path]:
    """The wheels of both packages, built anew."""
    folder = CACHE / "wheels"
    shutil.rmtree(folder, ignore_errors=True)
    for package in PACKAGES:
        if not run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", folder, ROOT / package):
            raise SystemExit(f"the wheel of {package} cannot be built")
    return sorted(folder.glob("*.whl"))


def environment(cell: Cell, built: list[Path]) -> Path | None:
    """The interpreter of an environment with this release; None: it cannot be made."""
    python = cell.folder / "bin" / "python"
    uv = Path(sys.executable).parent / "uv"
    if not python.exists() and not run(uv, "venv", "--quiet", "--python", cell.interpreter, cell.folder):
        return None
    needs = (f"apache-airflow=={cell.release}.*", *TEST_NEEDS, *TOO_NEW.get(cell.release, ()))
    installed = run(uv, "pip", "install", "--system-certs", "--quiet", "--python", python, "--upgrade", *needs, *built)
    # The version of the wheels stays the same while they are worked on.
    again = run(
        uv, "pip", "install", "--system-certs", "--quiet", "--python", python, "--no-deps", "--reinstall", *built
    )
    return python if installed and again else None


def version(python: Path) -> str:
    """The version of Airflow in an environment."""
    code = "from importlib.metadata import version; print(version('apache-airflow'))"
    return subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def test(cell: Cell, suites: list[str], built: list[Path]) -> Outcome:
    """Runs the suites in one release."""
    python = environment(cell, built)
    if python is None:
        return Outcome(cell, "not installed", ("the installation failed",), failed=True)
    env = {**os.environ, "MOULIN_BIN": os.environ.get("MOULIN_BIN") or str(build.worker_binary())}
    env["PATH"] = f"{python.parent}{os.pathsep}{env['PATH']}"
    said, failed = [], False
    for suite in suites:
        folder = SUITES[suite][0]
        tests = "tests/airflow" if suite == "airflow" else "tests"
        # Warnings of Airflow itself would drown the summary.
        command = [str(python), "-m", "pytest", "-q", "-p", "no:cacheprovider", "--disable-warnings", "-rfEs", tests]
        passed, last = summarised(command, folder, env)
        failed |= not passed
        said.append(f"{suite} {last}")
    return Outcome(cell, version(python), tuple(said), failed)


def summarised(command: list[str], folder: Path, env: dict[str, str]) -> tuple[bool, str]:
    """Runs a command with its output shown; whether it ended well, and its last line."""
    print("+", *command, flush=True)
    last = "nothing was said"
    with subprocess.Popen(
        command, cwd=folder, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        for line in process.stdout or ():
            print(line, end="", flush=True)
            last = line.strip(" =\n") or last
    return process.returncode == 0, last


def with_pip_alone(built: list[Path]) -> bool:
    """Whether pip, with nothing but the wheels and the package index, makes an Airflow that knows the provider."""
    folder = CACHE / "pip"
    shutil.rmtree(folder, ignore_errors=True)
    python = folder / "bin" / "python"
    if not run(sys.executable, "-m", "venv", folder) or not run(python, "-m", "pip", "install", "--quiet", *built):
        return False
    env = {**os.environ, "AIRFLOW_HOME": str(folder / "home"), "AIRFLOW__CORE__LOAD_EXAMPLES": "False"}
    command = [
        str(python),
        "-m",
        "airflow",
        "providers",
        "get",
        "airflow-provider-moulin",
        "--full",
        "--output",
        "json",
    ]
    done = subprocess.run(command, capture_output=True, text=True, env=env, check=False)
    if done.returncode != 0:
        print(done.stdout, done.stderr)
        return False
    missing = untold(json.loads(done.stdout[done.stdout.index("[") :]))
    print(f"`airflow providers` does not tell {missing}" if missing else "pip alone: Airflow knows the provider")
    # The modules that people import load what they name only when it is asked for.
    return not missing and run(python, "-c", "from moulin_provider.operators.moulin import MoulinLandOperator")


def untold(told: list[dict[str, object]]) -> list[str]:
    """What `airflow providers get --full` does not say of the provider, although it has it."""
    (provider,) = told
    return [name for name in TOLD if not provider.get(name)]


def main() -> None:
    """Everything that was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--airflow", action="append", choices=RELEASES, help="this release; all when none is named")
    parser.add_argument("--python", action="append", choices=PYTHONS, help="on this Python, which has to be there")
    parser.add_argument("--suite", action="append", choices=sorted(SUITES), help="this suite; both when none is named")
    parser.add_argument("--pip", action="store_true", help="only look whether the wheels install with pip alone")
    options = parser.parse_args()
    CACHE.mkdir(parents=True, exist_ok=True)
    built = wheels()
    if options.pip:
        sys.exit(0 if with_pip_alone(built) else 1)
    suites = options.suite or ["provider", "airflow"]
    if "airflow" in suites:
        # With pip, which the environments to test in do not have.
        flights.fetch()
    outcomes = [test(cell, suites, built) for cell in cells(options.airflow, options.python)]
    print(*outcomes, sep="\n")
    sys.exit(any(outcome.failed for outcome in outcomes))


if __name__ == "__main__":
    main()
