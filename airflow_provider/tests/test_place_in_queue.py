"""Airflow's pool and priority go with the job, and a pool of workers that is full is waited for."""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from airflow.providers.common.compat.sdk import DAG, AirflowException, AirflowFailException, TaskDeferred
from airflow.providers.standard.operators.empty import EmptyOperator
from local_stack import LocalWorker
from moulin import CallTimeout, Client, Fault, FaultKind, ResourceExhausted, Unavailable, csv, iceberg
from task_context import task_context

from moulin_provider import submit
from moulin_provider.operators.moulin import MoulinLandOperator, MoulinReplayOperator, MoulinTransformOperator
from moulin_provider.place_in_queue import PlaceInQueue, total_weight
from moulin_provider.triggers import room
from moulin_provider.triggers.room import MoulinRoomTrigger


def chain(**changes) -> list[EmptyOperator]:
    """Three tasks one after the other, of the weights 1, 10 and 100."""
    with DAG("d", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC)):
        tasks = [EmptyOperator(task_id=f"t{n}", priority_weight=10**n, **changes) for n in range(3)]
        tasks[0] >> tasks[1] >> tasks[2]
    return tasks


@pytest.mark.parametrize(
    ("rule", "expected"),
    [("downstream", [111, 110, 100]), ("upstream", [1, 11, 111]), ("absolute", [1, 10, 100]), (None, [111, 110, 100])],
)
def test_the_priority_is_the_total_weight_as_airflow_counts_it(rule, expected):
    tasks = chain(**({} if rule is None else {"weight_rule": rule}))
    # Airflow 3.1 makes a strategy of the rule already in the DAG file, and that asks the task instance for its task.
    assert [total_weight(task, SimpleNamespace(task=task)) for task in tasks] == expected
    from airflow.task.priority_strategy import validate_and_load_priority_weight_strategy

    strategy = validate_and_load_priority_weight_strategy(rule or "downstream")
    assert [strategy.get_weight(SimpleNamespace(task=task)) for task in tasks] == expected


def test_a_strategy_of_the_users_own_is_asked_and_may_fail():
    (task, *_) = chain()
    task.weight_rule = SimpleNamespace(get_weight=lambda ti: ti.try_number * 7)
    assert total_weight(task, SimpleNamespace(try_number=3)) == 21
    assert total_weight(task, SimpleNamespace()) == 1


def test_a_weight_beyond_what_travels_is_held_to_it():
    task = SimpleNamespace(priority_weight=2**40, weight_rule="absolute", pool="p", get_dag=lambda: None)
    assert PlaceInQueue.of(task, None) == PlaceInQueue(2**31 - 1, "p")


class Tries:
    """Tasks of one run that read gated files."""

    def __init__(self, files) -> None:
        self.run_id = f"r_{uuid.uuid4().hex[:8]}"
        self._files = files
        self._added: list[str] = []

    def operator(self, task_id: str, **changes) -> MoulinLandOperator:
        self._added.append(f"{self.run_id}_{task_id}")
        values = {
            "task_id": task_id,
            "source": csv(self._files.add(self._added[-1])),
            "target": iceberg(f"room.{self.run_id}_{task_id}"),
            "moulin_conn_id": "full",
            "wait_for_completion": False,
        }
        return MoulinLandOperator(**{**values, **changes})

    def context(self, task_id: str):
        return task_context(self.run_id, task_id)

    def open(self, task_id: str) -> None:
        self._files.open(f"{self.run_id}_{task_id}")

    def open_all(self) -> None:
        for name in self._added:
            self._files.open(name)


@pytest.fixture
def full(worker, files, tmp_path, monkeypatch):
    """A worker with one slot that lets one job wait, which both are taken; the tasks of its jobs."""
    started = LocalWorker(
        worker.binary, tmp_path / "full", env={"MOULIN_SLOTS": "1", "MOULIN_MAX_QUEUED": "1", "MOULIN_LEASE": "3s"}
    )
    started.start()
    monkeypatch.setenv("AIRFLOW_CONN_FULL", f"moulin://{started.address}")
    monkeypatch.setattr(room, "_LOOK", 0.1)
    tries = Tries(files)
    try:
        with Client(started.address) as client:
            runs = tries.operator("runs").execute(tries.context("runs"))["job_id"]
            next(job for job in client.watch(runs, timeout=30, interval=0.1) if job.state == "running")
            waits = tries.operator("waits").execute(tries.context("waits"))["job_id"]
            assert not client.describe().accepting
            yield SimpleNamespace(tries=tries, client=client, waits=waits)
    finally:
        tries.open_all()
        started.stop_all()


