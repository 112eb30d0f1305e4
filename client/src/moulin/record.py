"""Between dataclasses and messages by the names of their fields: one table for each class, made from its annotations.

A field of a class is the field of the message that has its name. Words of enums are lower case and without the
enum's prefix; `auto` and what a newer worker says are the unspecified value. What is the class's default is not sent,
and a scalar that a message leaves at zero takes that default: what nobody said is the worker's to decide.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import cache
from types import NoneType, UnionType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from google.protobuf.descriptor import EnumDescriptor
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

Record = TypeVar("Record")
MessageT = TypeVar("MessageT", bound=Message)

# Flags whose zero would not be what most files are: the message says the opposite.
NEGATED = {"quoting": "no_quoting", "header": "no_header", "doubled_quotes": "no_doubled_quotes"}

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class _Slot:
    """One field of a class: its name, the type of one value, and what it may be."""

    name: str
    sent_as: str
    """Its name in the message, which may be a word that Python keeps: `from_` is `from`."""
    kinds: tuple[Any, ...]
    """The types of one value without None; several for a oneof."""
    repeated: bool
    is_map: bool
    optional: bool
    default: Any
    """`MISSING`: there is none."""


@cache
def _slots(kind: Any) -> tuple[_Slot, ...]:
    hints = get_type_hints(kind)
    found = []
    for field in fields(kind):
        hint = hints[field.name]
        origin = get_origin(hint)
        inner = get_args(hint)[0] if origin is tuple else hint
        kinds = get_args(inner) if isinstance(inner, UnionType) else (inner,)
        found.append(
            _Slot(
                name=field.name,
                sent_as=NEGATED.get(field.name, field.name.rstrip("_")),
                kinds=tuple(kind for kind in kinds if kind is not NoneType),
                repeated=origin is tuple,
                is_map=origin is Mapping,
                optional=NoneType in kinds,
                default=field.default if field.default_factory is MISSING else field.default_factory(),
            )
        )
    return tuple(found)


# To messages. Descriptors of fields are `Any`: protobuf has two implementations of them without a common type.


def encode(value: Any, kind: Callable[[], MessageT]) -> MessageT:
    """A dataclass as a message of this kind."""
    message = kind()
    fill(value, message)
    return message


def fill(value: Any, message: Message) -> None:
    """Sets the fields of a message that are not the default of their class."""
    kind: Any = type(value)
    for slot in _slots(kind):
        said = getattr(value, slot.name)
        if said == slot.default:
            continue
        if slot.name in NEGATED:
            setattr(message, slot.sent_as, not said)
        elif slot.sent_as in message.DESCRIPTOR.oneofs_by_name:
            _set_oneof(message, slot.sent_as, said)
        elif said is not None:
            _set(message, message.DESCRIPTOR.fields_by_name[slot.sent_as], said)


def _set_oneof(message: Message, name: str, said: Any) -> None:
    for field in message.DESCRIPTOR.oneofs_by_name[name].fields:
        if field.message_type is not None and field.message_type.name == type(said).__name__:
            part = getattr(message, field.name)
            part.SetInParent()
            fill(said, part)


def _set(message: Message, field: Any, said: Any) -> None:
    if isinstance(said, Mapping):
        getattr(message, field.name).update(said)
    elif isinstance(said, tuple):
        values = getattr(message, field.name)
        for one in said:
            if is_dataclass(one):
                fill(one, values.add())
            else:
                values.append(_scalar(field, one))
    elif is_dataclass(said):
        part = getattr(message, field.name)
        part.SetInParent()
        fill(said, part)
    elif isinstance(said, timedelta):
        getattr(message, field.name).CopyFrom(encode_duration(said))
    else:
        setattr(message, field.name, _scalar(field, said))


def _scalar(field: Any, said: Any) -> Any:
    return said if field.enum_type is None else enum_number(field.enum_type, said)


def enum_number(enum: EnumDescriptor, word: str) -> int:
    """The number of a word; 0 for one that the enum does not have."""
    value = enum.values_by_name.get(_prefix(enum) + word.upper())
    return 0 if value is None else value.number


def encode_duration(value: timedelta) -> Duration:
    """A duration, exact to the microsecond."""
    total_us = value // timedelta(microseconds=1)
    sign = -1 if total_us < 0 else 1
    seconds, rest_us = divmod(abs(total_us), 10**6)
    return Duration(seconds=sign * seconds, nanos=sign * rest_us * 1000)


# From messages.


def decode(kind: type[Record], message: Message) -> Record:
    """A message as a dataclass of this kind."""
    return kind(**decode_fields(kind, message))


def decode_fields(kind: type, message: Message, *without: str) -> dict[str, Any]:
    """The arguments that make a dataclass of this kind out of a message; fields may be left out by name."""
    found: dict[str, Any] = {}
    for slot in _slots(kind):
        if slot.name in without:
            continue
        value = not getattr(message, slot.sent_as) if slot.name in NEGATED else _value(message, slot)
        if value is not MISSING:
            found[slot.name] = value
    return found


def _value(message: Message, slot: _Slot) -> Any:
    """The value of a field; `MISSING`: the class's default."""
    if slot.sent_as in message.DESCRIPTOR.oneofs_by_name:
        return _oneof(message, slot)
    field = message.DESCRIPTOR.fields_by_name[slot.sent_as]
    said = getattr(message, slot.sent_as)
    if slot.is_map:
        return dict(said)
    if slot.repeated:
        return tuple(_one(field, slot.kinds[0], one) for one in said)
    if field.has_presence and not message.HasField(slot.sent_as):
        if slot.default is not MISSING:
            return MISSING
        if slot.optional:
            return None
    elif slot.default is not MISSING and not said:
        return MISSING
    return _one(field, slot.kinds[0], said)


def _oneof(message: Message, slot: _Slot) -> Any:
    name = message.WhichOneof(slot.sent_as)
    if name is None:
        return MISSING
    part = getattr(message, name)
    kind = next(kind for kind in slot.kinds if kind.__name__ == part.DESCRIPTOR.name)
    return decode(kind, part)


def _one(field: Any, kind: Any, said: Any) -> Any:
    if field.enum_type is not None:
        word = enum_word(field.enum_type, said)
        if isinstance(kind, type) and issubclass(kind, StrEnum):
            return kind(word) if word in tuple(kind) else kind("unknown")
        return word
    if kind is timedelta:
        return decode_duration(said)
    if kind is datetime:
        return decode_time(said)
    return decode(kind, said) if is_dataclass(kind) and isinstance(kind, type) else said


def enum_word(enum: EnumDescriptor, number: int) -> str:
    """The word of a number; `unknown` for the unspecified one and for those of a newer worker."""
    value = enum.values_by_number.get(number)
    return "unknown" if value is None or number == 0 else value.name.removeprefix(_prefix(enum)).lower()


def decode_duration(message: Duration) -> timedelta:
    """A duration, cut to microseconds."""
    return timedelta(seconds=message.seconds, microseconds=int(message.nanos / 1000))


def decode_time(message: Timestamp) -> datetime:
    """A moment in UTC, cut to microseconds."""
    return _EPOCH + timedelta(seconds=message.seconds, microseconds=message.nanos // 1000)


def _prefix(enum: EnumDescriptor) -> str:
    return enum.values_by_number[0].name.removesuffix("UNSPECIFIED")
