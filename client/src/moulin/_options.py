"""Between dataclasses of options and the dicts of job files: same names, defaults left out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, fields
from functools import cache
from operator import attrgetter
from typing import Any, TypeVar

from moulin import _argument as argument

Options = TypeVar("Options")


def default_of(field: Field[Any]) -> Any:
    """The default of a field; `MISSING`: it must be given."""
    return field.default if field.default_factory is MISSING else field.default_factory()


def defaults(kind: Any) -> dict[str, Any]:
    """The default of every option, by name; `MISSING`: it must be given. Worked out once for each class."""
    return _defaults(kind)


@cache
def _defaults(kind: Any) -> dict[str, Any]:
    return {field.name: default_of(field) for field in fields(kind)}


def said(value: Any) -> dict[str, Any]:
    """The options that are another object than their default: the only ones that can be wrong."""
    kind: Any = type(value)
    found = zip(_defaults(kind).items(), _values(kind)(value), strict=True)
    return {name: one for (name, default), one in found if one is not default}


@cache
def _values(kind: Any) -> Callable[[Any], tuple[Any, ...]]:
    """What reads all options at once, which is several times as fast as one by one: DAG files build many of these."""
    names = tuple(_defaults(kind))
    return attrgetter(*names) if len(names) > 1 else lambda value: tuple(getattr(value, name) for name in names)


def to_dict(value: Any, **written: Any) -> dict[str, Any]:
    """The options that are not the default, as JSON values; `written` are those that are JSON already."""
    kind: Any = type(value)
    found = {}
    for (name, default), one in zip(_defaults(kind).items(), _values(kind)(value), strict=True):
        if one is not default and one != default:
            found[name] = written[name] if name in written else _json(one)
    return found


def from_dict(kind: type[Options], name: str, value: object) -> Options:
    """Reads what `to_dict` wrote, or a person in a job file.

    Raises:
        SpecError: a field that does not exist, or one that must be given and is not.

    """
    known = defaults(kind)
    found = argument.fields(name, value, known)
    if len(found) < len(known):
        for field, default in known.items():
            if default is MISSING:
                argument.required(name, found, field)
    return kind(**found)


def made(kind: type[Options], name: str, value: object, default: Options) -> Options:
    """The options themselves, or those in a dict; the default, which is there already, when it is empty."""
    if isinstance(value, kind):
        return value
    return default if value == {} else from_dict(kind, name, value)


def _json(value: Any) -> Any:
    if value is None or isinstance(value, (str, bool, int, float)):
        return value
    if isinstance(value, tuple):
        return [_json(one) for one in value]
    if isinstance(value, Mapping):
        return dict(value)
    return value.to_dict() if hasattr(value, "to_dict") else value
