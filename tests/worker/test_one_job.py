"""Submits of one key make one job, however often and however close together they come."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import input_files
import moulin
from landed_table import LandedTable

KEY = moulin.JobKey(dag_id="dag", run_id="run", task_id="land")


def test_a_second_submit_attaches_to_the_first_job(client: moulin.Client, table: LandedTable, tmp_path: Path) -> None:
    spec = input_files.job(tmp_path / "input")
    first = client.submit(spec, KEY).wait(60)
    second = client.submit(spec, KEY, epoch=2)
    assert (first.created, second.created) == (True, False)
    assert (second.job_id, second.job.receipt, second.job.epoch) == (first.job_id, first.receipt, 2)
    table.holds_each_row_once(input_files.LANDED_IDS)


def test_sixteen_submits_at_once_make_one_job(client: moulin.Client, table: LandedTable, tmp_path: Path) -> None:
    spec = input_files.job(tmp_path / "input")
    with ThreadPoolExecutor(16) as threads:
        handles = list(threads.map(lambda _: client.submit(spec, KEY), range(16)))
    assert [handle.created for handle in handles].count(True) == 1
    assert len({handle.job_id for handle in handles}) == 1
    receipts = [handle.wait(60).receipt for handle in handles]
    assert all(receipt == receipts[0] for receipt in receipts)
    table.holds_each_row_once(input_files.LANDED_IDS)
    assert len(list(client.list())) == 1


def test_a_new_generation_is_another_job(client: moulin.Client, tmp_path: Path) -> None:
    spec = input_files.job(tmp_path / "input")
    first = client.submit(spec, KEY).wait(60)
    cleared = client.submit(spec, KEY, generation=1).wait(60)
    assert cleared.created
    assert cleared.job_id != first.job_id
    assert [job.generation for job in client.list(dag_id="dag")] == [1, 0]


def test_eight_jobs_into_one_table_all_land(client: moulin.Client, table: LandedTable, tmp_path: Path) -> None:
    spec = input_files.job(tmp_path / "input", on_loaded_file="reload")
    handles = [client.submit(spec) for _ in range(8)]
    for handle in handles:
        handle.wait(60)
    table.holds_each_row_once(sorted(input_files.LANDED_IDS * 8))
    assert len(table.load().snapshots()) == 8
