"""A redo replaces the rejects of the generation before, and what replays have made of them."""

from __future__ import annotations

import contextlib
import signal
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyiceberg.types import StringType

import moulin
from landed_table import LandedTable
from test_crashes import COMMITTED_BY
from worker_process import NewWorker, WorkerProcess, until

KEY = moulin.JobKey(dag_id="dag", run_id="run", task_id="land")
OTHER = replace(KEY, task_id="other")
REPLAY = replace(KEY, task_id="replay")
TABLE = "bronze.numbers"
COLUMNS = {"id": "long", "part": "long"}


@pytest.fixture
def rejects(state: Path) -> LandedTable:
    return LandedTable(state, f"{TABLE}__rejects")


def _spec(folder: Path, ids: range, bad: int, **target: Any) -> moulin.JobSpec:
    """Rows that fit, and rows of which `n/a` is one value."""
    folder.mkdir(exist_ok=True)
    lines = [f"{n},{n % 4}\n" for n in ids] + [f"{ids.start + 500 + n},n/a\n" for n in range(bad)]
    (folder / "in.csv").write_text("id,part\n" + "".join(lines))
    return moulin.JobSpec(
        source=moulin.csv(f"file://{folder}/in.csv", columns=COLUMNS),
        target=moulin.iceberg(TABLE, **target),
        on_bad_row="quarantine",
    )


def _replay(where: str = "") -> moulin.JobSpec:
    return moulin.replay(TABLE, moulin.csv("x.csv", columns=COLUMNS, null_values=["n/a"]), where=where)


def _done(client: moulin.Client, spec: moulin.JobSpec, generation: int = 0, key: moulin.JobKey = KEY) -> moulin.Receipt:
    receipt = client.submit(spec, key, generation=generation).wait(60).receipt
    assert receipt is not None
    return receipt


def _by_token(rejects: LandedTable) -> Counter[tuple[str, str | None]]:
    rows = rejects.load().scan(selected_fields=("token", "replayed_by")).to_arrow().to_pylist()
    return Counter((row["token"], row["replayed_by"]) for row in rows)


def test_the_rejects_of_the_generation_before_go_and_no_others(
    client: moulin.Client, table: LandedTable, rejects: LandedTable, tmp_path: Path
) -> None:
    _done(client, _spec(tmp_path / "a", range(100), 5))
    other = _done(client, _spec(tmp_path / "b", range(1000, 1010), 2), key=OTHER)
    second = _done(client, _spec(tmp_path / "a", range(50, 70), 3), 1)
    assert (second.rows_rejected, second.rejects_replaced, second.rows_replaced) == (3, 5, 100)
    assert _by_token(rejects) == {(second.token, None): 3, (other.token, None): 2}
    summary = rejects.load().current_snapshot().summary
    assert (summary["moulin.job"], summary["moulin.rejects-replaced"]) == (second.token, "5")
    # Without a bad row there is nothing left of the job.
    third = _done(client, _spec(tmp_path / "a", range(3), 0), 2)
    assert (third.rejects_replaced, third.rejects_table) == (3, "")
    assert _by_token(rejects) == {(other.token, None): 2}
    assert table.ids() == [*range(3), *range(1000, 1010)]
    assert "3 rejects replaced" in str(third)


def test_skip_and_append_leave_the_rejects_of_the_generation_before(
    client: moulin.Client, rejects: LandedTable, tmp_path: Path
) -> None:
    first = _done(client, _spec(tmp_path / "a", range(100), 5))
    skipped = _done(client, _spec(tmp_path / "a", range(50), 1, on_rerun="skip"), 1)
    assert (skipped.rows_rejected, skipped.rejects_snapshot_id) == (5, first.rejects_snapshot_id)
    assert _by_token(rejects) == {(first.token, None): 5}
    added = _done(client, _spec(tmp_path / "a", range(50), 1, on_rerun="append"), 2)
    assert added.rejects_replaced == 0
    assert _by_token(rejects) == {(first.token, None): 5, (added.token, None): 1}


