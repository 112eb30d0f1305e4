"""Between dataclasses of options and the dicts of job files: same names, defaults left out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, Field, fields
from typing import Any, TypeVar

from moulin import _argument as argument

Options = TypeVar("Options")


def default_of(field: Field[Any]) -> Any:
    """The default of a field; `MISSING`: it must be given."""
    return field.default if field.default_factory is MISSING else field.default_factory()


def to_dict(value: Any) -> dict[str, Any]:
    """The options that are not the default, as JSON values."""
    found = {field.name: getattr(value, field.name) for field in fields(value)}
    said = {f.name: found[f.name] for f in fields(value) if found[f.name] != default_of(f)}
    return {name: _json(one) for name, one in said.items()}


def from_dict(kind: type[Options], name: str, value: object) -> Options:
    """Reads what `to_dict` wrote, or a person in a job file.

    Raises:
        SpecError: a field that does not exist, or one that must be given and is not.

    """
    known = fields(kind)  # type: ignore[arg-type]
    found = argument.fields(name, value, tuple(field.name for field in known))
    for field in known:
        if default_of(field) is MISSING:
            argument.required(name, found, field.name)
    return kind(**found)


def made(kind: type[Options], name: str, value: object) -> Options:
    """The options themselves, or those in a dict."""
    return value if isinstance(value, kind) else from_dict(kind, name, value)


def _json(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_json(one) for one in value]
    if isinstance(value, Mapping):
        return dict(value)
    return value.to_dict() if hasattr(value, "to_dict") else value
