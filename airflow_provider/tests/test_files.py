"""Files that arrive: what is new at a look, the trigger of an asset's watcher, and the sensor."""

from __future__ import annotations

import asyncio
import json
import time

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, AirflowSkipException, TaskDeferred
from airflow.sdk import Asset, AssetWatcher
from moulin import csv
from moulin.errors import error_of
from moulin.fault import FaultKind
from moulin.plan import PlannedFile

from moulin_provider.arrivals import Arrivals, summary, uris_of
from moulin_provider.sensors.moulin import MoulinFileSensor
from moulin_provider.triggers.files import FileWait, MoulinFileSensorTrigger, MoulinFilesTrigger, list_files


def file(name: str, size: int = 1, etag: str = "e") -> PlannedFile:
    return PlannedFile(f"s3://raw/{name}", size, etag)


def names(files: list[PlannedFile]) -> list[str]:
    return [one.uri.rpartition("/")[2] for one in files]


def test_a_file_is_told_of_once_and_again_when_it_is_another():
    arrivals = Arrivals()
    looks = [[file("a")], [file("a"), file("b")], [file("b")], [file("a"), file("b", etag="other")]]
    assert [names(arrivals.new(look)) for look in looks] == [["a"], ["b"], [], ["a", "b"]]


def test_a_file_without_an_entity_tag_must_be_the_same_at_two_looks():
    arrivals = Arrivals()
    looks = [[file("a", 1, "")], [file("a", 2, "")], [file("a", 2, "")], [file("a", 2, "")]]
    assert [names(arrivals.new(look)) for look in looks] == [[], [], ["a"], []]
    assert names(Arrivals(settle=False).new([file("a", 1, "")])) == ["a"]
    assert Arrivals().new([file("a", 1, 'W/"weak"')]) == []
    assert Arrivals(settle=True).new([file("a")]) == []


@pytest.mark.parametrize("uri", ["file:///data/a.csv", "/data/a.csv"])
def test_a_file_on_a_disk_may_be_half_written_whatever_it_has_for_a_tag(uri):
    arrivals = Arrivals()
    looks = [PlannedFile(uri, 1, "inode-1"), PlannedFile(uri, 2, "inode-2"), PlannedFile(uri, 2, "inode-2")]
    assert [len(arrivals.new([look])) for look in looks] == [0, 0, 1]


def test_what_was_told_is_known_in_another_process():
    before = Arrivals()
    before.new([file("a"), file("b")])
    after, changed = Arrivals(), Arrivals()
    assert after.resume([file("b"), file("a")], before.standing())
    assert after.new([file("a"), file("b"), file("c")]) == [file("c")]
    assert not changed.resume([file("a"), file("c")], before.standing())
    assert names(changed.new([file("a"), file("c")])) == ["a", "c"]


def test_a_summary_is_small_whatever_arrived():
    said = summary([file("x" * 200 + str(n), size=2) for n in range(5000)])
    assert (said["files"], said["bytes"]) == (5000, 10_000)
    assert 0 < len(said["uris"]) < 100
    assert len(json.dumps(said)) < 2000


def test_uris_come_from_texts_lists_and_sources():
    assert uris_of("a") == ["a"]
    assert uris_of(csv(["s3://raw/*.csv"])) == ["s3://raw/*.csv"]
    for wrong in ([], "", [""], [1]):
        with pytest.raises(ValueError, match="uris"):
            uris_of(wrong)


def test_enough_files_may_come_one_after_the_other():
    waiting = FileWait(2, None)
    assert waiting.look([file("a")]) is None
    assert waiting.look([file("b")]) is None, "a has gone"
    assert waiting.look([file("b"), file("c")])["files"] == 2


@pytest.fixture
def folder(worker, tmp_path):
    """A folder that the worker sees, and its pattern."""
    (tmp_path / "raw").mkdir()
    return tmp_path / "raw"


async def test_the_worker_lists_any_kind_of_file(folder):
    (folder / "a.csv").write_text("a\n1\n")
    (folder / "b.gz").write_bytes(b"\x1f\x8b broken")
    (folder / "c.parquet").write_bytes(bytes(range(256)) * 100)
    (folder / "d.csv").touch()
    found = await list_files("moulin_default", [f"{folder}/*", f"{folder}/none/*.csv"])
    assert [(one.uri.rpartition("/")[2], one.size_bytes) for one in found] == [
        ("a.csv", 4), ("b.gz", 9), ("c.parquet", 25_600), ("d.csv", 0),
    ]  # fmt: skip


