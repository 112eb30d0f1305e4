"""Many triggers in one event loop: one channel for all, and nothing that holds the loop up.

What they cost is measured by `python -m benches.triggerer`.
"""

from __future__ import annotations

import asyncio
import socket
import sys
import threading

import grpc.aio
import pytest
from moulin import Client, JobSpec, csv, iceberg

from moulin_provider.hooks.moulin import MoulinHook
from moulin_provider.triggers.moulin import MoulinJobTrigger

TRIGGERS = 250
# What stops a thread until somebody else has done something, as the interpreter itself tells of it.
BLOCKING = {
    "time.sleep",
    "socket.connect",
    "socket.getaddrinfo",
    "subprocess.Popen",
    "urllib.Request",
    "sqlite3.connect",
}


@pytest.fixture
def opened(monkeypatch):
    """The channels that are opened."""
    found = []
    real = grpc.aio.insecure_channel

    def insecure_channel(*args, **kwargs):
        found.append(real(*args, **kwargs))
        return found[-1]

    monkeypatch.setattr(grpc.aio, "insecure_channel", insecure_channel)
    return found


@pytest.fixture
def job(worker, tmp_path):
    path = tmp_path / "small.csv"
    path.write_text("id\n1\n")
    with Client(worker.address) as client:
        return client.submit(JobSpec(source=csv(path), target=iceberg("cases.many"))).wait().job_id


async def payloads(count: int, job_id: str) -> list[dict]:
    async def fire() -> dict:
        (event,) = [event async for event in MoulinJobTrigger(job_id, 1, "moulin_default").run()]
        return event.payload

    async with asyncio.timeout(120):
        return await asyncio.gather(*(fire() for _ in range(count)))


async def test_hundreds_of_triggers_share_one_channel_and_close_it(job, opened):
    events = await payloads(TRIGGERS, job)
    assert {event["status"] for event in events} == {"success"}
    assert len(opened) == 1
    await payloads(1, job)
    assert len(opened) == 2, "the last one closed it"


async def test_a_changed_connection_has_a_channel_of_its_own(worker, opened, monkeypatch):
    async with MoulinHook().shared_async_conn() as first, MoulinHook().shared_async_conn() as same:
        monkeypatch.setenv("AIRFLOW_CONN_MOULIN_DEFAULT", f"moulin://:secret@{worker.address}")
        async with MoulinHook().shared_async_conn() as other:
            await asyncio.gather(first.describe(), other.describe())
            assert first is same is not other
        await same.describe()
    assert len(opened) == 2


class Blocked:
    """What held up a thread while this was switched on. A hook of the interpreter cannot be taken out again."""

    def __init__(self) -> None:
        self.thread: int | None = None
        self.seen: list[str] = []
        sys.addaudithook(self._heard)

    def _heard(self, event: str, args: tuple) -> None:
        if event in BLOCKING and threading.get_ident() == self.thread:
            self.seen.append(f"{event}{args}")


async def test_no_trigger_holds_up_the_loop(job, worker, monkeypatch):
    blocked = Blocked()
    monkeypatch.setattr("time.sleep", lambda seconds: blocked.seen.append(f"time.sleep({seconds})"))
    asyncio.get_running_loop().set_debug(True)  # calls from a wrong thread raise
    blocked.thread = threading.get_ident()
    try:
        await payloads(20, job)
        assert blocked.seen == []
        socket.create_connection(("127.0.0.1", worker.port)).close()
        assert blocked.seen != [], "this test hears what it should"
    finally:
        blocked.thread = None
