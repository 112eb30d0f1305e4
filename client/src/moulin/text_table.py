"""Tables for a terminal or a log."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

_WIDEST = 40


def text_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Left-aligned columns under their names; all but the last are cut to 40 characters, and nothing breaks a line."""
    lines = [tuple(head), *(tuple(_shown(cell) for cell in row) for row in rows)]
    cut = [(*map(_cut, line[:-1]), line[-1]) for line in lines]
    widths = [max(len(line[at]) for line in cut) for at in range(len(head))]
    ruled = [cut[0], tuple("-" * width for width in widths), *cut[1:]]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in ruled
    )


def _shown(cell: str) -> str:
    """Control characters as they are written in a literal, so that a cell stays on its line."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in cell)


def _cut(cell: str) -> str:
    return cell if len(cell) <= _WIDEST else cell[: _WIDEST - 1] + "…"
