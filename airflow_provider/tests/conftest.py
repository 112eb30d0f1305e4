"""An Airflow home of its own, before anything imports Airflow; values that tests build on."""

from __future__ import annotations

import os
import sys
import tempfile
from datetime import timedelta
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "scripts"), str(ROOT / "tests" / "airflow")]

os.environ["AIRFLOW_HOME"] = tempfile.mkdtemp(prefix="airflow-home-")
os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"
os.environ["AIRFLOW__API__BASE_URL"] = "http://airflow.test"
os.environ.pop("AIRFLOW__OPERATORS__DEFAULT_DEFERRABLE", None)

import build  # noqa: E402
import pytest  # noqa: E402
from gated_files import GatedFiles  # noqa: E402
from local_stack import LocalWorker  # noqa: E402
from moulin.fault import Fault, FaultKind, Place  # noqa: E402
from moulin.job import Job, JobState, Progress, Receipt, Reject, Room, RoomTime  # noqa: E402
from moulin.spec import JobKey  # noqa: E402


@pytest.fixture(scope="session")
def worker(tmp_path_factory):
    """A real worker, and the connection `moulin_default` that names it."""
    worker = LocalWorker(Path(os.environ.get("MOULIN_BIN") or build.worker_binary()), tmp_path_factory.mktemp("worker"))
    worker.start()
    os.environ["AIRFLOW_CONN_MOULIN_DEFAULT"] = f"moulin://{worker.address}"
    yield worker
    worker.stop_all()


@pytest.fixture(scope="session")
def files():
    """Files that stop half way until a test opens their gate."""
    files = GatedFiles()
    yield files
    files.close()


@pytest.fixture
def make_receipt():
    def make(**changes: Any) -> Receipt:
        values: dict[str, Any] = {
            "job_id": "job-00000000000000000000",
            "table": "bronze.flights",
            "files": 1,
            "rows_read": 336_776,
            "rows_landed": 215_941,
            "rows_rejected": 0,
            "rows_filtered": 120_835,
            "bytes_read": 2**40,
            "bytes_written": 2**39,
            "data_files": 12,
            "snapshot_id": 2**62 + 1,
            "metadata_location": "s3://warehouse/bronze/flights/metadata/00001.metadata.json",
            "elapsed": timedelta(seconds=1.5),
            "rooms": tuple(RoomTime(room, timedelta(seconds=0.25)) for room in Room if room != Room.UNKNOWN),
            "rejects": (),
            "attempt": 1,
            "token": "land_flights/manual__2026/land_flights/-1/0",
        }
        return Receipt(**{**values, **changes})

    return make


@pytest.fixture
def make_job():
    def make(state: str = "running", **changes: Any) -> Job:
        values: dict[str, Any] = {
            "job_id": "job-00000000000000000000",
            "key": JobKey(task_id="t"),
            "generation": 0,
            "epoch": 1,
            "state": JobState(state),
            "attempt": 1,
            "worker_id": "w1",
            "table": "bronze.flights",
            "submitted_at": None,
            "started_at": None,
            "finished_at": None,
            "progress": Progress(),
            "receipt": None,
            "fault": None,
        }
        return Job(**{**values, **changes})

    return make


@pytest.fixture
def make_rejects():
    def make(count: int, length: int = 40) -> tuple[Reject, ...]:
        return tuple(
            Reject(
                Place(f"file:///data/{'x' * length}.csv", record=n, line=n + 1, byte_offset=n * 100),
                "type.int",
                "é" * length,
            )
            for n in range(1, count + 1)
        )

    return make


@pytest.fixture
def make_fault():
    def make(kind: FaultKind = FaultKind.INVALID_SPEC, *, retryable: bool = False) -> Fault:
        return Fault(kind, "there is no column `orign`", "correct the SELECT", retryable, ("planning failed",))

    return make
