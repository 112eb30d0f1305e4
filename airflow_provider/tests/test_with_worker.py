"""Hook, operator and trigger against a real worker, without Airflow's processes around them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from airflow.providers.common.compat.sdk import AirflowException, AirflowFailException, TaskDeferred
from moulin import Client, JobState, csv, iceberg
from task_context import task_context

from moulin_provider.hooks.moulin import MoulinHook
from moulin_provider.operators import job
from moulin_provider.operators.moulin import XCOM_JOB_ID, MoulinLandOperator
from moulin_provider.progress_log import ProgressLog
from moulin_provider.triggers.moulin import MoulinJobTrigger

ROWS = 160_000


class Task:
    """A task instance that reads a gated file, and its tries."""

    def __init__(self, files) -> None:
        self.name = f"t_{uuid.uuid4().hex[:8]}"
        self.uri = files.add(self.name)
        self.open = lambda: files.open(self.name)
        self.xcoms: dict[str, object] = {}

    def context(self, try_number: int = 1, max_tries: int = 0):
        made = task_context(self.name, try_number=try_number, max_tries=max_tries)
        made["ti"].xcoms = self.xcoms
        return made

    def operator(self, **changes) -> MoulinLandOperator:
        values = {"task_id": "t", "source": csv(self.uri), "target": iceberg(f"cases.{self.name}"), "retries": 0}
        return MoulinLandOperator(**{**values, **changes})

    def submit(self, try_number: int = 1, **changes) -> str:
        """Asks for the job as a try does, and gives back its id."""
        operator = self.operator(wait_for_completion=False, **changes)
        return operator.execute(self.context(try_number))["job_id"]


@pytest.fixture
def task(worker, files) -> Task:
    return Task(files)


@pytest.fixture
def client(worker):
    with MoulinHook().get_conn() as client:
        yield client


def trigger(job_id: str, epoch: int = 1, **changes) -> MoulinJobTrigger:
    path, kwargs = MoulinJobTrigger(job_id, epoch, "moulin_default", poll_interval=0.2).serialize()
    assert path == f"{MoulinJobTrigger.__module__}.{MoulinJobTrigger.__qualname__}"
    return MoulinJobTrigger(**{**kwargs, **changes})


async def fire(trigger: MoulinJobTrigger) -> dict:
    async with asyncio.timeout(60):
        events = [event async for event in trigger.run()]
    assert len(events) == 1
    return events[0].payload


def test_the_connection_test_names_versions_and_checks(worker):
    ok, said = MoulinHook().test_connection()
    assert ok, said
    for part in ("moulin ", "Polars", "DataFusion", "store ok", "catalog ok", "warehouse ok"):
        assert part in said


def test_the_connection_test_says_who_did_not_answer(monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_NOBODY", "moulin://127.0.0.1:1")
    ok, said = MoulinHook("nobody").test_connection()
    assert not ok
    assert "127.0.0.1:1" in said


def test_a_second_try_attaches_to_the_job_of_the_first(task, client):
    first, second = task.submit(1), task.submit(2)
    assert first == second == task.xcoms[XCOM_JOB_ID]
    assert client.get(first).epoch == 2
    client.cancel(first)


async def test_an_old_try_cannot_cancel_the_job_that_a_new_one_has_taken_over(task, client, capsys):
    job_id = task.submit(1)
    task.submit(2)
    await trigger(job_id, epoch=1).on_kill()
    assert f"job {job_id} goes on" in capsys.readouterr().out
    assert not client.get(job_id).state.is_final

    await trigger(job_id, epoch=2).on_kill()
    *_, ended = client.watch(job_id, timeout=60)
    assert ended.state == "cancelled"


async def test_without_cancel_on_kill_the_job_goes_on(task, client):
    job_id = task.submit(1)
    await trigger(job_id, cancel_on_kill=False).on_kill()
    with waiting(task, cancel_on_kill=False) as (operator, ended):
        operator.on_kill()
        task.open()
        assert ended.result(60)["job_id"] == job_id


def test_a_try_after_a_cancelled_job_begins_it_again(task, client):
    cancelled = task.submit(1)
    client.cancel(cancelled)
    assert [job.state for job in client.watch(cancelled, timeout=60)][-1] is JobState.CANCELLED
    assert task.submit(2) == cancelled
    again = client.get(cancelled)
    assert again.state is not JobState.CANCELLED
    assert (again.generation, again.epoch) == (0, 2)
    client.cancel(again.job_id)


def test_a_try_waits_for_a_worker_that_is_being_restarted(task, worker, client):
    worker.kill()
    restart = threading.Timer(1, worker.start)
    restart.start()
    job_id = task.submit(1)
    restart.join()
    client.cancel(job_id)


def test_a_task_in_its_slot_waits_and_returns_the_receipt(task):
    task.open()
    receipt = task.operator(deferrable=False).execute(task.context())
    assert receipt["rows_landed"] == ROWS
    assert task.xcoms == {XCOM_JOB_ID: receipt["job_id"]}
    # Another try finds the same job, over.
    assert task.operator(deferrable=True).execute(task.context(2)) == receipt


def test_without_xcom_nothing_is_pushed(task, client):
    job_id = task.submit(1, do_xcom_push=False)
    assert task.xcoms == {}
    client.cancel(job_id)


async def test_a_deferred_task_is_followed_over_a_restart_of_the_worker(task, worker):
    operator = task.operator(deferrable=True)
    with pytest.raises(TaskDeferred) as deferred:
        await asyncio.to_thread(operator.execute, task.context())
    waiting = asyncio.create_task(fire(deferred.value.trigger))
    await asyncio.to_thread(worker.kill)
    task.open()
    await asyncio.to_thread(worker.start)
    receipt = operator.execute_complete(task.context(), await asyncio.wait_for(waiting, 60))
    assert receipt["rows_landed"] == ROWS


async def test_a_trigger_whose_time_is_up_says_so_and_the_task_ends_the_job(task, client):
    job_id = task.submit(1)
    event = await fire(trigger(job_id, deadline=time.time() + 0.3))
    assert event == {"job_id": job_id, "status": "timeout"}
    with pytest.raises(AirflowException) as caught:
        task.operator().execute_complete(task.context(), event)
    assert not isinstance(caught.value, AirflowFailException)
    *_, ended = client.watch(job_id, timeout=60)
    assert ended.state == "cancelled"


async def test_a_trigger_waits_for_the_end_of_the_process_that_deferred(task):
    task.open()
    job_id = task.operator(deferrable=False).execute(task.context())["job_id"]
    begun = time.time()
    event = await fire(trigger(job_id, not_before=begun + 0.5))
    assert event["status"] == "success"
    assert time.time() >= begun + 0.5


async def test_a_trigger_that_is_stopped_leaves_the_job_alone(task, client, monkeypatch):
    heard = asyncio.Event()

    class Heard(ProgressLog):
        def line(self, job):
            heard.set()
            return super().line(job)

    monkeypatch.setattr("moulin_provider.triggers.moulin.ProgressLog", Heard)
    job_id = task.submit(1)
    following = trigger(job_id)
    waiting = asyncio.create_task(fire(following))
    await asyncio.wait_for(heard.wait(), 60)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await following.cleanup()
    task.open()
    *_, ended = client.watch(job_id, timeout=60)
    assert ended.state == "succeeded"


async def test_a_job_that_nobody_knows_ends_the_task(worker):
    event = await fire(trigger("job-00000000000000000000"))
    with pytest.raises(AirflowFailException, match="job-00000000000000000000"):
        MoulinLandOperator(task_id="t", source=csv("a"), target=iceberg("a.b")).execute_complete({}, event)


@contextmanager
def waiting(task, **changes):
    """A task that waits in its slot for a job that runs, in a thread; and what becomes of it."""
    heard = threading.Event()

    class Waits(MoulinLandOperator):
        def _wait(self, context, job):
            heard.set()
            return super()._wait(context, job)

    values = {"task_id": "t", "source": csv(task.uri), "target": iceberg(f"cases.{task.name}"), "deferrable": False}
    operator = Waits(**{**values, **changes})
    with ThreadPoolExecutor(1) as thread:
        ended = thread.submit(operator.execute, task.context())
        try:
            assert heard.wait(60)
            yield operator, ended
        finally:
            task.open()


def is_retried(failed: pytest.ExceptionInfo) -> bool:
    return isinstance(failed.value, AirflowException) and not isinstance(failed.value, AirflowFailException)


def only_job(client, task):
    (job,) = [job for job in client.list() if job.key.run_id == task.name]
    return job


def test_a_task_that_is_told_to_end_cancels_its_job_and_its_next_try_begins_it_again(task, client):
    with waiting(task) as (operator, ended):
        operator.on_kill()
        with pytest.raises(AirflowException, match="told to end") as failed:
            ended.result(60)
    assert is_retried(failed)
    assert only_job(client, task).state == "cancelled"
    task.open()
    receipt = task.operator(deferrable=False).execute(task.context(2))
    assert receipt["rows_landed"] == ROWS
    assert only_job(client, task).epoch == 2


@pytest.fixture
def silent():
    """The port of a machine that takes connections and says nothing."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        yield listening.getsockname()[1]


