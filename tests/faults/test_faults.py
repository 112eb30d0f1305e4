"""Every kind of fault, in every world, and a seeded set of rounds: afterwards each row is where it belongs.

`make chaos ROUNDS=500` runs many more, from a seed that it prints.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

import faults
from rounds import Round, run
from world import SERVERS, WORLDS

SEED = 20261121


@pytest.fixture(scope="module", autouse=True)
def _servers_end() -> Iterator[None]:
    yield
    SERVERS.close()


def kinds() -> list[tuple[str, faults.Fault]]:
    """Each kind of fault once in each world that can have it, and a kill at every step of a job."""
    chosen: list[tuple[str, faults.Fault]] = []
    for world, kind in WORLDS.items():
        possible = faults.possible_in(kind)
        dice = random.Random(f"{SEED} {world}")
        points = [faults.KillAtPoint(point) for point in faults.POINTS]
        chosen += [(world, fault) for fault in points]
        chosen += [(world, fault.choose(dice)) for fault in possible if fault is not faults.KillAtPoint]
    return chosen


@pytest.mark.parametrize(("world", "fault"), kinds(), ids=str)
def test_one_fault(world: str, fault: faults.Fault, tmp_path: Path) -> None:
    run(Round("one", world, 2, [fault]), tmp_path)
    assert fault.met, f"no job met {fault}"


@pytest.mark.parametrize("number", range(8))
def test_faults_of_a_seed(number: int, tmp_path: Path) -> None:
    run(Round.of(f"{SEED}.{number}", list(WORLDS)), tmp_path)
