"""Values of rows in one form, whatever engine they come from: JSON's, with dates, times, decimals and bytes as text."""

from __future__ import annotations

import datetime as dt
import json
import re
import uuid
from decimal import Decimal
from typing import Any

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def rows(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows in one form and in one order."""
    return sorted((plain(row) for row in found), key=lambda row: json.dumps(row, sort_keys=True))


def plain(value: Any) -> Any:
    """A value of a row."""
    match value:
        case Decimal():
            return format(value, "f")
        case dt.datetime(tzinfo=None):
            return value.isoformat(timespec="microseconds")
        case dt.datetime():
            return plain(value.astimezone(dt.UTC).replace(tzinfo=None)) + "Z"
        case dt.time():
            return value.isoformat(timespec="microseconds")
        case dt.date():
            return value.isoformat()
        case bytes() | bytearray() | memoryview():
            return bytes(value).hex()
        case uuid.UUID():
            return value.hex
        case str() if _UUID.fullmatch(value):
            return value.replace("-", "")
        case dict():
            return {name: plain(one) for name, one in value.items()}
        case list() | tuple():
            return _list(list(value))
        case _:
            return value


def _list(values: list[Any]) -> list[Any]:
    # Some engines have maps as lists of structs, Arrow as lists of pairs.
    if values and all(isinstance(one, dict) and set(one) == {"key", "value"} for one in values):
        values = [(one["key"], one["value"]) for one in values]
    found = [plain(one) for one in values]
    is_map = bool(values) and all(isinstance(one, tuple) and len(one) == 2 for one in values)
    return sorted(found, key=lambda pair: json.dumps(pair[0])) if is_map else found