async def fired(trigger: MoulinRoomTrigger) -> dict:
    async with asyncio.timeout(30):
        (event,) = [event async for event in trigger.run()]
    return event.payload


def again(deferred: TaskDeferred) -> MoulinRoomTrigger:
    """The trigger as another triggerer builds it."""
    path, kwargs = deferred.trigger.serialize()
    assert path == f"{MoulinRoomTrigger.__module__}.{MoulinRoomTrigger.__qualname__}"
    return MoulinRoomTrigger(**kwargs)


def test_a_deferrable_task_waits_in_the_triggerer_for_a_full_pool(full, monkeypatch):
    operator = full.tries.operator("asks", deferrable=True, wait_for_completion=True)
    context = full.tries.context("asks")
    with pytest.raises(TaskDeferred) as caught:
        operator.execute(context)
    deferred = caught.value
    assert deferred.method_name == "execute_when_taken"
    trigger = again(deferred)
    trigger.not_before = 0.0

    looks: asyncio.Queue[bool] = asyncio.Queue()
    is_room = trigger.is_room

    async def look() -> bool:
        found = await is_room()
        looks.put_nowait(found)
        return found

    monkeypatch.setattr(trigger, "is_room", look)

    async def wait() -> dict:
        waiting = asyncio.create_task(fired(trigger))
        async with asyncio.timeout(30):
            assert [await looks.get() for _ in range(3)] == [False, False, False], "there is no room yet"
        full.tries.open("runs")
        return await waiting

    event = asyncio.run(wait())
    assert event == {"status": "room"}
    with pytest.raises(TaskDeferred) as caught:
        operator.execute_when_taken(context, event, **deferred.kwargs)
    assert caught.value.method_name == "execute_complete"
    (job,) = [job for job in full.client.list() if job.key.task_id == "asks"]
    assert job.state in ("queued", "running")


def test_a_task_in_its_slot_asks_until_there_is_room(full, monkeypatch):
    pauses = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        full.tries.open("runs")
        # Begun, the job that waited leaves its place to the next one.
        next(job for job in full.client.watch(full.waits, timeout=30, interval=0.1) if job.state != "queued")

    monkeypatch.setattr(submit, "time", SimpleNamespace(monotonic=time.monotonic, sleep=pause))
    operator = full.tries.operator("asks", deferrable=False)
    assert operator.execute(full.tries.context("asks"))["state"] in ("queued", "running")
    assert pauses, "there was no room at first"


def test_a_task_that_is_told_to_end_while_it_waits_for_room_asks_no_more(full, monkeypatch):
    operator, pauses = full.tries.operator("asks", deferrable=False), []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        full.tries.open("runs")
        next(job for job in full.client.watch(full.waits, timeout=30, interval=0.1) if job.state != "queued")
        operator.on_kill()

    monkeypatch.setattr(submit, "time", SimpleNamespace(monotonic=time.monotonic, sleep=pause))
    with pytest.raises(AirflowException, match="told to end") as failed:
        operator.execute(full.tries.context("asks"))
    assert not isinstance(failed.value, AirflowFailException), "another try may have time for it"
    assert [job for job in full.client.list() if job.key.task_id == "asks"] == []
    assert all(seconds <= 0.5 for seconds in pauses), "a process has a few seconds from when it is told to end"


@pytest.fixture
def passing(monkeypatch):
    """Time that passes by being waited for."""
    clock = SimpleNamespace(now=0.0)
    clock.monotonic = lambda: clock.now
    clock.sleep = lambda seconds: vars(clock).update(now=clock.now + seconds)
    monkeypatch.setattr(submit, "time", clock)
    return clock