def test_a_job_of_nothing_but_rejects_is_replaced_too(
    client: moulin.Client, table: LandedTable, rejects: LandedTable, tmp_path: Path
) -> None:
    _done(client, _spec(tmp_path / "b", range(1000, 1010), 0), key=OTHER)
    _done(client, _spec(tmp_path / "a", range(0), 5))
    # All of them land by a replay: then they are what the redo replaces.
    assert _done(client, _replay(), key=REPLAY).rows_landed == 5
    second = _done(client, _spec(tmp_path / "a", range(0), 4), 1)
    assert (second.rows_landed, second.rows_replaced, second.rejects_replaced) == (0, 5, 5)
    assert table.ids() == list(range(1000, 1010))
    assert _by_token(rejects) == {(second.token, None): 4}


@pytest.mark.parametrize("replayed", [False, True], ids=["open", "replayed"])
@pytest.mark.parametrize("point", COMMITTED_BY)
def test_a_redo_that_is_killed_replaces_rejects_once(
    point: str, replayed: bool, worker: WorkerProcess, table: LandedTable, rejects: LandedTable, tmp_path: Path
) -> None:
    client = worker.start()
    _done(client, _spec(tmp_path / "a", range(100), 5))
    other = _done(client, _spec(tmp_path / "b", range(1000, 1010), 2), key=OTHER)
    by = _done(client, _replay(), key=REPLAY).token if replayed else None
    worker.close()
    spec = _spec(tmp_path / "a", range(50, 70), 3)
    with contextlib.suppress(moulin.Unavailable):
        worker.start(MOULIN_FAULT_POINT=f"{point}:kill").submit(spec, KEY, generation=1)
    assert worker.wait_end() == -signal.SIGKILL

    receipt = _done(worker.start(), spec, 1)

    replaced = 105 if replayed else 100
    assert (receipt.rows_landed, receipt.rows_replaced, receipt.rejects_replaced) == (20, replaced, 5)
    assert receipt.attempt == COMMITTED_BY[point]
    others = [*range(1000, 1010), *((1500, 1501) if replayed else ())]
    assert table.ids() == sorted([*range(50, 70), *others])
    assert _by_token(rejects) == {(receipt.token, None): 3, (other.token, by): 2}
    ever = {
        Path(task.file.file_path.removeprefix("file://"))
        for one in (table, rejects)
        for snapshot in one.load().snapshots()
        for task in one.load().scan(snapshot_id=snapshot.snapshot_id).plan_files()
    }
    assert {*table.files_on_disk(), *rejects.files_on_disk()} <= ever


def test_what_a_replay_made_of_the_rejects_goes_with_the_rows_of_their_job(
    client: moulin.Client, table: LandedTable, rejects: LandedTable, tmp_path: Path
) -> None:
    _done(client, _spec(tmp_path / "a", range(100), 5))
    other = _done(client, _spec(tmp_path / "b", range(1000, 1010), 2), key=OTHER)
    replayed = _done(client, _replay(), key=REPLAY)
    assert replayed.rows_landed == 7

    second = _done(client, _spec(tmp_path / "a", range(100), 5), 1)

    assert (second.rows_replaced, second.rejects_replaced) == (105, 5)
    assert table.ids() == [*range(100), *range(1000, 1010), 1500, 1501]
    assert _by_token(rejects) == {(second.token, None): 5, (other.token, replayed.token): 2}
    # They can be replayed anew; the cleared replay brings no row back that went.
    third = _done(client, _replay(), 1, REPLAY)
    assert (third.rows_landed, third.rows_replaced) == (7, 2)
    assert table.ids() == [*range(100), *range(500, 505), *range(1000, 1010), 1500, 1501]


