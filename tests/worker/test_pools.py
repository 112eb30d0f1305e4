"""Pools and priorities: which worker begins which job, in which order, and what a job is told that nobody begins."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

import input_files
import moulin
from worker_process import NewWorker, run_moulin, until


def job(folder: Path, table: str) -> moulin.JobSpec:
    """A small job with a table of its own."""
    uri = input_files.numbered(folder, rows=100, files=1)
    return moulin.JobSpec(source=moulin.csv(uri), target=moulin.iceberg(f"pools.{table}"))


@pytest.fixture
def door(new_worker: NewWorker) -> moulin.Client:
    """A worker that takes jobs and begins none of them: it serves a pool that no test uses."""
    return new_worker("door", MOULIN_POOLS="nobody's").start()


def test_a_job_waits_for_a_worker_of_its_pool_and_is_told_so(
    door: moulin.Client, new_worker: NewWorker, state: Path, tmp_path: Path
) -> None:
    new_worker("day", MOULIN_POOLS="day, late day", MOULIN_WORKER_ID="worker-of-the-day").start()
    handle = door.submit(job(tmp_path / "input", "night"), pool="night")
    assert (handle.job.pool, handle.job.priority) == ("night", 1)
    told = until("the job is told", lambda: handle.get().waiting)
    assert told.startswith("no live worker serves the pool `night` (")
    assert "worker-of-the-day serves day, late day" in told
    assert "job.pools" in told
    shown = run_moulin(state, "get", handle.job_id, MOULIN_STORE_URL=f"sqlite://{state}/jobs.db").stdout
    assert "pool night, priority 1" in shown
    assert "no live worker serves the pool `night`" in shown

    new_worker("night", MOULIN_POOLS="night", MOULIN_WORKER_ID="worker-of-the-night").start()
    assert handle.wait(60).job.worker_id == "worker-of-the-night"
    assert handle.job.waiting == ""


def test_a_worker_without_pools_serves_every_pool(door: moulin.Client, new_worker: NewWorker, tmp_path: Path) -> None:
    handle = door.submit(job(tmp_path / "input", "any"), pool="Größere Jobs (nightly)")
    new_worker("all").start()
    assert handle.wait(60).job.state == "succeeded"


def test_a_job_without_a_pool_is_in_the_default_pool(
    door: moulin.Client, new_worker: NewWorker, tmp_path: Path
) -> None:
    handle = door.submit(job(tmp_path / "input", "default"))
    assert handle.job.pool == "default_pool"
    new_worker("default", MOULIN_POOLS="default_pool").start()
    handle.wait(60)


def test_the_pool_of_a_worker_that_was_killed_is_served_by_nobody(
    door: moulin.Client, new_worker: NewWorker, tmp_path: Path
) -> None:
    night = new_worker("night", MOULIN_POOLS="night", MOULIN_LEASE="5s", MOULIN_SLOTS="1")
    client = night.start(MOULIN_FAULT_POINT="mid_read:kill")
    assert client.describe().pools == ("night",)
    door.submit(job(tmp_path / "a", "a"), pool="night")
    assert night.wait_end() == -signal.SIGKILL
    waits = door.submit(job(tmp_path / "b", "b"), pool="night")
    assert waits.get().waiting == "", "it waits its turn: nobody knows yet"
    until("the job is told", lambda: "no live worker serves the pool `night`" in waits.get().waiting)


def test_a_worker_that_drains_serves_no_pool(door: moulin.Client, new_worker: NewWorker, tmp_path: Path) -> None:
    night = new_worker("night", MOULIN_POOLS="night").start()
    assert night.describe().accepting
    night.drain()
    assert not night.describe().accepting
    waits = door.submit(job(tmp_path / "b", "b"), pool="night")
    until("the job is told", lambda: "no live worker serves the pool `night`" in waits.get().waiting)


def test_jobs_are_begun_by_priority(door: moulin.Client, new_worker: NewWorker, tmp_path: Path) -> None:
    wanted = {"low": -5, "usual": 1, "high": 100, "higher": 101}
    handles = {
        name: door.submit(job(tmp_path / name, name), pool="p", priority=priority) for name, priority in wanted.items()
    }
    new_worker("one", MOULIN_SLOTS="1").start()
    began = {name: handle.wait(60).job.started_at for name, handle in handles.items()}
    assert sorted(began, key=lambda name: str(began[name])) == ["higher", "high", "usual", "low"]


def test_more_jobs_than_may_wait_are_refused_until_some_have_begun(new_worker: NewWorker, tmp_path: Path) -> None:
    door = new_worker("door", MOULIN_POOLS="nobody's", MOULIN_MAX_QUEUED="2").start()
    key = moulin.JobKey(task_id="first")
    first = door.submit(job(tmp_path / "a", "a"), key)
    assert door.describe().accepting
    second = door.submit(job(tmp_path / "b", "b"))
    described = door.describe()
    assert (described.queued, described.accepting) == (2, False)
    with pytest.raises(moulin.ResourceExhausted, match=r"2 jobs wait for a worker already") as caught:
        door.submit(job(tmp_path / "c", "c"))
    assert caught.value.retryable
    assert "job.max_queued" in caught.value.hint
    assert not door.submit(job(tmp_path / "a", "a"), key).created, "who has a job is answered"
    new_worker("all").start()
    for handle in (first, second):
        handle.wait(60)
    door.submit(job(tmp_path / "c", "c")).wait(60)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"MOULIN_POOLS": "a,,b"}, "job.pools: a pool without a name"),
        ({"MOULIN_POOLS": "a\tb"}, "job.pools: the pool"),
        ({"MOULIN_MAX_QUEUED": "0"}, "job.max_queued is 0"),
    ],
)
def test_a_wrong_pool_ends_the_worker_before_it_listens(state: Path, settings: dict[str, str], words: str) -> None:
    done = run_moulin(state, "serve", **settings)
    assert done.returncode == 2
    assert words in done.stderr


def test_a_pool_that_cannot_be_one_is_refused_when_the_job_is_submitted(door: moulin.Client, tmp_path: Path) -> None:
    with pytest.raises(moulin.SpecError, match="pool"):
        door.submit(job(tmp_path / "a", "a"), pool="a\nb")
    with pytest.raises(moulin.SpecError, match="priority: found 2147483648"):
        door.submit(job(tmp_path / "a", "a"), priority=2**31)
