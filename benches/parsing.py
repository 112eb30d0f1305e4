"""What DAG files with this provider's operators cost the dag-processor, against the same files with EmptyOperator.

    python -m benches.parsing --files 200 --rounds 5 [--how forks]

Beside them stand files with EmptyOperators that have an asset as their outlet, and files with BashOperators: what an outlet,
and an operator of Airflow's own with templated fields, cost in any case. A file is parsed and serialized by the function that
the dag-processor calls for it, and what is compared is CPU time. Each round parses the files in turn: one of each kind, then
the next one of each.

- `--how forks` does it as the dag-processor does: every file in a process of its own, forked from one that has loaded what a
  dag-processor has when it begins.
- `--how supervised` has each of these processes started by the dag-processor's own class, which costs more for every file:
  sockets, logs, and messages to and fro.
- `--how one-process` parses all files in one process, as tests of DAG files do.
- `--how dag-processor` runs the real one over the files of one kind after the other, once, and takes the CPU time of all its
  processes, without that of starting it; most of that is Airflow's own: it stores what it has parsed in its database.
- `--imports` takes the time of the import alone, in a process that has loaded Airflow's own operators: milliseconds of CPU,
  bytecode cached.

Other work on the machine only ever adds to what a file takes, so a kind is compared with EmptyOperator by its mean, by its
median, and by where the cheapest tenth of its files ends.
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
from collections.abc import Callable
from pathlib import Path

EMPTY = """
from airflow.sdk import DAG
from airflow.providers.standard.operators.empty import EmptyOperator

with DAG("empty_{n}", schedule=None):
    tasks = [EmptyOperator(task_id=f"t{{m}}") for m in range({tasks})]
"""
EMPTY_WITH_OUTLET = """
from airflow.sdk import DAG
from airflow.sdk import Asset
from airflow.providers.standard.operators.empty import EmptyOperator

with DAG("empty_with_outlet_{n}", schedule=None):
    tasks = [EmptyOperator(task_id=f"t{{m}}", outlets=[Asset("bronze.flights")]) for m in range({tasks})]
"""
BASH = """
from airflow.sdk import DAG
from airflow.providers.standard.operators.bash import BashOperator

with DAG("bash_{n}", schedule=None):
    tasks = [BashOperator(task_id=f"t{{m}}", bash_command="echo {{{{{{{{ ds }}}}}}}}") for m in range({tasks})]
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
KINDS = {"empty": EMPTY, "empty_with_outlet": EMPTY_WITH_OUTLET, "bash": BASH, "moulin": MOULIN}
BEGIN = """
import gc, json, os, sys, time
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

kinds = sys.argv[2:]
in_turn = list(zip(*(sorted((Path(sys.argv[1]) / kind).glob("*.py")) for kind in kinds)))
took = {kind: [] for kind in kinds}
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
def cpu_of(path):
    began = time.process_time()
    parse(path)
    return time.process_time() - began
"""
IN_FORKS = """
def cpu_of(path):
    _pre_import_airflow_modules(str(path), structlog.get_logger())
    child = os.fork()
    if child == 0:
        try:
            parse(path)
        except BaseException as error:
            print(repr(error), file=sys.stderr, flush=True)
            os._exit(1)
        os._exit(0)
    _, status, used = os.wait4(child, 0)
    assert status == 0
    return used.ru_utime + used.ru_stime

"""

SUPERVISED = """
import resource, selectors, uuid
from airflow.dag_processing.processor import DagFileProcessorProcess

nothing = open(os.devnull, "ab")
logger = structlog.wrap_logger(structlog.BytesLogger(nothing), processors=[lambda *_: b""])
selector = selectors.DefaultSelector()

def cpu_of(path):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    process = DagFileProcessorProcess.start(
        id=uuid.uuid4(), path=str(path), bundle_path=path.parent, bundle_name="bench", dag_file_rel_path=path.name,
        callbacks=[], selector=selector, logger=logger, logger_filehandle=open(os.devnull, "ab"),
        subprocess_logs_to_stdout=False, client=None,
    )
    while not process.is_ready:
        for key, _ in selector.select(timeout=1.0):
            handle, on_close = key.data
            try:
                goes_on = handle(key.fileobj)
            except (BrokenPipeError, ConnectionResetError):
                goes_on = False
            if not goes_on:
                on_close(key.fileobj)
                key.fileobj.close()
    process.close()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    found = process.parsing_result
    assert found and not found.import_errors and len(found.serialized_dags) == 1, found
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

"""
IN_TURN = """
for path in in_turn[0]:
    cpu_of(path)
for paths in in_turn:
    for kind, path in zip(kinds, paths):
        took[kind].append(cpu_of(path))
print(json.dumps(took))
"""
HOW = {"forks": IN_FORKS, "supervised": SUPERVISED, "one-process": IN_ONE_PROCESS}
DAG_PROCESSOR = "dag-processor"


def parse(folder: Path, how: str) -> dict[str, list[float]]:
    """CPU seconds of parsing each file of each kind, all in turn in one process or in processes forked from it."""
    code = BEGIN + HOW[how] + IN_TURN
    command = [sys.executable, "-c", code, str(folder), *KINDS]
    # Installed packages have their bytecode.
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=env)
    if done.returncode != 0:
        raise SystemExit(done.stderr)
    found: dict[str, list[float]] = json.loads(done.stdout.splitlines()[-1])
    return found


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
    parser.add_argument("--how", choices=[*HOW, DAG_PROCESSOR], default="forks")
    parser.add_argument("--imports", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        os.environ["AIRFLOW_HOME"] = str(home / "airflow")
        os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"
        if options.imports:
            print(json.dumps(time_imports(options.rounds), indent=2))
            return
        for kind, text in KINDS.items():
            (home / kind).mkdir()
            for n in range(options.files):
                (home / kind / f"{kind}_{n:03}.py").write_text(text.format(n=n, tasks=options.tasks))
        print(json.dumps(measured(home, options), indent=2))


def measured(home: Path, options: argparse.Namespace) -> dict[str, object]:
    """What each kind of file took, and by how much that is more than the files with EmptyOperator."""
    # Of a real dag-processor each round is one figure for all files.
    processor = DagProcessor(home) if options.how == DAG_PROCESSOR else None
    took: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for _ in range(options.rounds):
        found = {kind: [processor.parse(home / kind)] for kind in KINDS} if processor else parse(home, options.how)
        for kind, values in found.items():
            took[kind] += values
    return {
        "files": options.files,
        "tasks_per_file": options.tasks,
        "how": options.how,
        **{kind: compared(took[kind], took["empty"]) for kind in KINDS},
    }


def compared(took: list[float], empty: list[float]) -> dict[str, object]:
    """Milliseconds of CPU, and how much slower that is than EmptyOperator in percent."""
    by: dict[str, Callable[[list[float]], float]] = {
        "mean": statistics.fmean,
        "median": statistics.median,
        "least_tenth": lambda values: sorted(values)[len(values) // 10],
    }
    return {
        "ms": {name: round(1e3 * of(took), 2) for name, of in by.items()},
        "slower_percent": {name: round(100 * (of(took) / of(empty) - 1), 1) for name, of in by.items()},
    }


if __name__ == "__main__":
    main()