def test_a_redo_and_a_replay_at_once_leave_no_row_twice(
    new_worker: NewWorker, table: LandedTable, rejects: LandedTable, tmp_path: Path
) -> None:
    one, two = (new_worker(name, MOULIN_LEASE="2s") for name in ("one", "two"))
    clients = [one.start(), two.start()]
    for number in range(4):
        spec = _spec(tmp_path / f"{number}", range(number * 1000, number * 1000 + 50), 4)
        _done(clients[0], spec, key=replace(KEY, task_id=f"land{number}"))
    handles = []
    for number in range(4):
        spec = _spec(tmp_path / f"{number}", range(number * 1000, number * 1000 + 50), 4)
        key = replace(KEY, task_id=f"land{number}")
        handles.append(clients[number % 2].submit(spec, key, generation=1))
        handles.append(clients[1 - number % 2].submit(_replay(), replace(KEY, task_id=f"replay{number}")))
    for handle in handles:
        handle.wait(60)
    twice = [n for n, times in Counter(table.ids()).items() if times > 1]
    assert not twice
    # Each reject of the new generation is open, or is marked and landed.
    rows = rejects.load().scan().to_arrow().to_pylist()
    assert {row["token"] for row in rows} == {f"dag/run/land{number}/-1/1" for number in range(4)}
    landed = Counter(n // 1000 for n in table.ids() if n % 1000 >= 500)
    marked = Counter(int(row["raw"].split(b",")[0]) // 1000 for row in rows if row["replayed_by"] is not None)
    assert landed == marked
    assert _done(clients[0], _replay(), key=replace(KEY, task_id="last")).rows_landed == 16 - sum(marked.values())
    assert len(table.ids()) == 4 * 54


def test_rejects_that_others_have_written_again_are_replaced_all_the_same(
    client: moulin.Client, rejects: LandedTable, tmp_path: Path
) -> None:
    _done(client, _spec(tmp_path / "a", range(100), 5))
    other = _done(client, _spec(tmp_path / "b", range(1000, 1010), 2), key=OTHER)
    loaded = rejects.load()
    loaded.overwrite(loaded.scan().to_arrow())
    second = _done(client, _spec(tmp_path / "a", range(50, 70), 3), 1)
    assert second.rejects_replaced == 5
    assert _by_token(rejects) == {(second.token, None): 3, (other.token, None): 2}


@pytest.mark.parametrize("bad", [3, 0], ids=["rejects", "no_rejects"])
def test_a_zombie_of_the_generation_before_brings_no_rejects_back(
    bad: int, new_worker: NewWorker, table: LandedTable, rejects: LandedTable, tmp_path: Path
) -> None:
    heir, zombie = (new_worker(name, MOULIN_LEASE="1s") for name in ("heir", "zombie"))
    asked = zombie.start(MOULIN_FAULT_POINT="rejects_written:pause")
    asked.submit(_spec(tmp_path / "a", range(100), 5), KEY)
    zombie.wait_paused()
    client = heir.start()
    second = _done(client, _spec(tmp_path / "a", range(50, 70), bad), 1)
    zombie.resume()
    until("the zombie has given up", lambda: asked.describe().running == 0)
    first = client.submit(_spec(tmp_path / "a", range(100), 5), KEY, epoch=2).wait(60)
    assert first.job.state is moulin.JobState.SUCCEEDED
    assert table.ids() == list(range(50, 70))
    assert _by_token(rejects) == ({(second.token, None): bad} if bad else {})


def test_rejects_of_rows_that_were_replaced_meanwhile_do_not_come_although_no_snapshot_tells(
    new_worker: NewWorker, table: LandedTable, rejects: LandedTable, tmp_path: Path
) -> None:
    late = new_worker("late")
    handle = late.start(MOULIN_FAULT_POINT="rejects_written:pause").submit(_spec(tmp_path / "a", range(100), 5), KEY)
    late.wait_paused()
    client = new_worker("other").start()
    _done(client, _spec(tmp_path / "a", range(50, 70), 0), 1)
    _done(client, _spec(tmp_path / "b", range(1000, 1010), 2), key=OTHER)
    for one in (table, rejects):
        loaded = one.load()
        for snapshot in loaded.snapshots():
            if snapshot.snapshot_id != loaded.current_snapshot().snapshot_id:
                one.load().maintenance.expire_snapshots().by_id(snapshot.snapshot_id).commit()
    late.resume()
    handle.wait(60)
    assert table.ids() == [*range(50, 70), *range(1000, 1010)]
    assert {token for token, _ in _by_token(rejects)} == {"dag/run/other/-1/0"}


def test_rejects_of_rows_that_others_were_added_to_still_come(
    new_worker: NewWorker, table: LandedTable, rejects: LandedTable, tmp_path: Path
) -> None:
    heir, zombie = (new_worker(name, MOULIN_LEASE="1s") for name in ("heir", "zombie"))
    asked = zombie.start(MOULIN_FAULT_POINT="rejects_written:pause")
    handle = asked.submit(_spec(tmp_path / "a", range(100), 5), KEY)
    zombie.wait_paused()
    client = heir.start()
    second = _done(client, _spec(tmp_path / "a", range(200, 220), 3, on_rerun="append"), 1)
    zombie.resume()
    until("the zombie has given up", lambda: asked.describe().running == 0)
    first = client.job(handle.job_id).wait(60).receipt
    assert first is not None
    assert table.ids() == [*range(100), *range(200, 220)]
    assert _by_token(rejects) == {(first.token, None): 5, (second.token, None): 3}


def test_what_an_heir_has_committed_to_the_rejects_stays_when_the_zombie_wakes_up(
    new_worker: NewWorker, rejects: LandedTable, tmp_path: Path
) -> None:
    before = new_worker("before")
    landed = _done(before.start(), _spec(tmp_path / "a", range(100), 5))
    before.close()
    heir, zombie = (new_worker(name, MOULIN_LEASE="1s") for name in ("heir", "zombie"))
    handle = zombie.start(MOULIN_FAULT_POINT="rejects_written:pause").submit(_replay(), REPLAY)
    zombie.wait_paused()
    heir.start(MOULIN_FAULT_POINT="committed_not_recorded:kill")
    assert heir.wait_end() == -signal.SIGKILL
    zombie.resume()
    receipt = handle.wait(60).receipt
    assert receipt is not None
    assert _by_token(rejects) == {(landed.token, receipt.token): 5}
    assert rejects.data_files() == [file for file in rejects.files_on_disk() if file in rejects.data_files()]


def test_a_replay_is_done_anew_after_the_jobs_whose_rejects_it_had_read(
    client: moulin.Client, table: LandedTable, rejects: LandedTable, tmp_path: Path
) -> None:
    _done(client, _spec(tmp_path / "a", range(100), 5))
    assert _done(client, _replay(), key=REPLAY).rows_landed == 5
    second = _done(client, _spec(tmp_path / "a", range(100), 4), 1)
    assert second.rows_replaced == 105
    # All that the replay had landed went with the rows of that job.
    again = _done(client, _replay(), 1, REPLAY)
    assert (again.rows_landed, again.rows_replaced) == (4, 0)
    assert table.ids() == [*range(100), *range(500, 504)]
    assert _by_token(rejects) == {(second.token, again.token): 4}


def test_other_columns_of_the_table_of_rejects_survive(
    client: moulin.Client, rejects: LandedTable, tmp_path: Path
) -> None:
    _done(client, _spec(tmp_path / "a", range(100), 2))
    loaded = rejects.load()
    with loaded.update_schema() as update:
        update.add_column("seen_by", StringType())
    loaded = rejects.load()
    rows = loaded.scan().to_arrow()
    at = rows.schema.get_field_index("seen_by")
    loaded.overwrite(rows.set_column(at, "seen_by", pa.array(["me"] * rows.num_rows, rows.schema.field(at).type)))
    _done(client, _replay(), key=REPLAY)
    assert set(rejects.load().scan().to_arrow()["seen_by"].to_pylist()) == {"me"}
