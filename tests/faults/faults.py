"""What can go wrong, each as something that happens while the jobs of a round run.

A fault lets the jobs run into it and leaves them as they then are: the round brings them to their end afterwards.
"""

from __future__ import annotations

import contextlib
import os
import random
import re
import shutil
import signal
import subprocess
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, ClassVar, Self

import pyarrow as pa
from pyiceberg.exceptions import CommitFailedException, NoSuchTableError, ValidationException

import moulin
from build import ROOT
from proxy import Proxy, http_error
from worker_process import WorkerProcess, until

if TYPE_CHECKING:
    from rounds import Stage
    from world import Kind

POINTS = tuple(re.findall(r'=> "(\w+)"', (ROOT / "worker/core/src/fault_point.rs").read_text()))
# A worker that sleeps after the last step has nothing left to lose.
PAUSES = tuple(point for point in POINTS if point not in ("before_claim", "recorded_not_reported", "after_report"))
FOREIGN_ID = 10**9
# Seconds for all jobs of a round, one after another.
LONGEST = 20.0


def chosen_by(choose: Callable[[random.Random], Any]) -> Any:
    """A field of a fault that a seed chooses."""
    return field(metadata={"choose": choose})


def one_of(values: Sequence[Any]) -> Any:
    """A field that is one of these."""
    return chosen_by(lambda dice: dice.choice(values))


def count(least: int, most: int) -> Any:
    """A field that is a whole number."""
    return chosen_by(lambda dice: dice.randint(least, most))


def between(least: float, most: float) -> Any:
    """A field that is a number of seconds, to the millisecond."""
    return chosen_by(lambda dice: round(dice.uniform(least, most), 3))


class Fault(ABC):
    """A kind of fault, and the numbers that a seed chose for it."""

    name: ClassVar[str]
    # What the world must have for it, by the name of a field of `Kind`.
    needs: ClassVar[str | None] = None

    # Whether the jobs met it: a job may be over before.
    met = False

    @classmethod
    def choose(cls, dice: random.Random, **chosen: Any) -> Self:
        """One of its kind: each field as it says itself how it is chosen, but those that are chosen already."""
        numbers = {one.name: one.metadata["choose"](dice) for one in fields(cls)}  # type: ignore[arg-type]
        return cls(**{**numbers, **chosen})

    @abstractmethod
    def happen(self, stage: Stage) -> None:
        """Lets the jobs run into it."""

    def __str__(self) -> str:
        values = [str(getattr(self, one.name)) for one in fields(self)]  # type: ignore[arg-type]
        return f"{self.name}({','.join(values)})"


@dataclass
class KillAtPoint(Fault):
    """SIGKILL at one step of a job."""

    name = "kill_at"
    point: str = one_of(POINTS)

    def happen(self, stage: Stage) -> None:
        worker = stage.worker()
        _ask_and_await(stage, worker, worker.start(MOULIN_FAULT_POINT=f"{self.point}:kill"))
        self.met = worker.is_dead()


@dataclass
class KillLater(Fault):
    """SIGKILL at any moment."""

    name = "kill_after"
    seconds: float = between(0.0, 1.0)

    def happen(self, stage: Stage) -> None:
        worker = stage.worker()
        stage.ask(worker.start())
        with contextlib.suppress(subprocess.TimeoutExpired):
            worker.wait_end(self.seconds)
        self.met = True


@dataclass
class Zombie(Fault):
    """SIGSTOP beyond the lease; another worker takes over, then the first one wakes up."""

    name = "zombie_at"
    point: str = one_of(PAUSES)

    def happen(self, stage: Stage) -> None:
        heir, zombie = stage.worker(), stage.worker()
        heirs = heir.start()
        client = zombie.start(MOULIN_FAULT_POINT=f"{self.point}:pause")
        # One job: another one in the zombie could be frozen in the middle of a write, and then holds the lock of a
        # SQLite file for as long as the process sleeps. Nobody could do anything about that.
        stage.ask(client, stage.works[:1])
        until("a worker pauses, or all is over", lambda: zombie.is_paused() or stage.is_over(heirs), LONGEST)
        self.met = zombie.is_paused()
        until("the heir has ended the job", lambda: stage.is_over(heirs), LONGEST)
        zombie.resume()
        until("the zombie has given up", lambda: client.describe().running == 0, LONGEST)


@dataclass
class Crowd(Fault):
    """Several workers at once, all asked by everybody; one is killed at any moment."""

    name = "crowd"
    workers: int = count(2, 3)
    seconds: float = between(0.0, 1.0)

    def happen(self, stage: Stage) -> None:
        workers = [stage.worker() for _ in range(self.workers)]
        clients = [worker.start() for worker in workers]
        asking = [threading.Thread(target=stage.ask, args=(client,)) for client in clients]
        for thread in asking:
            thread.start()
        with contextlib.suppress(subprocess.TimeoutExpired):
            workers[0].wait_end(self.seconds)
        workers[0].send(signal.SIGKILL)
        for thread in asking:
            thread.join()
        self.met = True
        until("the others have ended all jobs", lambda: stage.is_over(clients[1]), LONGEST)


