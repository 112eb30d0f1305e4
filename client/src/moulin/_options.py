"""Between dataclasses of options and the dicts of job files: same names, defaults left out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, Field, fields
from functools import cache
from typing import Any, TypeVar, cast

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


def of(kind: type[Options], *values: Any) -> Options:
    """The object of a class, from a value for each of its fields, in their order.

    A DAG file is parsed in a process that was forked for it, in which whatever is touched first is copied, a page at a
    time. So only what was said is kept, and the rest is what the class has. That takes a class without slots.
    """
    owner: Any = kind
    made: Any = object.__new__(owner)
    names, plain = _fields(owner)
    kept = vars(made)
    for at, (one, default) in enumerate(zip(values, plain, strict=True)):
        if one is not default:
            kept[names[at]] = one
    made.__post_init__()
    return cast("Options", made)


@cache
def _fields(kind: Any) -> tuple[tuple[str, ...], tuple[Any, ...]]:
    found = _defaults(kind)
    return tuple(found), tuple(found.values())


def said(value: Any) -> dict[str, Any]:
    """The options that are another object than their default: the only ones that can be wrong."""
    plain = defaults(type(value))
    return {name: one for name, one in _kept(value).items() if one is not plain[name]}


def _kept(value: Any) -> dict[str, Any]:
    """All options, or at least those that are not the default."""
    if hasattr(value, "__dict__"):
        return dict(vars(value))
    return {name: getattr(value, name) for name in defaults(type(value))}


def to_dict(value: Any, **written: Any) -> dict[str, Any]:
    """The options that are not the default, as JSON values; `written` are those that are JSON already."""
    plain = defaults(type(value))
    found = {}
    for name, one in _kept(value).items():
        default = plain[name]
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