def two_hosts(one: int, other: int) -> str:
    return json.dumps({"conn_type": "moulin", "host": f"127.0.0.1:{one},127.0.0.1:{other}"})


def test_a_cancel_reaches_a_host_behind_one_that_does_not_answer(task, worker, client, silent, monkeypatch, capsys):
    monkeypatch.setenv("AIRFLOW_CONN_TWO", two_hosts(silent, worker.port))
    with waiting(task, moulin_conn_id="two") as (operator, ended):
        operator.on_kill()
        # The process ends a second later.
        assert f"cancel of job {operator._waiting_for[0]} was asked for" in capsys.readouterr().out
        with pytest.raises(AirflowException, match="told to end"):
            ended.result(60)


def test_a_cancel_that_no_host_answers_is_given_up(task, silent, monkeypatch, capsys):
    monkeypatch.setenv("AIRFLOW_CONN_SILENT", two_hosts(silent, silent))
    monkeypatch.setattr(job, "_KILL_SECONDS", 0.2)
    task.operator(moulin_conn_id="silent")._cancel("job-00000000000000000000", 1, "the task was ended")
    assert "could not be cancelled, its deadline ends it: no worker answered in 0.2 s" in capsys.readouterr().out


def test_a_job_that_somebody_else_cancels_ends_the_task_for_good(task, client):
    with waiting(task) as (operator, ended):
        client.cancel(operator._waiting_for[0])
        with pytest.raises(AirflowFailException):
            ended.result(60)


