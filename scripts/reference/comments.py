"""The comments of the protocol, by message and field."""

from __future__ import annotations

import re
from dataclasses import dataclass

from google.protobuf import descriptor_pb2 as pb

import check_proto

_SENTENCE = re.compile(r"(?:[^`.]|`[^`]*`|\.(?!\s|$))+(?:\.|$)")
_ABSENCE = re.compile(r"(?:Empty|0|Absent|UNSPECIFIED): (.*?)\.?$", re.DOTALL)


@dataclass(frozen=True)
class Comment:
    """What a comment says: the meaning, and what the field is when nothing is said."""

    meaning: str
    absence: str

    @classmethod
    def of(cls, text: str) -> Comment:
        """Takes the sentence about absence (`Empty: UTC.`) out of a comment."""
        meaning, absence = [], ""
        for sentence in _SENTENCE.findall(" ".join(text.split())):
            if match := _ABSENCE.fullmatch(sentence.strip()):
                absence = match[1]
            else:
                meaning.append(sentence.strip())
        return cls(" ".join(meaning), absence)


@dataclass(frozen=True)
class Protocol:
    """Comments: of messages and enums by name, of their fields and values by `name.field`."""

    comments: dict[str, str]
    enums: dict[str, tuple[str, ...]]
    """Values by the enum's name, without its prefix."""

    @classmethod
    def read(cls) -> Protocol:
        """Compiles the protocol."""
        made = cls({}, {})
        for file in check_proto.descriptors().file:
            made._add(file)
        return made

    def field(self, message: str, field: str) -> Comment:
        """The comment of a field."""
        return Comment.of(self.comments[f"{message}.{field}"])

    def message(self, name: str) -> Comment:
        """The comment of a message or enum."""
        return Comment.of(self.comments[name])

    def value(self, enum: str, word: str) -> str:
        """The comment of an enum's value; words of the enum are written as in job files."""
        text = " ".join(self.comments[f"{enum}.{word}"].split())
        return self.with_words(enum, text)

    def with_words(self, enum: str, text: str) -> str:
        """Writes an enum's words as job files do: `PAD` is `pad`. `LF` is a character as well, and stays."""
        if enum == "LineEnding":
            return text
        for word in sorted(self.enums[enum], key=len, reverse=True):
            text = re.sub(rf"(?<![`\w]){word}(?![`\w])", f"`{word.lower()}`", text)
        return text

    def _add(self, file: pb.FileDescriptorProto) -> None:
        said = {tuple(place.path): place.leading_comments or place.trailing_comments
                for place in file.source_code_info.location}  # fmt: skip
        for at, message in enumerate(file.message_type):
            path = (check_proto.FILE_MESSAGES, at)
            self.comments[message.name] = said.get(path, "")
            for number, field in enumerate(message.field):
                self.comments[f"{message.name}.{field.name}"] = said[(*path, check_proto.MESSAGE_FIELDS, number)]
        for at, enum in enumerate(file.enum_type):
            path = (check_proto.FILE_ENUMS, at)
            self.comments[enum.name] = said.get(path, "")
            prefix = enum.value[0].name.removesuffix("UNSPECIFIED")
            words = [value.name.removeprefix(prefix) for value in enum.value]
            self.enums[enum.name] = tuple(words)
            for number, word in enumerate(words):
                self.comments[f"{enum.name}.{word}"] = said.get((*path, check_proto.ENUM_VALUES, number), "")