@dataclass
class Expired(Fault):
    """A crash right after the commit; somebody else commits, and expires the job's snapshot, before the retry."""

    name = "expired_after"
    point: str = one_of(("rows_committed", "committed_not_recorded", "recorded_not_reported"))

    def happen(self, stage: Stage) -> None:
        worker = stage.worker()
        _ask_and_await(stage, worker, worker.start(MOULIN_FAULT_POINT=f"{self.point}:kill"))
        self.met = worker.is_dead()
        worker.close()
        if append_foreign(stage):
            table = stage.world.catalog.load_table(stage.table)
            newest = table.current_snapshot()
            older = [s.snapshot_id for s in table.snapshots() if newest and s.snapshot_id != newest.snapshot_id]
            if older:
                # What a redo has replaced is named by these snapshots only.
                scans = (table.scan(snapshot_id=snapshot_id) for snapshot_id in older)
                stage.replaced_files.update(task.file.file_path for scan in scans for task in scan.plan_files())
                table.maintenance.expire_snapshots().by_ids(older).commit()


@dataclass
class RejectsRewritten(Fault):
    """A crash around the commit of the rejects; another program writes all of them into other files before the retry."""

    name = "rejects_rewritten_at"
    point: str = one_of(("rows_committed", "rejects_written", "committed_not_recorded"))

    def happen(self, stage: Stage) -> None:
        worker = stage.worker()
        _ask_and_await(stage, worker, worker.start(MOULIN_FAULT_POINT=f"{self.point}:kill"))
        self.met = worker.is_dead()
        worker.close()
        # Another worker of the round may commit at this moment.
        for _ in range(20):
            with contextlib.suppress(CommitFailedException, ValidationException):
                rewrite_rejects(stage)
                return
        raise AssertionError("another program could not write the rejects again in 20 tries")


@dataclass
class OtherWriter(Fault):
    """PyIceberg appends to the table while the jobs commit."""

    name = "other_writer"
    appends: int = count(1, 3)

    def happen(self, stage: Stage) -> None:
        worker = stage.worker()
        client = worker.start()
        stage.ask(client)
        left = self.appends
        until("there is a table, or all is over", lambda: _exists(stage) or stage.is_over(client), LONGEST)
        while left and append_foreign(stage):
            left -= 1
        self.met = left == 0
        until("all jobs have ended", lambda: stage.is_over(client), LONGEST)


@dataclass
class LostAnswer(Fault):
    """The catalog commits and its answer never arrives; then the worker may die as well."""

    name = "lost_answer"
    needs = "has_catalog_server"
    times: int = count(1, 2)
    and_killed: bool = chosen_by(lambda dice: dice.random() < 0.5)

    def happen(self, stage: Stage) -> None:
        proxy = _there(stage.world.catalog_proxy)
        before = proxy.broken
        proxy.lose_answers(stage.world.is_commit, self.times, stage.world.is_answered)
        worker = stage.worker()
        client = worker.start()
        stage.ask(client)
        until("an answer is lost, or all is over", lambda: proxy.broken > before or stage.is_over(client), LONGEST)
        self.met = proxy.broken > before
        if self.and_killed:
            worker.close()
        else:
            until("all jobs have ended", lambda: stage.is_over(client), LONGEST)


@dataclass
class ServerDown(Fault):
    """A server is gone for a while."""

    after: float = between(0.0, 0.5)
    seconds: float = between(0.2, 2.0)

    def happen(self, stage: Stage) -> None:
        worker = stage.worker()
        client = worker.start()
        asking = threading.Thread(target=stage.ask, args=(client,))
        asking.start()
        with contextlib.suppress(subprocess.TimeoutExpired):
            worker.wait_end(self.after)
        proxy = self.proxy(stage)
        proxy.refuse()
        with contextlib.suppress(subprocess.TimeoutExpired):
            worker.wait_end(self.seconds)
        proxy.accept()
        asking.join()
        self.met = True
        until("all jobs have ended, or the worker", lambda: worker.is_dead() or stage.is_over(client), LONGEST * 2)

    @staticmethod
    @abstractmethod
    def proxy(stage: Stage) -> Proxy:
        """The proxy before the server."""


class CatalogDown(ServerDown):
    """The catalog is gone for a while."""

    name = "catalog_down"
    needs = "has_catalog_server"

    @staticmethod
    def proxy(stage: Stage) -> Proxy:
        return _there(stage.world.catalog_proxy)


