"""What DAG files with this provider's operators cost the dag-processor, against the same files with EmptyOperator.

    python -m benches.parsing --files 200 --rounds 5

Each round parses all files of one kind and then of the other; a file is parsed and serialized by the function that the
dag-processor calls for it, and what is compared is CPU time. `--fork` does that as the dag-processor does: every file in a
process of its own, forked from one that has loaded what a dag-processor has when it begins. `--dag-processor` runs the real
one over the files, once, and takes the CPU time of all its processes, without that of starting it; most of that is Airflow's
own: it stores what it has parsed in its database. `--imports` takes the time of the import alone, in a process that has loaded
Airflow's own operators: milliseconds of CPU, bytecode cached.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

EMPTY = """
from airflow.sdk import DAG
from airflow.providers.standard.operators.empty import EmptyOperator

with DAG("empty_{n}", schedule=None):
    tasks = [EmptyOperator(task_id=f"t{{m}}") for m in range({tasks})]
"""
MOULIN = """
from airflow.sdk import DAG
from moulin import csv, iceberg, sql
from moulin_provider.operators.moulin import MoulinLandOperator

with DAG("moulin_{n}", schedule=None):
    tasks = [
        MoulinLandOperator(
            task_id=f"t{{m}}",
            source=csv("s3://raw/flights/{{{{{{{{ ds }}}}}}}}/*.csv.gz", null_values=["NA"]),
            transform=sql("SELECT *, dep_delay > 15 AS late FROM input WHERE origin <> 'EWR'"),
            target=iceberg("bronze.flights", partition_by=["month(time_hour)"]),
        )
        for m in range({tasks})
    ]
"""
BEGIN = """
import gc, os, resource, sys, time
from pathlib import Path
import structlog
import airflow.cli.commands.dag_processor_command
from airflow.dag_processing.processor import DagFileParseRequest, _parse_file, _pre_import_airflow_modules
from airflow.listeners.listener import get_listener_manager

# As a dag-processor does when it starts: its job asks for listeners, and so for the plugins of all packages.
get_listener_manager()
gc.freeze()

def parse(path):
    request = DagFileParseRequest(file=str(path), bundle_path=path.parent, bundle_name="bench", callback_requests=[])
    found = _parse_file(request, structlog.get_logger())
    assert not found.import_errors, found.import_errors
    assert len(found.serialized_dags) == 1

files = sorted(Path(sys.argv[1]).glob("*.py"))
"""
IMPORTS = """
import sys, time
import airflow.sdk, airflow.providers.common.compat.sdk, airflow.sdk.bases.operator
from airflow.providers.common.compat.sdk import AirflowException, BaseOperator, BaseOperatorLink, conf
conf.getboolean("operators", "default_deferrable", fallback=False)
BaseOperator(task_id="other")
began = time.process_time()
from moulin import csv, iceberg, sql
from moulin_provider.operators.moulin import MoulinLandOperator
MoulinLandOperator(task_id="t", source=csv("a.csv"), transform=sql("SELECT 1"), target=iceberg("a.b"))
print(time.process_time() - began)
"""
IN_ONE_PROCESS = """
parse(files[0])
began = time.process_time()
for path in files:
    parse(path)
print(time.process_time() - began)
"""
IN_FORKS = """
for path in files:
    _pre_import_airflow_modules(str(path), structlog.get_logger())
    child = os.fork()
    if child == 0:
        try:
            parse(path)
        except BaseException as error:
            print(repr(error), file=sys.stderr, flush=True)
            os._exit(1)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(used.ru_utime + used.ru_stime)
"""


def parse(folder: Path, fork: bool) -> float:
    """CPU seconds of parsing a folder."""
    code = BEGIN + (IN_FORKS if fork else IN_ONE_PROCESS)
    command = [sys.executable, "-c", code, str(folder)]
    # Installed packages have their bytecode.
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=env)
    if done.returncode != 0:
        raise SystemExit(done.stderr)
    return float(done.stdout.split()[-1])


class DagProcessor:
    """A real `airflow dag-processor`, in a home that has a database."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._airflow("db", "migrate")
        shutil.copy(home / "airflow" / "airflow.db", home / "empty.db")
        (home / "none").mkdir()
        self._start = min(self._took(home / "none") for _ in range(2))

    def parse(self, folder: Path) -> float:
        """CPU seconds of parsing and storing a folder, without those of the start."""
        return self._took(folder) - self._start

    def _took(self, folder: Path) -> float:
        for left in (self._home / "airflow").glob("airflow.db*"):
            left.unlink()
        shutil.copy(self._home / "empty.db", self._home / "airflow" / "airflow.db")
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        self._airflow("dag-processor", "--num-runs", "1", AIRFLOW__CORE__DAGS_FOLDER=str(folder))
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        with sqlite3.connect(self._home / "airflow" / "airflow.db") as stored:
            (count,) = stored.execute("SELECT count(*) FROM serialized_dag").fetchone()
        assert count == len(list(folder.glob("*.py"))), f"{count} DAGs of {folder} were stored"
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    def _airflow(self, *command: str, **env: str) -> None:
        once = {"AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "3600"}
        done = subprocess.run(
            [sys.executable, "-m", "airflow", *command], capture_output=True, text=True, check=False,
            env={**os.environ, **once, **env},
        )  # fmt: skip
        if done.returncode != 0:
            raise SystemExit(done.stderr[-4000:])


def time_imports(rounds: int) -> dict[str, object]:
    """Milliseconds of CPU that a DAG file's import of ours takes, each time in a process of its own; the first is not counted."""
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    took = []
    for _ in range(rounds + 1):
        done = subprocess.run([sys.executable, "-c", IMPORTS], capture_output=True, text=True, check=True, env=env)
        took.append(1e3 * float(done.stdout.split()[-1]))
    return {"imports": rounds, "least_ms": round(min(took[1:]), 1), "median_ms": round(statistics.median(took[1:]), 1)}


def main() -> None:
    """Writes the files, parses them, prints what was found as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=200)
    parser.add_argument("--tasks", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--fork", action="store_true")
    parser.add_argument("--dag-processor", action="store_true")
    parser.add_argument("--imports", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        os.environ["AIRFLOW_HOME"] = str(home / "airflow")
        os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"
        if options.imports:
            print(json.dumps(time_imports(options.rounds), indent=2))
            return
        for kind, text in (("empty", EMPTY), ("moulin", MOULIN)):
            (home / kind).mkdir()
            for n in range(options.files):
                (home / kind / f"{kind}_{n:03}.py").write_text(text.format(n=n, tasks=options.tasks))
        processor = DagProcessor(home) if options.dag_processor else None
        took: dict[str, list[float]] = {"empty": [], "moulin": []}
        for _ in range(options.rounds):
            for kind, values in took.items():
                values.append(processor.parse(home / kind) if processor else parse(home / kind, options.fork))
    empty, moulin = (min(took[kind]) for kind in ("empty", "moulin"))
    found = {
        "files": options.files,
        "tasks_per_file": options.tasks,
        "parsed_by": "dag-processor" if options.dag_processor else "forks" if options.fork else "one process",
        "empty_cpu_s": round(empty, 3),
        "moulin_cpu_s": round(moulin, 3),
        "slower_percent": round(100 * (moulin / empty - 1), 1),
        "median_slower_percent": round(
            100 * statistics.median(m / e - 1 for m, e in zip(took["moulin"], took["empty"], strict=True)), 1
        ),
    }
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