def watching(folder, **changes) -> MoulinFilesTrigger:
    trigger = MoulinFilesTrigger(f"{folder}/*.csv", poll_interval=0.05, **changes)
    path, kwargs = trigger.serialize()
    json.dumps(kwargs)
    assert path == f"{MoulinFilesTrigger.__module__}.{MoulinFilesTrigger.__qualname__}"
    return MoulinFilesTrigger(**kwargs)


async def next_event(events) -> list[str]:
    event = await asyncio.wait_for(anext(events), 60)
    assert event.payload["files"] == len(event.payload["uris"])
    return [uri.rpartition("/")[2] for uri in event.payload["uris"]]


async def test_two_files_at_one_look_are_one_event(folder):
    for name in ("a.csv", "b.csv"):
        (folder / name).write_text("id\n1\n")
    events = watching(folder).run()
    assert await next_event(events) == ["a.csv", "b.csv"]
    (folder / "c.csv").write_text("id\n1\n")
    assert await next_event(events) == ["c.csv"]
    await events.aclose()


class Store:
    """What Airflow 3.3 keeps for a trigger."""

    def __init__(self) -> None:
        self.values: dict[str, str] = {}

    async def aget(self, key, default=None):
        return self.values.get(key, default)

    async def aset(self, key, value):
        self.values[key] = value


async def test_an_event_is_not_repeated_after_a_restart_where_airflow_keeps_what_was_told(folder):
    (folder / "a.csv").write_text("id\n1\n")
    store = Store()
    first = watching(folder)
    first.asset_state_store = store
    events = first.run()
    assert await next_event(events) == ["a.csv"]
    assert await _is_kept_before_the_next_event(events, folder, store) == ["b.csv"]
    await events.aclose()

    # `b.csv` was told of, and its event may have been lost with the triggerer: it is told of again.
    again = watching(folder)
    again.asset_state_store = store
    events = again.run()
    assert await next_event(events) == ["a.csv", "b.csv"]
    await events.aclose()


async def _is_kept_before_the_next_event(events, folder, store) -> list[str]:
    (folder / "b.csv").write_text("id\n1\n")
    found = await next_event(events)
    assert store.values
    return found


async def test_a_triggerer_that_comes_back_tells_only_what_is_new(folder):
    (folder / "a.csv").write_text("id\n1\n")
    told = Arrivals(settle=False)
    told.new(await list_files("moulin_default", [f"{folder}/*.csv"]))
    trigger = watching(folder)
    trigger.asset_state_store = Store()
    trigger.asset_state_store.values["moulin_files_told"] = told.standing()
    events = trigger.run()
    look = asyncio.ensure_future(next_event(events))
    # It has looked once when it has heard from the worker that `a.csv` is there.
    async with asyncio.timeout(60):
        while trigger.looks == 0:
            await asyncio.sleep(0)
    (folder / "b.csv").write_text("id\n1\n")
    assert await look == ["b.csv"]
    await events.aclose()


async def test_a_watcher_goes_on_when_the_worker_does_not_answer(folder, monkeypatch, capsys):
    real, answers = list_files, [FaultKind.UNAVAILABLE, FaultKind.UNAVAILABLE, FaultKind.PERMISSION_DENIED]
    (folder / "a.csv").write_text("id\n1\n")

    async def listing(*args) -> list[PlannedFile]:
        if answers:
            from moulin.fault import Fault

            raise error_of(Fault(answers.pop(), "no answer here", "", retryable=True))
        return await real(*args)

    monkeypatch.setattr("moulin_provider.triggers.files.list_files", listing)
    events = watching(folder).run()
    assert await next_event(events) == ["a.csv"]
    assert capsys.readouterr().out.count("no answer here") == 1
    await events.aclose()


def test_a_watcher_belongs_to_an_asset():
    trigger = MoulinFilesTrigger("s3://raw/*.csv")
    asset = Asset("raw", watchers=[AssetWatcher("arrivals", trigger=trigger)])
    assert asset.watchers[0].trigger is trigger


