from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import moulin
from landed_table import LandedTable
from local_stack.postgres import LocalPostgres
from local_stack.rest_catalog import LocalRestCatalog
from local_stack.s3 import REGION, LocalS3
from worker_process import NewWorker, WorkerProcess, binary


@pytest.fixture(scope="session", autouse=True)
def _the_worker_is_built() -> None:
    assert binary().exists(), f"there is no worker at {binary()}: `make build` makes it"


@pytest.fixture(scope="session")
def postgres() -> Iterator[LocalPostgres]:
    """A PostgreSQL server for all tests; each takes a database of its own (`new_database`)."""
    server = LocalPostgres()
    try:
        server.start()
        yield server
    finally:
        server.close()


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalS3]:
    """An S3-compatible server for all tests; each takes a bucket of its own (`new_bucket`)."""
    server = LocalS3(tmp_path_factory.mktemp("s3"))
    try:
        server.start()
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="session")
def rest_catalog(s3: LocalS3, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalRestCatalog]:
    """A REST catalog for all tests, with its tables on `s3`; each test takes a namespace of its own."""
    properties = {
        "io-impl": "org.apache.iceberg.aws.s3.S3FileIO",
        "client.region": REGION,
        "include-credentials": "true",
        **s3.properties,
    }
    server = LocalRestCatalog(tmp_path_factory.mktemp("rest"), f"s3://{s3.new_bucket()}/warehouse", **properties)
    try:
        server.start()
        yield server
    finally:
        server.stop()


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """The folder with a worker's job store, catalog and warehouse."""
    folder = tmp_path / "state"
    folder.mkdir()
    return folder


@pytest.fixture
def new_worker(state: Path, request: pytest.FixtureRequest) -> Iterator[NewWorker]:
    """Makes workers, not started yet; all of them share the job store, catalog and warehouse of `state`."""
    made: list[WorkerProcess] = []

    def make(name: str = "", **settings: str) -> WorkerProcess:
        shared = {
            "MOULIN_STORE_URL": f"sqlite://{state}/jobs.db",
            "MOULIN_CATALOG_URI": f"sqlite://{state}/catalog.db",
            "MOULIN_WAREHOUSE": f"file://{state}/warehouse",
        }
        made.append(WorkerProcess(state / name, **{**(shared if name else {}), **settings}))
        return made[-1]

    yield make
    for worker in made:
        worker.close()
        # Shown by pytest when the test failed.
        print(f"--- {worker.state.name}\n{worker.log()[-4000:]}")


@pytest.fixture
def worker(new_worker: NewWorker) -> WorkerProcess:
    """A worker, not started yet."""
    return new_worker()


@pytest.fixture
def client(worker: WorkerProcess) -> moulin.Client:
    """A client of a worker that runs."""
    return worker.start()


@pytest.fixture
def table(state: Path) -> LandedTable:
    """The table that the jobs of `input_files` land in."""
    return LandedTable(state)
