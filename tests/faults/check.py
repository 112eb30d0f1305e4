"""What must hold after every round."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any

import moulin
from work import BAD_ROWS, FILES, ROWS, Replay, Work

if TYPE_CHECKING:
    from rounds import Stage

_COLUMNS = ("uri", "record", "token", "origin", "replayed_by", "replayed_at")


def check(stage: Stage, receipts: dict[Work | Replay, moulin.Receipt]) -> None:
    """Every row once, every file once, every reject explained, every receipt true, no file that nobody knows."""
    table = stage.world.catalog.load_table(stage.table)
    rejects = stage.world.catalog.load_table(f"{stage.table}__rejects")
    kept = rejects.scan(selected_fields=_COLUMNS).to_arrow().to_pylist()
    fixed = [n for one in stage.landings for n in _fixed(stage, one, kept)]

    landed = sorted(table.scan(selected_fields=("id",)).to_arrow()["id"].to_pylist())
    wanted = sorted(n for one in stage.landings for n in one.landed_ids) + fixed + stage.foreign
    assert landed == sorted(wanted), _difference(landed, wanted)

    files = Counter(task.file.file_path for one in (table, rejects) for task in one.scan().plan_files())
    twice = [name for name, times in files.items() if times > 1]
    assert not twice, f"referred to more than once: {twice}"

    data = {name for name in stage.world.warehouse_files() if name.endswith(".parquet") and "/data/" in name}
    # What was replaced is referred to by the snapshots of before.
    referred = set(files) | {name for one in (table, rejects) for name in _earlier_files(one)}
    nobodys = data - referred - stage.world.staged_files() - stage.replaced_files
    assert not nobodys, f"in the warehouse, and known to nobody: {sorted(nobodys)}"

    snapshots = {snapshot.snapshot_id: snapshot for snapshot in table.snapshots()}
    for one, receipt in receipts.items():
        _is_true(one, receipt)
        snapshot = snapshots.get(receipt.snapshot_id or 0)
        if snapshot is not None:
            assert snapshot.summary is not None
            assert receipt.token in str(snapshot.summary.additional_properties), f"{one.key}: {snapshot.summary}"


def _fixed(stage: Stage, one: Work, kept: list[dict[str, Any]]) -> list[int]:
    """The ids of the rows that were rejected by a job and landed by a replay, as the table of rejects tells it.

    The rejects of the newest generation are there and no others; all are open, or one replay has marked them all. Then
    the row that never fits is a reject of that replay, which another one may have taken in turn.
    """
    own = f"{one.key.dag_id}/{one.key.run_id}/{one.key.task_id}/{one.key.map_index}/"
    rows = [row for row in kept if row["origin"].startswith(own)]
    assert {row["origin"] for row in rows} == {f"{own}{one.generation}"}, f"{one.key}: {rows}"
    by_token = defaultdict(list)
    for row in rows:
        assert (row["replayed_by"] is None) == (row["replayed_at"] is None), row
        by_token[row["token"]].append(row)
    taken, now, left = None, f"{own}{one.generation}", BAD_ROWS
    while now is not None:
        found = by_token.pop(now, [])
        assert len(found) == left, f"{one.key}: {left} rejects of {now} expected: {rows}"
        (now,) = {row["replayed_by"] for row in found}
        taken, left = taken or now, 1
    assert not by_token, f"{one.key}: rejects that nothing explains: {by_token}"
    places = Counter((row["uri"], row["record"]) for row in rows if row["replayed_by"] is None)
    assert set(places.values()) == {1}, places
    return one.fixed_ids if taken else []


def _earlier_files(table: Any) -> set[str]:
    scans = (table.scan(snapshot_id=snapshot.snapshot_id) for snapshot in table.snapshots())
    return {task.file.file_path for scan in scans for task in scan.plan_files()}


def _is_true(one: Work | Replay, receipt: moulin.Receipt) -> None:
    filtered = receipt.rows_filtered or 0
    assert receipt.rows_read == receipt.rows_landed + receipt.rows_rejected + filtered, f"{one.key}: {receipt}"
    if isinstance(one, Replay):
        counts = receipt.replay
        assert counts is not None
        assert counts.matched == counts.replayed == receipt.rows_read, f"{one.key}: {receipt}"
        return
    figures = (receipt.files, receipt.rows_read, receipt.rows_landed, receipt.rows_rejected, receipt.rows_filtered)
    assert figures == (FILES, ROWS + BAD_ROWS, len(one.landed_ids), BAD_ROWS, one.filtered), f"{one.key}: {receipt}"


def _difference(landed: list[int], wanted: list[int]) -> str:
    have, want = Counter(landed), Counter(wanted)
    lost, more = want - have, have - want
    return f"{lost.total()} rows lost ({list(lost)[:5]}), {more.total()} too many ({list(more)[:5]})"
