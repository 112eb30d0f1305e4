"""Checks of one argument each; every refusal names the argument, what was found and what is expected."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from moulin.errors import SpecError, SpecTypeError

_OF_A_COLUMN = frozenset({"identity", "void", "year", "years", "month", "months", "day", "days", "hour", "hours"})
_OF_A_WIDTH_AND_A_COLUMN = frozenset({"bucket", "truncate"})


def is_template(value: str) -> bool:
    """Whether a text is still to be rendered by Jinja; it is checked after that."""
    return "{{" in value or "{%" in value


def text(argument: str, value: object) -> str:
    """A text that is not blank."""
    if not isinstance(value, str):
        raise SpecTypeError.about(argument, value, "a text")
    if not value.strip():
        raise SpecError.about(argument, value, "a text that is not blank")
    return value


def one_character(argument: str, value: object) -> str:
    """One ASCII character that is no line end."""
    if not isinstance(value, str):
        raise SpecTypeError.about(argument, value, "one ASCII character")
    if is_template(value):
        return value
    if len(value) != 1 or not value.isascii() or value in "\r\n\0":
        raise SpecError.about(argument, value, "one ASCII character that is no line end")
    return value


def characters(argument: str, value: object) -> str:
    """One or more characters, none of which ends a line."""
    if not isinstance(value, str):
        raise SpecTypeError.about(argument, value, "one or more characters")
    if not value or any(character in "\r\n\0" for character in value):
        raise SpecError.about(argument, value, "one or more characters, none of which ends a line")
    return value


def flag(argument: str, value: object) -> bool:
    """True or False, and nothing that merely counts as one."""
    if not isinstance(value, bool):
        raise SpecTypeError.about(argument, value, "True or False")
    return value


def count(argument: str, value: object, most: int = 2**63 - 1, *, least: int = 0) -> int:
    """A whole number from `least`."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise SpecTypeError.about(argument, value, "a whole number")
    if not least <= value <= most:
        raise SpecError.about(argument, value, f"a whole number from {least} to {most}")
    return value


def ratio(argument: str, value: object) -> float:
    """A share, 0 to 1."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise SpecTypeError.about(argument, value, "a number from 0 to 1")
    if not 0 <= value <= 1:
        raise SpecError.about(argument, value, "a number from 0 to 1")
    return float(value)


def choice(argument: str, value: object, choices: tuple[str, ...]) -> str:
    """One of a few words."""
    if not isinstance(value, str):
        raise SpecTypeError.about(argument, value, " or ".join(map(repr, choices)))
    if value not in choices and not is_template(value):
        raise SpecError.about(argument, value, " or ".join(map(repr, choices)))
    return value


def uris(argument: str, value: object) -> tuple[str, ...]:
    """One or several uris, paths or patterns of them; a `pathlib.Path` becomes absolute."""
    if isinstance(value, str) and value and not value.isspace():
        return (value,)
    many = (value,) if isinstance(value, str | os.PathLike) else value
    if not isinstance(many, Iterable) or isinstance(many, Mapping | bytes):
        raise SpecTypeError.about(argument, value, "a uri or a list of them")
    found = tuple(_uri(f"{argument}[{at}]", one) for at, one in enumerate(many))
    if not found:
        raise SpecError.about(argument, value, "at least one file or pattern, e.g. 's3://bucket/raw/*.csv'")
    return found


def _uri(argument: str, value: object) -> str:
    if isinstance(value, os.PathLike):
        return str(os.path.abspath(os.fspath(value)))  # noqa: PTH100  (`Path.absolute` keeps `..`)
    return text(argument, value)


def texts(argument: str, value: object, *, blank: bool = False) -> tuple[str, ...]:
    """One or several texts."""
    many = (value,) if isinstance(value, str) else value
    if not isinstance(many, Iterable) or isinstance(many, Mapping | bytes):
        raise SpecTypeError.about(argument, value, "a text or a list of them")
    found = tuple(many)
    for at, one in enumerate(found):
        if not isinstance(one, str):
            raise SpecTypeError.about(f"{argument}[{at}]", one, "a text")
        if not blank:
            text(f"{argument}[{at}]", one)
    return found


def distinct(argument: str, names: Sequence[str]) -> None:
    """Each name stands there once."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise SpecError.about(argument, name, "each name once")
        seen.add(name)


def table_name(argument: str, value: object) -> str:
    """`namespace.table`, or `a.b.table` with a nested namespace."""
    name = text(argument, value)
    if is_template(name):
        return name
    parts = name.split(".")
    if len(parts) < 2 or not all(parts) or "/" in name or "\\" in name or not name.isprintable():
        raise SpecError.about(argument, value, "namespace.table, e.g. 'bronze.flights'")
    return name


def partition_field(argument: str, value: object) -> str:
    """A column's name or a transform of one: `month(time_hour)`, `bucket(16, id)`."""
    field = text(argument, value).strip()
    plain = not ("(" in field or ")" in field or "," in field)
    if plain or is_template(field) or _is_transform(field):
        return field
    raise SpecError.about(
        argument, value, "a column, or year(c), month(c), day(c), hour(c), bucket(n, c), truncate(n, c), void(c)"
    )


def _is_transform(field: str) -> bool:
    """Whether a text is a transform of a column: `month(time_hour)`, `bucket(16, id)`."""
    name, _, rest = field.partition("(")
    name, inside = name.rstrip().lower(), rest.removesuffix(")")
    if inside == rest or "(" in inside or ")" in inside:
        return False
    parts = [part.strip() for part in inside.split(",")]
    if name in _OF_A_COLUMN:
        return len(parts) == 1 and parts[0] != ""
    width, column = parts if len(parts) == 2 else ("", "")
    return name in _OF_A_WIDTH_AND_A_COLUMN and width.isdecimal() and width[0] in "123456789" and column != ""


def properties(argument: str, value: object) -> dict[str, str]:
    """Names and texts; numbers and booleans are written as Iceberg writes them."""
    if not isinstance(value, Mapping):
        raise SpecTypeError.about(argument, value, "a dict of names and texts")
    found: dict[str, str] = {}
    for name, one in value.items():
        key = text(f"{argument} key", name)
        if isinstance(one, bool):
            found[key] = "true" if one else "false"
        elif isinstance(one, str | int | float):
            found[key] = str(one)
        else:
            raise SpecTypeError.about(f"{argument}[{key!r}]", one, "a text, a number or a boolean")
    return found


def fields(argument: str, value: object, known: Collection[str]) -> dict[str, Any]:
    """A dict that has no other keys than the known ones."""
    if not isinstance(value, Mapping):
        raise SpecTypeError.about(argument, value, f"a dict with {', '.join(known)}")
    for name in value:
        if name not in known:
            raise SpecError.about(argument, name, f"one of the fields {', '.join(known)}")
    return dict(value)


def required(argument: str, value: Mapping[str, Any], name: str) -> Any:
    """A field that must be there."""
    if name not in value:
        raise SpecError.about(argument, sorted(value), f"a field `{name}`")
    return value[name]
