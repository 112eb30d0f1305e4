"""The words that options are said in."""

from __future__ import annotations

from functools import cache
from typing import Literal, get_args

Compression = Literal["auto", "none", "gzip", "zstd"]
Encoding = Literal["auto", "utf8", "utf16", "utf16_le", "utf16_be", "latin1", "windows_1252"]
Dialect = Literal["given", "auto"]
LineEnding = Literal["auto", "lf", "crlf", "cr", "any"]
RaggedRows = Literal["reject", "pad", "truncate", "fit"]
DuplicateKeys = Literal["last", "first", "reject"]
OnBadFile = Literal["fail", "skip"]
ProvenanceColumn = Literal["file", "row", "offset"]
ContractMode = Literal["evolve", "freeze", "discard_row", "discard_value"]


@cache
def words(literal: object) -> tuple[str, ...]:
    """The words of one of these types."""
    return get_args(literal)