async def fire(trigger) -> dict:
    async with asyncio.timeout(60):
        return [event.payload async for event in trigger.run()].pop()


async def test_a_deferred_sensor_waits_in_the_triggerer_and_names_what_it_found(folder):
    sensor = MoulinFileSensor(
        task_id="wait", uris=csv(f"{folder}/*.csv"), at_least=2, deferrable=True, poke_interval=0.05, timeout=60
    )
    with pytest.raises(TaskDeferred) as deferred:
        await asyncio.to_thread(sensor.execute, {})
    deferred.value.trigger.not_before = 0.0
    waiting = asyncio.create_task(fire(deferred.value.trigger))
    (folder / "a.csv").write_text("id\n1\n")
    (folder / "b.csv").write_text("id\n1\n")
    found = sensor.execute_complete({}, await waiting)
    assert (found["files"], found["bytes"]) == (2, 10)


def test_a_sensor_in_its_slot_pokes(folder):
    (folder / "a.csv").write_text("id\n1\n")
    sensor = MoulinFileSensor(task_id="wait", uris=f"{folder}/*.csv", deferrable=False, poke_interval=0.05, timeout=60)
    assert sensor.poke({}).is_done is False, "seen once"
    assert sensor.execute({})["files"] == 1
    never = MoulinFileSensor(task_id="never", uris=f"{folder}/*.parquet", deferrable=False)
    assert never.poke({}).is_done is False


def test_what_no_waiting_can_help_fails_the_sensor(worker):
    sensor = MoulinFileSensor(task_id="wait", uris="nowhere://raw/*.csv", deferrable=False)
    with pytest.raises(AirflowFailException, match="nowhere"):
        sensor.poke({})


async def test_what_no_waiting_can_help_fails_the_deferred_sensor(worker):
    event = json.loads(json.dumps(await fire(MoulinFileSensorTrigger(["nowhere://raw/*.csv"]))))
    sensor = MoulinFileSensor(task_id="wait", uris="nowhere://raw/*.csv", deferrable=True)
    with pytest.raises(AirflowFailException, match="nowhere"):
        sensor.execute_complete({}, event)
    # What is known at the first look needs no deferral.
    with pytest.raises(AirflowFailException, match="nowhere"):
        await asyncio.to_thread(sensor.execute, {})
    lenient = MoulinFileSensor(task_id="wait", uris="nowhere://raw/*.csv", deferrable=True, soft_fail=True)
    with pytest.raises(AirflowSkipException, match="nowhere"):
        await asyncio.to_thread(lenient.execute, {})


def test_files_that_are_there_already_need_no_deferral(folder):
    (folder / "a.csv").write_text("id\n1\n")
    sensor = MoulinFileSensor(task_id="wait", uris=f"{folder}/*.csv", settle=False, deferrable=True)
    assert sensor.execute({})["files"] == 1


async def test_files_that_come_at_once_wait_for_the_end_of_the_process_that_deferred(folder):
    sensor = MoulinFileSensor(task_id="wait", uris=f"{folder}/*.csv", settle=False, deferrable=True)
    with pytest.raises(TaskDeferred) as deferred:
        await asyncio.to_thread(sensor.execute, {})
    (folder / "a.csv").write_text("id\n1\n")
    path, kwargs = deferred.value.trigger.serialize()
    assert path == f"{MoulinFileSensorTrigger.__module__}.{MoulinFileSensorTrigger.__qualname__}"
    assert kwargs["not_before"] > time.time()
    begun = time.time()
    event = await fire(MoulinFileSensorTrigger(**{**json.loads(json.dumps(kwargs)), "not_before": begun + 0.5}))
    assert event["status"] == "success"
    assert time.time() >= begun + 0.5


def test_a_sensor_that_is_rescheduled_cannot_compare_two_looks():
    with pytest.raises(ValueError, match="deferrable=True"):
        MoulinFileSensor(task_id="wait", uris="a", mode="reschedule", deferrable=False)
    MoulinFileSensor(task_id="wait", uris="a", mode="reschedule", deferrable=False, settle=False)
