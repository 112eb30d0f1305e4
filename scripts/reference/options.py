"""The options of a class: name, type, default, meaning."""

from __future__ import annotations

import inspect
from dataclasses import MISSING, dataclass, fields, is_dataclass
from typing import Any

from moulin.record import NEGATED
from reference.comments import Protocol

# Classes and messages that have different names, and fields likewise.
MESSAGES = {"Sql": "SqlTransform", "PolarsPlan": "PolarsTransform"}
FIELDS = {("JobSpec", "target"): "landing"}

_TYPES = {
    "str": "text",
    "str | None": "text",
    "int": "number",
    "int | None": "number",
    "float | None": "number",
    "bool": "true or false",
    "bytes": "base64",
    "tuple[str, ...]": "list of texts",
    "timedelta | None": "duration",
    "Mapping[str, str]": "texts by name",
}


@dataclass(frozen=True)
class Option:
    """One option of a class."""

    name: str
    annotation: str
    """As the class has it."""
    default: Any
    """`MISSING`: must be given; a dataclass: its defaults."""
    meaning: str
    absence: str
    """What is the case when nothing is said, in words; may be empty."""

    @property
    def kind(self) -> str:
        """The type as people read it."""
        if self.annotation in _TYPES:
            return _TYPES[self.annotation]
        one = self.annotation.removesuffix(" | None")
        many = one.removeprefix("tuple[").removesuffix(", ...]")
        linked = f"[{many}](#{many.lower()})"
        return linked if many == one else f"list of {linked}"

    @property
    def default_text(self) -> str:
        """The default as people read it."""
        if self.default is MISSING:
            return "must be given"
        if self.default in (None, (), "") or is_dataclass(self.default) or isinstance(self.default, dict):
            return self.absence or "none"
        if isinstance(self.default, bool):
            return "`true`" if self.default else "`false`"
        if isinstance(self.default, int):
            return f"{self.default:,}"
        return f"`{self.default}`"


def options_of(kind: type, protocol: Protocol) -> list[Option]:
    """The options of a class in its order; a flag whose message says the opposite is told from its own side."""
    message = MESSAGES.get(kind.__name__, kind.__name__)
    defaults = {name: parameter.default for name, parameter in inspect.signature(kind).parameters.items()}
    found = []
    for field in fields(kind):
        annotation = str(field.type)
        if field.name == "format" and kind.__name__ == "Source":
            continue  # a oneof, with sections of its own
        sent_as = FIELDS.get((kind.__name__, field.name), NEGATED.get(field.name, field.name))
        comment = protocol.field(message, sent_as)
        meaning = comment.meaning.removesuffix(" Must be set.")
        if sent_as in NEGATED.values():
            meaning = f"`false`: {meaning[0].lower()}{meaning[1:]}"
        if field.default is not MISSING:
            default = field.default
        elif field.default_factory is not MISSING:
            default = field.default_factory()
        else:
            default = defaults[field.name]
            default = MISSING if default is inspect.Parameter.empty else default
        absence = comment.absence
        if not meaning:
            meaning = protocol.message(annotation.removesuffix(" | None")).meaning
        enum = annotation.removeprefix("tuple[").removesuffix(", ...]")
        if enum in protocol.enums:
            meaning = protocol.with_words(enum, meaning)
        if annotation == "Contract":
            absence = protocol.with_words("ContractMode", absence)
        found.append(Option(field.name, annotation, default, meaning, absence))
    return found
