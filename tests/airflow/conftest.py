"""One Airflow and one worker for all cases of this folder: starting them takes longer than any case."""

from __future__ import annotations

import json
import os
import signal
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from airflow_stack import Stack
from case import Case
from gated_files import GatedFiles

import build
import flights
from local_stack import LocalAirflow, LocalWorker

LINEAGE = "lineage.ndjson"
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def flights_csv() -> Path:
    """The real flights, 336,776 rows."""
    return flights.fetch()


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The running worker and Airflow."""
    from moulin import Client

    home = tmp_path_factory.mktemp("stack")
    mark = uuid.uuid4().hex
    binary = Path(os.environ.get("MOULIN_BIN") or build.worker_binary())
    worker = LocalWorker(binary, home / "worker", env={"MOULIN_SLOTS": "4"}, mark=mark)
    airflow = LocalAirflow(
        home / "airflow",
        python=Path(sys.executable),
        dag_folders={"examples": ROOT / "dags", "cases": Path(__file__).parent / "dags"},
        env={
            "AIRFLOW_CONN_MOULIN_DEFAULT": f"moulin://{worker.address}",
            "AIRFLOW__OPENLINEAGE__TRANSPORT": json.dumps(
                {"type": "file", "log_file_path": str(home / LINEAGE), "append": True}
            ),
            "MOULIN_ARRIVALS": f"file://{home}/arrivals/*/*.csv",
            "MOULIN_ARRIVALS_SECONDS": "1",
        },
        mark=mark,
    )
    files = GatedFiles()
    # A test run that is told to end stops what it started, as one that is interrupted does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        worker.start()
        airflow.start()
        airflow.wait_healthy()
        with Client(worker.address) as client:
            yield Stack(airflow, worker, client, files)
    finally:
        files.close()
        worker.stop()
        airflow.stop()


@pytest.fixture
def start(stack: Stack):
    """Starts a run whose input stops half way until its gate opens."""

    names = []

    def start(dag_id: str) -> Case:
        name = f"t_{uuid.uuid4().hex[:8]}"
        names.append(name)
        uri = stack.files.add(name)
        run_id = stack.airflow.trigger(dag_id, {"uri": uri, "table": f"cases.{name}"})
        return Case(stack, dag_id, run_id, name)

    yield start
    for name in names:
        stack.files.open(name)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Adds the ends of all logs to the report of a case that failed."""
    outcome: Any = yield
    report = outcome.get_result()
    stack = getattr(item, "funcargs", {}).get("stack")
    if report.failed and isinstance(stack, Stack):
        report.sections.append(("logs", f"{stack.airflow.logs(25)}\n--- worker\n{stack.worker.tail(60)}"))
