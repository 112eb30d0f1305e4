"""The types of columns in Iceberg's words, nested ones among them."""

from __future__ import annotations

import re

from moulin import _argument as argument
from moulin.errors import SpecError, SpecTypeError

PRIMITIVES = frozenset(
    ("boolean", "int", "long", "float", "double", "date", "time", "timestamp", "timestamptz", "string", "binary")
)
# Compiled when a column has such a type, not when a DAG file imports this.
_DECIMAL = r"decimal\s*\(\s*(\d+)\s*,\s*(\d+)\s*\)"
_NESTED = r"(?s:(list|map|struct)\s*<(.*)>)"
_MAX_DEPTH = 64
_TYPES = (
    "boolean, int, long, float, double, decimal(p,s) with 1 <= p <= 38 and s <= p, date, time, timestamp, timestamptz, "
    "string, binary, struct<name: type, ...>, list<type> or map<string, type>"
)


def column_type(name: str, value: object) -> str:
    """A type as the worker writes it: `struct<a: int, b: decimal(5,2)>`.

    Raises:
        SpecError: there is no such type; `name` is that of the argument.

    """
    if not isinstance(value, str):
        raise SpecTypeError.about(name, value, _TYPES)
    if argument.is_template(value):
        return value.strip()
    found = _normal(value.strip(), 0)
    if found is None:
        raise SpecError.about(name, value, _TYPES)
    return found


def is_nested(text: str) -> bool:
    """Whether a type holds several values."""
    return text.startswith(("struct<", "list<", "map<"))


def top_level_parts(text: str) -> list[str]:
    """Splits at the commas that stand in no brackets."""
    parts, depth, start = [], 0, 0
    for at, character in enumerate(text):
        if character in "<(":
            depth += 1
        elif character in ">)":
            depth -= 1
        elif character == "," and depth == 0:
            parts.append(text[start:at])
            start = at + 1
    return [*parts, text[start:]]


def _normal(text: str, depth: int) -> str | None:
    """None: no type."""
    if text in PRIMITIVES:
        return text
    if match := re.fullmatch(_DECIMAL, text):
        precision, scale = int(match[1]), int(match[2])
        return f"decimal({precision},{scale})" if 1 <= precision <= 38 and scale <= precision else None
    match = re.fullmatch(_NESTED, text)
    if match is None or depth >= _MAX_DEPTH:
        return None
    inside = match[2].strip()
    if match[1] == "struct":
        return _struct(inside, depth + 1)
    if match[1] == "map":
        key, _, inside = (part.strip() for part in inside.partition(","))
        if key != "string":
            return None
    item = _normal(inside, depth + 1)
    if item is None:
        return None
    return f"list<{item}>" if match[1] == "list" else f"map<string, {item}>"


def _struct(inside: str, depth: int) -> str | None:
    found: dict[str, str] = {}
    for part in top_level_parts(inside):
        name, colon, kind = (one.strip() for one in part.partition(":"))
        normal = _normal(kind, depth)
        if not name or not colon or normal is None or name in found:
            return None
        found[name] = normal
    return f"struct<{', '.join(f'{name}: {kind}' for name, kind in found.items())}>"
