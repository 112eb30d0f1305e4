"""A job's receipt as an XCom: JSON, small, safe for JavaScript."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from moulin.job import Receipt
    from moulin.replaying import ReplayCounts
    from moulin.tables import TableRead

MAX_BYTES = 2000
_MAX_TEXT = 300


def xcom_receipt(receipt: Receipt) -> dict[str, Any]:
    """The receipt in less than `MAX_BYTES` of JSON: 64-bit ids are texts, long texts are cut, and of the tables that
    were read and of the rejected rows as many are named as there is room for (the receipt at the worker names all
    tables and the first ten rows).
    """
    found: dict[str, Any] = {
        "job_id": receipt.job_id,
        "table": _cut(receipt.table),
        "snapshot_id": None if receipt.snapshot_id is None else str(receipt.snapshot_id),
        "files": receipt.files,
        "files_skipped": receipt.files_skipped,
        "rows_read": receipt.rows_read,
        "rows_landed": receipt.rows_landed,
        "rows_rejected": receipt.rows_rejected,
        "rejects_table": _cut(receipt.rejects_table),
        "rows_filtered": receipt.rows_filtered,
        "rows_replaced": receipt.rows_replaced,
        "rejects_replaced": receipt.rejects_replaced,
        "replay": None if receipt.replay is None else _replay(receipt.replay),
        "attached_to": _cut(receipt.attached_to),
        "bytes_read": receipt.bytes_read,
        "bytes_written": receipt.bytes_written,
        "data_files": receipt.data_files,
        "file_counts": asdict(receipt.file_counts),
        "seconds": round(receipt.elapsed.total_seconds(), 3),
        "busy_seconds": {time.room.value: round(time.busy.total_seconds(), 3) for time in receipt.rooms},
        "attempt": receipt.attempt,
        "token": _cut(receipt.token),
        "metadata_location": _cut(receipt.metadata_location),
        "tables": [],
        "rejects": [],
    }
    _fill(found, "tables", (_table(read) for read in receipt.tables))
    _fill(
        found,
        "rejects",
        ({"place": _cut(str(one.place)), "code": one.code, "reason": _cut(one.reason)} for one in receipt.rejects),
    )
    return found


def _replay(counts: ReplayCounts) -> dict[str, Any]:
    """The figures of a replay; the table is the receipt's with its ending."""
    figures = counts.to_dict()
    return {
        name: figures[name]
        for name in ("snapshot_id", "matched", "replayed", "cut", "without_bytes", "other_format", "empty")
    }


def _fill(found: dict[str, Any], name: str, values: Iterable[dict[str, Any]]) -> None:
    """Adds to a list as long as there is room."""
    for one in values:
        found[name].append(one)
        if len(json.dumps(found)) >= MAX_BYTES:
            found[name].pop()
            return


def _table(read: TableRead) -> dict[str, Any]:
    return {
        "name": _cut(read.name),
        "table": _cut(read.table),
        "snapshot_id": None if read.snapshot_id is None else str(read.snapshot_id),
        "rows_read": read.rows_read,
    }


def _cut(text: str) -> str:
    """The end of a long text says more than its beginning: a file's name, a value. JSON escapes count too."""
    while len(json.dumps(text)) > _MAX_TEXT:
        text = "..." + text[max(4, len(text) // 8) :]
    return text
