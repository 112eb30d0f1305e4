"""One failure in the user's words, as the worker tells it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class FaultKind(StrEnum):
    """What kind of thing went wrong. A newer worker's kind that this client does not know is `UNKNOWN`."""

    UNKNOWN = "unknown"
    INVALID_SPEC = "invalid_spec"
    NOT_FOUND = "not_found"
    BAD_ROW = "bad_row"
    BAD_FILE = "bad_file"
    TRANSFORM = "transform"
    SCHEMA_MISMATCH = "schema_mismatch"
    PERMISSION_DENIED = "permission_denied"
    UNAVAILABLE = "unavailable"
    RESOURCE_EXHAUSTED = "resource_exhausted"
    COMMIT_CONFLICT = "commit_conflict"
    COMMIT_UNKNOWN = "commit_unknown"
    STALE_EPOCH = "stale_epoch"
    CANCELLED = "cancelled"
    DEADLINE_EXCEEDED = "deadline_exceeded"
    LEASE_LOST = "lease_lost"
    INTERNAL = "internal"


@dataclass(frozen=True, slots=True)
class Place:
    """A place in an input file."""

    uri: str
    record: int = 0
    """Record number, counted from 1, the header not counted; 0: not about one record."""
    line: int = 0
    """Physical line, counted from 1, the header counted; 0: the format has no lines."""
    byte_offset: int = 0
    """Offset of the record's first byte in the decompressed file."""
    column: str = ""
    """Column name; empty: about the whole record."""

    def __str__(self) -> str:
        if self.line:
            return f"{self.uri}, line {self.line}, byte {self.byte_offset}"
        if self.record:
            return f"{self.uri}, record {self.record}, byte {self.byte_offset}"
        return self.uri

    def to_dict(self) -> dict[str, Any]:
        """The place as JSON values; `from_dict` reads it back."""
        return {name: getattr(self, name) for name in ("uri", "record", "line", "byte_offset", "column")}

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Place:
        """Reads what `to_dict` wrote."""
        return cls(**value)


@dataclass(frozen=True, slots=True)
class Fault:
    """One failure: kind, message, what to do about it, causes, place in the input."""

    kind: FaultKind
    message: str
    """One line: what was found, what was expected and where."""
    hint: str = ""
    """What the user can do about it."""
    retryable: bool = False
    """Whether the same request may succeed when it is made again unchanged."""
    causes: tuple[str, ...] = ()
    """Outermost first, without the message."""
    place: Place | None = None

    def report(self) -> str:
        """Message, causes and hint in one text of several lines, for a terminal or a log."""
        lines = [self.message, *(f"  because: {cause}" for cause in self.causes)]
        if self.hint:
            lines.append(f"  what to do: {self.hint}")
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """The fault as JSON values; `from_dict` reads it back."""
        return {
            "kind": self.kind.value,
            "message": self.message,
            "hint": self.hint,
            "retryable": self.retryable,
            "causes": list(self.causes),
            "place": self.place.to_dict() if self.place else None,
        }

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Fault:
        """Reads what `to_dict` wrote, also by a newer client."""
        place = value.get("place")
        kind = value["kind"]
        return cls(
            kind=FaultKind(kind) if kind in tuple(FaultKind) else FaultKind.UNKNOWN,
            message=value["message"],
            hint=value.get("hint", ""),
            retryable=bool(value.get("retryable", False)),
            causes=tuple(value.get("causes", ())),
            place=Place.from_dict(place) if place else None,
        )
