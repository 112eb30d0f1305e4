"""Many worker processes land in one table at the same moment: no row is lost, and no landing fails."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import moulin
from landed_table import LandedTable
from worker_process import NewWorker

WRITERS = 16
ROWS = 500
ROUNDS = 3


def test_sixteen_processes_land_in_one_table(new_worker: NewWorker, table: LandedTable, tmp_path: Path) -> None:
    # A job store of its own for each: nothing but the table stands between them.
    state = tmp_path / "state"
    workers = [(new_worker(f"w{number}"), f"sqlite://{state}/jobs-{number}.db") for number in range(WRITERS)]
    with ThreadPoolExecutor(WRITERS) as threads:
        clients = list(threads.map(lambda made: made[0].start(MOULIN_STORE_URL=made[1]), workers))

        def land(number: int) -> list[moulin.Receipt]:
            handles = []
            for turn in range(ROUNDS):
                file = tmp_path / f"{number}-{turn}.csv"
                begin = (number * ROUNDS + turn) * ROWS
                file.write_text("id\n" + "".join(f"{n}\n" for n in range(begin, begin + ROWS)))
                spec = moulin.JobSpec(source=moulin.csv(f"file://{file}"), target=moulin.iceberg(table.name))
                handles.append(clients[number].submit(spec))
            receipts = [handle.wait(240).receipt for handle in handles]
            return [receipt for receipt in receipts if receipt is not None]

        receipts = [receipt for made in threads.map(land, range(WRITERS)) for receipt in made]

    assert len(receipts) == WRITERS * ROUNDS
    assert all(receipt.attempt == 1 for receipt in receipts)
    table.holds_each_row_once(list(range(WRITERS * ROUNDS * ROWS)))
    snapshots = table.load().snapshots()
    assert {receipt.snapshot_id for receipt in receipts} == {snapshot.snapshot_id for snapshot in snapshots}
    assert sum(int(snapshot.summary["added-records"]) for snapshot in snapshots) == WRITERS * ROUNDS * ROWS
