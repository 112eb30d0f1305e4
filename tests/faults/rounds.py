"""One round: jobs, faults that a seed chooses, and the check that every row is where it belongs.

    python -m rounds --rounds 500 --seed 1 [--worlds sqlite,postgresql,rest]

Every round prints its seed; the same seed makes the same round (its faults, not the moments at which a scheduler lets
them happen). The first round that goes wrong ends the run, with what it was and the logs of its workers.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import faults
import moulin
from check import check
from work import Replay, Work, replay, work
from worker_process import PATIENCE_SECONDS, WorkerProcess, until
from world import SERVERS, WORLDS, World

TRIES = 8


@dataclass
class Round:
    """What one seed stands for."""

    seed: str
    world_name: str
    works: int
    faults: list[faults.Fault]
    # Afterwards: the numbers of the jobs that are asked for anew, how many replays, and what these run into.
    redone: list[int] = field(default_factory=list)
    replays: int = 0
    later_faults: list[faults.Fault] = field(default_factory=list)

    @classmethod
    def of(cls, seed: str, worlds: list[str]) -> Round:
        """Chooses; nothing else in a round is random."""
        dice = random.Random(seed)
        world = dice.choice(worlds)
        possible = faults.possible_in(WORLDS[world])
        chosen = [dice.choice(possible).choose(dice) for _ in range(dice.randint(1, 3))]
        works = dice.randint(1, 3)
        redone = [number for number in range(works) if dice.random() < 0.5]
        replays = dice.randint(0 if redone else 1, 2)
        later = [dice.choice(possible).choose(dice) for _ in range(dice.randint(1, 2))]
        return cls(seed, world, works, chosen, redone, replays, later)

    def __str__(self) -> str:
        text = f"{self.seed} {self.world_name} jobs={self.works}: {', '.join(map(str, self.faults))}"
        if self.later_faults:
            later = ", ".join(map(str, self.later_faults))
            text += f"; then redone={self.redone} replays={self.replays}: {later}"
        return text


@dataclass
class Stage:
    """A round that runs: what faults act on."""

    world: World
    works: list[Work | Replay]
    table: str
    # What the table must hold: of each landing the newest generation.
    landings: list[Work] = field(default_factory=list)
    workers: list[WorkerProcess] = field(default_factory=list)
    # Ids that other writers landed beside the jobs.
    foreign: list[int] = field(default_factory=list)
    epoch: int = 0
    asked: list[Work | Replay] = field(default_factory=list)
    # Data files that snapshots named which somebody expired.
    replaced_files: set[str] = field(default_factory=set)

    def worker(self, **settings: str) -> WorkerProcess:
        """A worker of the pool, not started yet."""
        made = WorkerProcess(
            self.world.state / f"worker{len(self.workers)}", MOULIN_LEASE="1s", **self.world.settings, **settings
        )
        self.workers.append(made)
        return made

    def ask(self, client: moulin.Client, works: list[Work | Replay] | None = None) -> None:
        """Submits jobs (all of them), as the next try of their tasks; answers may get lost."""
        self.epoch += 1
        self.asked = self.works if works is None else works
        for one in self.asked:
            with contextlib.suppress(moulin.Unavailable, moulin.CallTimeout):
                client.submit(one.spec, one.key, generation=one.generation, epoch=self.epoch)

    def is_over(self, client: moulin.Client) -> bool:
        """Whether every job that was asked for has ended; a worker that does not answer does not say so."""
        with contextlib.suppress(moulin.MoulinError):
            jobs = [
                client.submit(one.spec, one.key, generation=one.generation, epoch=self.epoch).job for one in self.asked
            ]
            return all(job.state.is_final for job in jobs)
        return False

    def finish(self) -> dict[Work | Replay, moulin.Receipt]:
        """Everything is whole again: a new worker and patient callers bring every job to its end."""
        self.heal()
        client = self.worker().start()
        receipts: dict[Work | Replay, moulin.Receipt] = {}
        for one in self.works:
            for _ in range(TRIES):
                self.epoch += 1
                job = client.submit(one.spec, one.key, generation=one.generation, epoch=self.epoch)
                until(f"{one.key} ends", lambda job=job: job.get().state.is_final, PATIENCE_SECONDS)
                found = job.get()
                if found.receipt is not None:
                    receipts[one] = found.receipt
                    break
            else:
                raise AssertionError(f"{one.key} did not succeed in {TRIES} tries: {found.fault}")
        return receipts

    def heal(self) -> None:
        """Ends every worker and every fault."""
        self.close()
        for proxy in (self.world.catalog_proxy, self.world.store_proxy, self.world.storage_proxy):
            if proxy is not None:
                proxy.heal()

    def close(self) -> None:
        """Kills every worker that runs."""
        for worker in self.workers:
            worker.close()

    def logs(self) -> Iterator[str]:
        """What the workers wrote."""
        for worker in self.workers:
            yield f"--- {worker.state.name}\n{worker.log()[-6000:]}"


def run(round_: Round, folder: Path) -> None:
    """Runs one round in an empty folder.

    Raises AssertionError with everything that helps when a row is not where it belongs.
    """
    with ExitStack() as stack:
        world = stack.enter_context(WORLDS[round_.world_name].open(folder / "state", SERVERS))
        table = f"{world.namespace}.numbers"
        works = [work(folder / f"input{number}", table, number) for number in range(round_.works)]
        stage = Stage(world, [*works], table, works)
        stack.callback(stage.close)
        try:
            _happen(stage, round_.faults)
            if round_.later_faults:
                redone = [one.redone() for one in works if one.number in round_.redone]
                stage.works = [*redone, *(replay(table, number) for number in range(round_.replays))]
                newest = {one.number: one for one in [*works, *redone]}
                stage.landings = list(newest.values())
                _happen(stage, round_.later_faults)
        except (AssertionError, moulin.MoulinError, subprocess.TimeoutExpired, OSError) as error:
            raise AssertionError(f"round {round_}\n{error}\n" + "\n".join(stage.logs())) from error


def _happen(stage: Stage, happening: list[faults.Fault]) -> None:
    for fault in happening:
        fault.happen(stage)
        stage.heal()
    check(stage, stage.finish())
    # The worker that brought all to its end takes no part in what happens next.
    stage.heal()


def main() -> None:
    """Many rounds, one after another."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--seed", help="of the first round; a round's own seed, as printed, repeats that round")
    parser.add_argument("--worlds", default=",".join(WORLDS))
    options = parser.parse_args()
    start = options.seed or str(random.SystemRandom().randrange(10**9))
    seeds = [start] if "." in start else [f"{start}.{number}" for number in range(options.rounds)]
    met: Counter[str] = Counter()
    began = time.monotonic()
    for number, seed in enumerate(seeds, 1):
        round_ = Round.of(seed, options.worlds.split(","))
        print(f"{number}/{len(seeds)} {round_}", flush=True)
        folder = Path(tempfile.mkdtemp(prefix="moulin-chaos-"))
        try:
            run(round_, folder)
        except AssertionError as error:
            sys.exit(f"{error}\n\nround {seed} went wrong; its files are in {folder}; repeat it with --seed {seed}")
        shutil.rmtree(folder)
        met.update([round_.world_name, *(fault.name for fault in [*round_.faults, *round_.later_faults])])
        met.update({"redo": len(round_.redone), "replay": round_.replays})
    SERVERS.close()
    print(f"{len(seeds)} rounds held in {time.monotonic() - began:.0f} s, seed {start}")
    print(", ".join(f"{name} {count}" for name, count in sorted(met.items())))


if __name__ == "__main__":
    main()