def test_a_task_that_is_told_to_end_before_it_asks_gets_no_job(task, client):
    operator = task.operator()
    operator.on_kill()
    with pytest.raises(AirflowException, match="told to end"):
        operator.execute(task.context())
    assert [job for job in client.list() if job.key.run_id == task.name] == []


@pytest.mark.parametrize("changes", [{"deferrable": False}, {"deferrable": True}, {"wait_for_completion": False}])
def test_a_task_that_is_told_to_end_while_it_asks_cancels_the_job_that_it_gets(task, client, monkeypatch, changes):
    operator, submit = task.operator(**changes), Client.submit

    def answered(self, *args, **kwargs):
        found = submit(self, *args, **kwargs)
        operator.on_kill()
        return found

    monkeypatch.setattr(Client, "submit", answered)
    with pytest.raises(AirflowException, match="told to end") as failed:
        operator.execute(task.context())
    assert is_retried(failed)
    *_, ended = client.watch(only_job(client, task).job_id, timeout=60)
    assert ended.state == "cancelled"


def test_a_task_that_is_told_to_end_is_not_deferred_for_the_job_that_it_cancelled(task, client):
    operator, context = task.operator(deferrable=True), task.context()
    context["ti"].xcom_push = lambda key, value: operator.on_kill()
    with pytest.raises(AirflowException, match="told to end") as failed:
        operator.execute(context)
    assert is_retried(failed)


@pytest.mark.parametrize("changes", [{"deferrable": True}, {"wait_for_completion": False}])
def test_a_process_that_has_handed_its_job_on_does_not_cancel_it(task, client, changes):
    operator = task.operator(**changes)
    with contextlib.suppress(TaskDeferred):
        operator.execute(task.context())
    operator.on_kill()
    task.open()
    *_, ended = client.watch(only_job(client, task).job_id, timeout=60)
    assert ended.state == "succeeded"


@pytest.mark.parametrize("on_bad_row", ["skip", "quarantine"])
def test_rows_that_were_left_out_are_named_in_the_log(worker, client, tmp_path, capsys, on_bad_row):
    path = tmp_path / "bad.csv"
    path.write_text("id,n\n" + "".join(f"{n},1\n" for n in range(20_000)) + "x,1\n")
    operator = MoulinLandOperator(
        task_id="t",
        source=csv(path),
        target=iceberg(f"cases.t_{uuid.uuid4().hex[:8]}"),
        on_bad_row=on_bad_row,
        max_bad_rows=1,
    )
    receipt = operator.execute(task_context())
    assert (receipt["rows_landed"], receipt["rows_rejected"]) == (20_000, 1)
    assert "line 20002" in receipt["rejects"][0]["place"]
    said = capsys.readouterr().out
    assert "1 rows did not fit and were left out:" in said
    assert "20,002  20,001  " in said, "line and record stand in a table"
    if on_bad_row == "quarantine":
        assert f"`moulin get {receipt['job_id']} --rejects`" in said
        assert client.rejects(receipt["job_id"]).read_all()["raw"].to_pylist() == [b"x,1"]