def test_workers_that_do_not_answer_are_not_waited_for_in_the_triggerer(passing, monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_NOBODY", "moulin://127.0.0.1:1")
    operator = MoulinLandOperator(
        task_id="t", source=csv("a.csv"), target=iceberg("a.b"), moulin_conn_id="nobody", deferrable=True
    )
    with pytest.raises(AirflowException, match="was not accepted") as failed:
        operator.execute(task_context())
    assert not isinstance(failed.value, AirflowFailException), "a retry can help"


def submitted(answers: list) -> str:
    """The job that a worker gives after these answers: errors, and seconds that pass before the next one."""
    job = SimpleNamespace(job_id="j", table="a.b", pool="p", priority=1)
    answers.append(SimpleNamespace(created=True, job=job))

    def ask(*_, **__) -> SimpleNamespace:
        answer = answers.pop(0)
        if isinstance(answer, float):
            submit.time.sleep(answer)
            answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    identity = SimpleNamespace(key=None, epoch=1, asked_generation=lambda durable: 0)
    return submit.submit(SimpleNamespace(submit=ask), None, identity, logging.getLogger("test")).job_id


FULL = ResourceExhausted(Fault(FaultKind.RESOURCE_EXHAUSTED, "full", retryable=True))
NOBODY = Unavailable(Fault(FaultKind.UNAVAILABLE, "no answer", retryable=True))
TOO_LATE = CallTimeout(Fault(FaultKind.DEADLINE_EXCEEDED, "no answer in time", retryable=True))


def test_the_wait_for_room_uses_up_no_patience_with_a_worker_that_does_not_answer(passing):
    answers = [NOBODY, *[FULL] * 50, NOBODY]
    assert submitted(answers) == "j"
    assert answers == []


def test_a_call_that_is_not_answered_in_its_time_is_made_again(passing):
    assert submitted([30.0, TOO_LATE]) == "j"
    assert submitted([30.0, FULL, 30.0, TOO_LATE]) == "j"
    with pytest.raises(CallTimeout):
        submitted([30.0, TOO_LATE, 30.0, TOO_LATE])


def test_the_other_operators_wait_in_the_same_way(full):
    target = f"room.{full.tries.run_id}_asks"
    known = {"task_id": "asks", "moulin_conn_id": "full", "deferrable": True}
    source = full.tries.operator("asks").source
    for operator in (
        MoulinReplayOperator(source=source, target=target, **known),
        MoulinTransformOperator(tables={"t": f"room.{full.tries.run_id}_runs"}, target=iceberg(target), **known),
    ):
        with pytest.raises(TaskDeferred) as caught:
            operator.execute(full.tries.context("asks"))
        assert caught.value.method_name == "execute_when_taken"


async def test_the_wait_for_room_ends_with_the_time_of_the_task(full):
    operator = full.tries.operator("asks", deferrable=True, execution_timeout=timedelta(seconds=1))
    context = full.tries.context("asks")
    with pytest.raises(TaskDeferred) as caught:
        await asyncio.to_thread(operator.execute, context)
    trigger = again(caught.value)
    trigger.not_before = 0.0
    assert await fired(trigger) == {"status": "timeout"}
    # Another wait is a part of the same time.
    with pytest.raises(TaskDeferred) as again_deferred:
        await asyncio.to_thread(operator.execute_when_taken, context, {"status": "room"}, **caught.value.kwargs)
    assert again_deferred.value.trigger.deadline == trigger.deadline
    with pytest.raises(AirflowException, match="took no new job within the execution_timeout of 0:00:01"):
        operator.execute_when_taken(context, {"status": "timeout"}, **caught.value.kwargs)


async def test_a_task_asks_itself_now_and_then_because_the_trigger_looks_at_one_host_only(full, monkeypatch):
    monkeypatch.setattr(room, "_LONGEST", 0.0)
    assert await fired(MoulinRoomTrigger("full")) == {"status": "room"}
    assert not full.client.describe().accepting


def test_pool_and_priority_of_the_task_are_those_of_its_job(full):
    full.tries.open("runs")
    full.tries.open("waits")
    for job in full.client.list():
        list(full.client.watch(job.job_id, timeout=60))
    with DAG("d", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC)):
        operator = full.tries.operator("asks", pool="reports", priority_weight=7)
        operator >> EmptyOperator(task_id="after", priority_weight=5)
    context = full.tries.context("asks")
    context["ti"].task = operator
    job = full.client.get(operator.execute(context)["job_id"])
    assert (job.pool, job.priority) == ("reports", 12)


def test_a_full_pool_is_told_as_such(full):
    spec = full.tries.operator("asks").job_spec()
    with pytest.raises(ResourceExhausted, match="wait for a worker already") as caught:
        full.client.submit(spec)
    assert caught.value.retryable