class StoreDown(ServerDown):
    """The job store is gone for a while."""

    name = "store_down"
    needs = "has_store_server"

    @staticmethod
    def proxy(stage: Stage) -> Proxy:
        return _there(stage.world.store_proxy)


@dataclass
class StorageErrors(Fault):
    """The object store answers some requests with an error of its own."""

    name = "storage_errors"
    needs = "has_storage_server"
    status: int = one_of((500, 503))
    method: str = one_of(("PUT", "GET", "HEAD"))
    times: int = one_of((1, 3, 8))

    def happen(self, stage: Stage) -> None:
        method = f"{self.method} ".encode()
        body = b"<Error><Code>InternalError</Code><Message>asked for by a test</Message></Error>"
        answer = http_error(self.status, "Slow Down", b"" if self.method == "HEAD" else body)
        proxy = _there(stage.world.storage_proxy)
        proxy.answer_instead(lambda asked: asked.startswith(method), answer, self.times)
        _run_to_the_end(stage)
        self.met = proxy.broken > 0


@dataclass
class StorageLost(Fault):
    """The object store takes what it is sent, and its answer never arrives."""

    name = "storage_answers_lost"
    needs = "has_storage_server"
    times: int = count(1, 4)

    def happen(self, stage: Stage) -> None:
        proxy = _there(stage.world.storage_proxy)
        proxy.lose_answers(lambda asked: asked.startswith(b"PUT "), self.times)
        _run_to_the_end(stage)
        self.met = proxy.broken > 0


@dataclass
class DiskFull(Fault):
    """The disk with job store, catalog, warehouse and log is full for a while."""

    name = "disk_full"
    needs = "has_own_disk"
    after: float = between(0.0, 0.4)
    left_bytes: int = one_of((0, 4096, 100_000))

    def happen(self, stage: Stage) -> None:
        worker = stage.worker()
        client = worker.start()
        asking = threading.Thread(target=stage.ask, args=(client,))
        asking.start()
        with contextlib.suppress(subprocess.TimeoutExpired):
            worker.wait_end(self.after)
        filler = stage.world.state / "filler"
        with filler.open("wb") as file:
            free = shutil.disk_usage(stage.world.state).free - self.left_bytes
            with contextlib.suppress(OSError):
                os.posix_fallocate(file.fileno(), 0, max(free, 1))
        with contextlib.suppress(subprocess.TimeoutExpired):
            worker.wait_end(2.0)
        filler.unlink()
        asking.join()
        self.met = True
        until("all jobs have ended, or the worker", lambda: worker.is_dead() or stage.is_over(client), LONGEST * 2)


ALL: tuple[type[Fault], ...] = (
    KillAtPoint,
    KillLater,
    Zombie,
    Crowd,
    Expired,
    RejectsRewritten,
    OtherWriter,
    LostAnswer,
    CatalogDown,
    StoreDown,
    StorageErrors,
    StorageLost,
    DiskFull,
)


def possible_in(world: Kind) -> list[type[Fault]]:
    """The faults that a kind of world can have."""
    return [kind for kind in ALL if kind.needs is None or getattr(world, kind.needs)]


def rewrite_rejects(stage: Stage) -> None:
    """Another program puts all rejects into other files; nothing, when there is no such table yet."""
    with contextlib.suppress(NoSuchTableError):
        table = stage.world.catalog.load_table(f"{stage.table}__rejects")
        table.overwrite(table.scan().to_arrow())


def append_foreign(stage: Stage) -> bool:
    """Another program appends one row; False: there is no table yet."""
    for _ in range(20):
        try:
            table = stage.world.catalog.load_table(stage.table)
        except NoSuchTableError:
            return False
        number = FOREIGN_ID + len(stage.foreign)
        schema = table.schema().as_arrow()
        row = {"id": number, "part": 0, "name": "foreign", "amount": None}
        rows = pa.Table.from_pylist([row], schema=schema)
        try:
            table.append(rows)
        except CommitFailedException:
            continue
        stage.foreign.append(number)
        return True
    raise AssertionError("another program could not append in 20 tries")


def _ask_and_await(stage: Stage, worker: WorkerProcess, client: moulin.Client) -> None:
    """Asks, and waits until the worker is dead or all jobs are over."""
    stage.ask(client)
    until("the worker dies, or all is over", lambda: worker.is_dead() or stage.is_over(client), LONGEST)


def _run_to_the_end(stage: Stage) -> None:
    worker = stage.worker()
    client = worker.start()
    stage.ask(client)
    until("all jobs have ended", lambda: worker.is_dead() or stage.is_over(client), LONGEST * 3)


def _exists(stage: Stage) -> bool:
    try:
        stage.world.catalog.load_table(stage.table)
    except NoSuchTableError:
        return False
    return True


def _there(proxy: Proxy | None) -> Proxy:
    assert proxy is not None, "this world has no such server"
    return proxy
