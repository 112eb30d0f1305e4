"""Two workers with nothing in common but a PostgreSQL server and a warehouse are one pool."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

import catalogs
import input_files
import moulin
from landed_table import LandedTable
from local_stack.postgres import LocalPostgres
from worker_process import NewWorker, WorkerProcess, until

JOBS = 6


@pytest.fixture
def pool(postgres: LocalPostgres, state: Path, new_worker: NewWorker) -> tuple[WorkerProcess, WorkerProcess]:
    """Two workers, not started yet, whose jobs and catalog are in one database."""
    catalog = catalogs.postgres(state, postgres.new_database())
    settings = {**catalog.settings, "MOULIN_STORE_URL": catalog.settings["MOULIN_CATALOG_URI"]}
    one, two = (new_worker(name, MOULIN_LEASE="2s", MOULIN_SLOTS="1", **settings) for name in ("one", "two"))
    return one, two


@pytest.fixture
def table(pool: tuple[WorkerProcess, WorkerProcess], state: Path) -> LandedTable:
    theirs = pool[0].settings["MOULIN_CATALOG_URI"].replace("postgresql:", "postgresql+psycopg2:")
    return LandedTable(state, uri=theirs)


def test_two_workers_share_the_jobs_and_each_row_lands_once(
    pool: tuple[WorkerProcess, WorkerProcess], table: LandedTable, tmp_path: Path
) -> None:
    source = moulin.csv(input_files.numbered(tmp_path / "input", rows=20_000), columns={"id": "long"})
    spec = moulin.JobSpec(source=source, target=moulin.iceberg("bronze.numbers", on_loaded_file="reload"))
    keys = [moulin.JobKey(dag_id="dag", run_id="run", task_id=f"land-{n}") for n in range(JOBS)]
    # The first one is busy for as long as the test wants, and keeps its job: the lease is long.
    pool[0].start(MOULIN_FAULT_POINT="mid_read:pause", MOULIN_LEASE="60s").submit(spec, keys[0])
    pool[0].wait_paused()
    other = pool[1].start()

    done = [job.wait(60).get() for job in [other.submit(spec, key) for key in keys[1:]]]
    pool[0].resume()
    first = other.submit(spec, keys[0])

    assert not first.created
    done.append(first.wait(60).get())
    assert len({job.worker_id for job in done[:-1]}) == 1
    assert done[-1].worker_id != done[0].worker_id
    assert [job.attempt for job in done] == [1] * JOBS
    assert table.ids() == sorted(list(range(20_000)) * JOBS)


def test_a_worker_that_dies_leaves_its_job_to_the_other(
    pool: tuple[WorkerProcess, WorkerProcess], table: LandedTable, tmp_path: Path
) -> None:
    key = moulin.JobKey(dag_id="dag", run_id="run", task_id="land")
    pool[0].start(MOULIN_FAULT_POINT="committed_not_recorded:kill").submit(input_files.job(tmp_path / "input"), key)
    assert pool[0].wait_end() == -signal.SIGKILL
    snapshot = until("the commit is there", table.snapshot_id)

    receipt = pool[1].start().submit(input_files.job(tmp_path / "input"), key).wait(60).receipt

    assert receipt is not None
    assert (receipt.snapshot_id, receipt.attempt) == (snapshot, 1)
    table.holds_each_row_once(input_files.LANDED_IDS)
