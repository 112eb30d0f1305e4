"""Dynamic task mapping: many instances of one task, and one table for all of them."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import build
import pytest
from airflow.sdk import DAG
from local_stack import LocalWorker
from moulin import Client, csv, iceberg
from pyiceberg.catalog.sql import SqlCatalog
from task_context import task_context

from moulin_provider.operators.moulin import MoulinLandOperator

INSTANCES = 100


@pytest.fixture
def wide_worker(tmp_path, monkeypatch):
    """A worker of its own with room for many jobs at once."""
    binary = Path(os.environ.get("MOULIN_BIN") or build.worker_binary())
    worker = LocalWorker(binary, tmp_path / "wide", env={"MOULIN_SLOTS": "16"})
    worker.start()
    monkeypatch.setenv("AIRFLOW_CONN_WIDE", f"moulin://{worker.address}")
    yield worker
    worker.stop_all()


def test_a_hundred_mapped_tasks_land_in_one_table_and_no_commit_fails(wide_worker, tmp_path):
    sources = []
    for n in range(INSTANCES):
        path = tmp_path / f"{n:03}.csv"
        path.write_text(f"id,part\n{n},a\n{n},b\n")
        sources.append(csv(path))
    with DAG("mapped", schedule=None):
        land = MoulinLandOperator.partial(
            task_id="land", target=iceberg("mapped.numbers"), moulin_conn_id="wide", deferrable=False, poll_interval=1
        ).expand(source=sources)
    tasks = [land.unmap({"source": source}) for source in sources]

    with ThreadPoolExecutor(16) as pool:
        receipts = list(
            pool.map(lambda at: tasks[at].execute(task_context("r", "land", map_index=at)), range(INSTANCES))
        )

    assert {receipt["rows_landed"] for receipt in receipts} == {2}
    with Client(wide_worker.address) as client:
        jobs = list(client.list())
    assert {job.state.value for job in jobs} == {"succeeded"}
    assert sorted(job.key.map_index for job in jobs) == list(range(INSTANCES))
    assert {job.attempt for job in jobs} == {1}, "no job had to begin again because its commit failed"
    catalog = SqlCatalog("moulin", uri=wide_worker.catalog_uri, warehouse=wide_worker.warehouse)
    table = catalog.load_table("mapped.numbers")
    assert sorted(table.scan().to_arrow()["id"].to_pylist()) == sorted([*range(INSTANCES)] * 2)
    # Commits that wait together share a snapshot.
    assert len(table.snapshots()) == len({receipt["snapshot_id"] for receipt in receipts}) <= INSTANCES


def test_an_instance_of_a_mapped_task_is_described_by_its_own_source():
    with DAG("mapped", schedule=None):
        land = MoulinLandOperator.partial(task_id="land", target=iceberg("mapped.t")).expand(
            source=[csv("file:///data/a.csv"), {"uris": ["b.csv"], "format": "csv"}]
        )
    sources = [land.unmap({"source": one}).job_spec().source for one in land.expand_input.value["source"]]
    assert sources == [csv("file:///data/a.csv"), csv("b.csv")]
