"""How JSON is written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from moulin import _argument as argument
from moulin import _options as options
from moulin.errors import SpecError, SpecTypeError
from moulin.source.words import DuplicateKeys, words


@dataclass(frozen=True, kw_only=True)  # without slots: `options.of`
class NdjsonFormat:
    """One JSON object a line. `moulin.ndjson` says what every option means."""

    duplicate_keys: DuplicateKeys = "last"

    def __post_init__(self) -> None:
        argument.choice("ndjson duplicate_keys", self.duplicate_keys, words(DuplicateKeys))

    def to_dict(self) -> dict[str, Any]:
        """The options that are not the default."""
        return options.to_dict(self)


@dataclass(frozen=True, kw_only=True)  # without slots: `options.of`
class JsonFormat:
    """One JSON document that holds an array of objects. `moulin.json` says what every option means."""

    pointer: str = ""
    duplicate_keys: DuplicateKeys = "last"

    def __post_init__(self) -> None:
        if not isinstance(self.pointer, str):
            raise SpecTypeError.about("json pointer", self.pointer, "a text such as '/data/items'")
        if self.pointer and not self.pointer.startswith("/") and not argument.is_template(self.pointer):
            expected = "a JSON pointer, which starts with '/': '/data/items'; '' when the document is the array"
            raise SpecError.about("json pointer", self.pointer, expected)
        argument.choice("json duplicate_keys", self.duplicate_keys, words(DuplicateKeys))

    def to_dict(self) -> dict[str, Any]:
        """The options that are not the default."""
        return options.to_dict(self)
