"""What a job left out, for a task's log."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from moulin.job import Receipt

_WIDEST_FILE = 40


def left_out(receipt: Receipt, on_bad_row: str) -> list[str]:
    """The first rejected rows as lines of a table with place, code and reason, and how to see the others."""
    from moulin.text_table import text_table

    if not receipt.rows_rejected:
        return []
    head = ("file", "line", "record", "byte", "column", "code", "reason")
    rows = [
        (
            _tail(one.place.uri),
            f"{one.place.line:,}" if one.place.line else "",
            f"{one.place.record:,}" if one.place.record else "",
            f"{one.place.byte_offset:,}",
            one.place.column,
            one.code,
            one.reason,
        )
        for one in receipt.rejects
    ]
    table = text_table(head, rows).splitlines() if rows else []
    return [_how_many(receipt), *table, *_where_the_others_are(receipt, on_bad_row)]


def skipped_files(receipt: Receipt) -> list[str]:
    """The files that were left out, because they are damaged or loaded already, as lines of a table."""
    from moulin.text_table import text_table

    if not receipt.files_skipped:
        return []
    table = text_table(("file", "reason"), [(_tail(one.uri), one.reason) for one in receipt.skipped_files])
    named = len(receipt.skipped_files)
    more = f"; the first {named:,} are" if receipt.files_skipped > named else ""
    return [f"{receipt.files_skipped:,} files were left out{more}:", *table.splitlines()]


def _how_many(receipt: Receipt) -> str:
    shown, left = len(receipt.rejects), f"{receipt.rows_rejected:,} rows did not fit and were left out"
    if not shown:
        return left
    return f"{left}; the first {shown:,} are:" if receipt.rows_rejected > shown else f"{left}:"


def _where_the_others_are(receipt: Receipt, on_bad_row: str) -> list[str]:
    if on_bad_row == "quarantine":
        job = receipt.job_id
        how = f"`moulin get {job} --rejects`, or `client.rejects({job!r})` in Python"
        if receipt.rejects_table:
            return [f"all of them, with their bytes: {receipt.rejects_table} where job_id = {job!r}, {how}"]
        return [f"all of them, with their bytes: {how}"]
    if receipt.rows_rejected > len(receipt.rejects):
        return ["the others are counted only; on_bad_row='quarantine' keeps every one"]
    return []


def _tail(uri: str) -> str:
    """The end of a long uri says more than its beginning."""
    return uri if len(uri) <= _WIDEST_FILE else "…" + uri[-_WIDEST_FILE + 1 :]
