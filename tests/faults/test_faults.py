"""Every kind of fault, in every world, and a seeded set of rounds: afterwards each row is where it belongs.

`make chaos ROUNDS=500` runs many more, from a seed that it prints.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import pytest

import faults
from rounds import Round, run
from world import SERVERS, WORLDS

SEED = 20261121
AROUND_COMMITS = ("files_written", "before_commit", "rows_committed", "rejects_written", "committed_not_recorded")


@pytest.fixture(scope="module", autouse=True)
def _servers_end() -> Iterator[None]:
    yield
    SERVERS.close()


def _one_of(kind: type[faults.Fault], dice: random.Random) -> list[faults.Fault]:
    """One of a kind; of errors of the object store one for each method that the jobs ask with.

    They never ask with HEAD: what they read they have listed, or know from metadata.
    """
    if kind is faults.StorageErrors:
        return [kind.choose(dice, method=method) for method in ("PUT", "GET")]
    return [kind.choose(dice)]


def kinds() -> list[tuple[str, faults.Fault]]:
    """Each kind of fault once in each world that can have it, and a kill at every step of a job."""
    chosen: list[tuple[str, faults.Fault]] = []
    for world, kind in WORLDS.items():
        dice = random.Random(f"{SEED} {world}")
        possible = [fault for fault in faults.possible_in(kind) if fault is not faults.KillAtPoint]
        of_kinds = [_one_of(fault, dice) for fault in possible]
        points = [faults.KillAtPoint(point) for point in faults.POINTS]
        chosen += [(world, fault) for fault in chain(points, *of_kinds)]
    return chosen


@pytest.mark.parametrize(("world", "fault"), kinds(), ids=str)
def test_one_fault(world: str, fault: faults.Fault, tmp_path: Path) -> None:
    run(Round("one", world, 2, [fault]), tmp_path)
    assert fault.met, f"no job met {fault}"


def later_kinds() -> list[tuple[str, faults.Fault]]:
    """Each kind of fault once in each world, and a kill around every commit; of redos and replays."""
    chosen: list[tuple[str, faults.Fault]] = []
    for world, kind in WORLDS.items():
        dice = random.Random(f"{SEED} later {world}")
        possible = [fault for fault in faults.possible_in(kind) if fault is not faults.KillAtPoint]
        of_kinds = [_one_of(fault, dice) for fault in possible]
        points = [faults.KillAtPoint(point) for point in AROUND_COMMITS]
        chosen += [(world, fault) for fault in chain(points, *of_kinds)]
    return chosen


@pytest.mark.parametrize(("world", "fault"), later_kinds(), ids=str)
def test_one_fault_of_a_redo_and_a_replay(world: str, fault: faults.Fault, tmp_path: Path) -> None:
    run(Round("later", world, 2, [], redone=[0], replays=1, later_faults=[fault]), tmp_path)
    assert fault.met, f"no job met {fault}"


@pytest.mark.parametrize("number", range(8))
def test_faults_of_a_seed(number: int, tmp_path: Path) -> None:
    run(Round.of(f"{SEED}.{number}", list(WORLDS)), tmp_path)
