"""Replays of one table by workers of two job stores, which know nothing of each other: each reject lands once."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from landed_table import LandedTable
from test_replay import FIXABLE, REPLAY, TABLE, _done, _fixed, _good, _land, _nothing_is_left_over, _replay, _rows
from worker_process import NewWorker, WorkerProcess, until

OTHER = replace(REPLAY, task_id="other_replay")


@pytest.fixture
def rejects(state: Path) -> LandedTable:
    return LandedTable(state, f"{TABLE}__rejects")


@pytest.fixture
def stores(new_worker: NewWorker, state: Path) -> tuple[WorkerProcess, WorkerProcess]:
    """Two workers with a job store each; the first one may be paused for long, the second one does not wait for long."""
    one, two = (
        new_worker(name, MOULIN_STORE_URL=f"sqlite://{state}/{name}.db", MOULIN_LEASE=lease)
        for name, lease in (("one", "60s"), ("two", "1s"))
    )
    return one, two


def _every_reject_is_open_once_or_marked(rejects: LandedTable, places: int) -> None:
    rows = _rows(rejects)
    open_ = Counter((row["uri"], row["record"]) for row in rows if row["replayed_by"] is None)
    assert sorted(open_.values()) == [1] * places, rows


@pytest.mark.parametrize("point", ["files_written", "before_commit"])
@pytest.mark.parametrize("fits", [True, False])
def test_the_one_that_commits_later_looks_again(
    fits: bool, point: str, stores: tuple[WorkerProcess, WorkerProcess], table: LandedTable, rejects: LandedTable, tmp_path: Path
) -> None:  # fmt: skip
    one, two = stores
    spec = _replay() if fits else _replay(null_values=[])
    quick = two.start()
    _done(quick, _land(tmp_path))
    late = one.start(MOULIN_FAULT_POINT=f"{point}:pause").submit(spec, REPLAY)
    one.wait_paused()

    first = _done(quick, spec, OTHER)
    assert first.rows_landed == (FIXABLE if fits else 0)
    one.resume()

    second = late.wait(60).receipt
    assert second is not None
    # What the other one rejected again is open, and is read once more.
    assert (second.rows_landed, second.rows_rejected) == (0, first.rows_rejected)
    assert table.ids() == sorted(_good() + (_fixed() if fits else []))
    _every_reject_is_open_once_or_marked(rejects, first.rows_rejected)
    _nothing_is_left_over(table, rejects)
    assert "landed meanwhile" in one.log()


@pytest.mark.parametrize("point", ["rows_committed", "rejects_written"])
def test_one_that_has_landed_rows_and_not_marked_them_is_waited_for(
    point: str, stores: tuple[WorkerProcess, WorkerProcess], table: LandedTable, rejects: LandedTable, tmp_path: Path
) -> None:
    one, two = stores
    other = two.start()
    _done(other, _land(tmp_path))
    early = one.start(MOULIN_FAULT_POINT=f"{point}:pause").submit(_replay(), REPLAY)
    one.wait_paused()
    assert table.ids() == sorted(_good() + _fixed())

    late = other.submit(_replay(), OTHER)
    until("it is waited for", lambda: "and not yet marked in bronze.numbers__rejects what it took" in two.log())
    one.resume()

    first, second = (handle.wait(60).receipt for handle in (early, late))
    assert first is not None
    assert second is not None
    assert (first.rows_landed, second.rows_landed) == (FIXABLE, 0)
    assert table.ids() == sorted(_good() + _fixed())
    _every_reject_is_open_once_or_marked(rejects, 1)
    _nothing_is_left_over(table, rejects)


def test_one_whose_marks_nobody_remembers_but_the_rows_is_not_waited_for(
    stores: tuple[WorkerProcess, WorkerProcess], table: LandedTable, rejects: LandedTable, tmp_path: Path
) -> None:
    one, two = stores
    other = two.start()
    _done(other, _land(tmp_path))
    _done(one.start(), _replay(), REPLAY)
    loaded = rejects.load()
    loaded.overwrite(loaded.scan().to_arrow())
    newest = loaded.refresh().current_snapshot().snapshot_id
    loaded.maintenance.expire_snapshots().by_ids(
        [snapshot.snapshot_id for snapshot in loaded.snapshots() if snapshot.snapshot_id != newest]
    ).commit()
    assert _done(other, _replay(), OTHER).rows_landed == 0
    assert table.ids() == sorted(_good() + _fixed())


def test_one_of_the_same_store_is_waited_for_without_a_failed_attempt(
    new_worker: NewWorker, table: LandedTable, tmp_path: Path
) -> None:
    one, two = (new_worker(name, MOULIN_LEASE=lease) for name, lease in (("one", "60s"), ("two", "1s")))
    other = two.start()
    _done(other, _land(tmp_path))
    early = one.start(MOULIN_FAULT_POINT="rows_committed:pause").submit(_replay(), REPLAY)
    one.wait_paused()
    late = other.submit(_replay(), OTHER)
    until("it gives its slot back", lambda: "the job waits for another one" in two.log())
    one.resume()
    receipts = [handle.wait(60).receipt for handle in (early, late)]
    assert [receipt.rows_landed for receipt in receipts if receipt] == [FIXABLE, 0]
    assert "the attempt failed" not in two.log()
