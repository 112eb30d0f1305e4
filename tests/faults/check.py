"""What must hold after every round."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import moulin
from work import BAD_ROWS, FILES, ROWS, Work

if TYPE_CHECKING:
    from rounds import Stage


def check(stage: Stage, receipts: dict[Work, moulin.Receipt]) -> None:
    """Every row once, every file once, every receipt true, no file that nobody knows."""
    table = stage.world.catalog.load_table(stage.table)
    landed = sorted(table.scan(selected_fields=("id",)).to_arrow()["id"].to_pylist())
    wanted = sorted(n for one in stage.works for n in one.landed_ids) + sorted(stage.foreign)
    assert landed == sorted(wanted), _difference(landed, wanted)

    files = Counter(task.file.file_path for task in table.scan().plan_files())
    twice = [name for name, times in files.items() if times > 1]
    assert not twice, f"referred to more than once: {twice}"

    data = {name for name in stage.world.warehouse_files() if name.endswith(".parquet") and "/data/" in name}
    rejects = stage.world.catalog.load_table(f"{stage.table}__rejects")
    referred = set(files) | {task.file.file_path for task in rejects.scan().plan_files()}
    nobodys = data - referred - stage.world.staged_files()
    assert not nobodys, f"in the warehouse, and known to nobody: {sorted(nobodys)}"

    kept = Counter(rejects.scan(selected_fields=("uri", "record")).to_arrow()["uri"].to_pylist())
    assert sorted(kept.values()) == [BAD_ROWS] * len(stage.works), f"rejects, by file: {kept}"

    snapshots = {snapshot.snapshot_id: snapshot for snapshot in table.snapshots()}
    for one, receipt in receipts.items():
        _is_true(one, receipt)
        snapshot = snapshots.get(receipt.snapshot_id or 0)
        if snapshot is not None:
            assert snapshot.summary is not None
            assert receipt.token in str(snapshot.summary.additional_properties), f"{one.key}: {snapshot.summary}"


def _is_true(one: Work, receipt: moulin.Receipt) -> None:
    figures = (receipt.files, receipt.rows_read, receipt.rows_landed, receipt.rows_rejected, receipt.rows_filtered)
    assert figures == (FILES, ROWS + BAD_ROWS, len(one.landed_ids), BAD_ROWS, one.filtered), f"{one.key}: {receipt}"


def _difference(landed: list[int], wanted: list[int]) -> str:
    have, want = Counter(landed), Counter(wanted)
    lost, more = want - have, have - want
    return f"{lost.total()} rows lost ({list(lost)[:5]}), {more.total()} too many ({list(more)[:5]})"
