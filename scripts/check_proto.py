"""Checks proto/moulin/v1 against the rules of the project: everything commented, enums start unspecified.

Prints one line a finding; ends with 1 when there is one.
"""

from __future__ import annotations

import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from google.protobuf import descriptor_pb2 as pb
from grpc_tools import protoc

PROTO = Path(__file__).resolve().parent.parent / "proto"

# Field numbers of descriptor.proto: the steps of a path in the source information.
FILE_MESSAGES, FILE_ENUMS, FILE_SERVICES = 4, 5, 6
MESSAGE_FIELDS, MESSAGE_NESTED, MESSAGE_ENUMS = 2, 3, 4
ENUM_VALUES, SERVICE_METHODS = 2, 2

Path_ = tuple[int, ...]


def descriptors() -> pb.FileDescriptorSet:
    """The files of the protocol with their comments."""
    files = sorted(str(path.relative_to(PROTO)) for path in PROTO.glob("moulin/v1/*.proto"))
    with tempfile.NamedTemporaryFile() as out:
        arguments = ["protoc", f"-I{PROTO}", "--include_source_info", f"--descriptor_set_out={out.name}", *files]
        well_known = f"-I{Path(protoc.__file__).parent / '_proto'}"
        if protoc.main([*arguments[:1], well_known, *arguments[1:]]) != 0:
            sys.exit("proto/moulin/v1 does not compile")
        return pb.FileDescriptorSet.FromString(Path(out.name).read_bytes())


def findings(file: pb.FileDescriptorProto) -> Iterator[str]:
    """What is wrong with one file."""
    places = {tuple(place.path): place for place in file.source_code_info.location}
    lines = (PROTO / file.name).read_text().splitlines()

    def at(path: Path_) -> str:
        return f"proto/{file.name}:{places[path].span[0] + 1}"

    def commented(path: Path_) -> bool:
        place = places[path]
        # A comment after the item on its own line counts for it.
        return bool(place.leading_comments.strip() or place.trailing_comments.strip()) or "//" in lines[place.span[0]]

    def want_comment(path: Path_, what: str) -> Iterator[str]:
        if not commented(path):
            yield f"{at(path)}: {what} has no comment"

    def of_enum(enum: pb.EnumDescriptorProto, path: Path_) -> Iterator[str]:
        yield from want_comment(path, f"enum {enum.name}")
        prefix = re.sub(r"(?<!^)(?=[A-Z])", "_", enum.name).upper()
        zero = enum.value[0]
        if zero.number != 0 or zero.name != f"{prefix}_UNSPECIFIED":
            yield f"{at(path)}: the first value of {enum.name} is {zero.name} = {zero.number}, not {prefix}_UNSPECIFIED = 0"
        for index, value in enumerate(enum.value):
            if not value.name.startswith(prefix + "_"):
                yield f"{at((*path, ENUM_VALUES, index))}: {value.name} does not start with {prefix}_"
            # UNSPECIFIED says what it is by its name.
            if value.number != 0:
                yield from want_comment((*path, ENUM_VALUES, index), f"{enum.name}.{value.name}")

    def of_message(message: pb.DescriptorProto, path: Path_) -> Iterator[str]:
        if message.options.map_entry:
            return
        if message.field:
            yield from want_comment(path, f"message {message.name}") if not _is_envelope(message) else ()
        for index, field in enumerate(message.field):
            yield from want_comment((*path, MESSAGE_FIELDS, index), f"{message.name}.{field.name}")
            if re.fullmatch(r"[a-z][a-z0-9_]*", field.name) is None:
                yield f"{at((*path, MESSAGE_FIELDS, index))}: {message.name}.{field.name} is not lower_snake_case"
        for index, nested in enumerate(message.nested_type):
            yield from of_message(nested, (*path, MESSAGE_NESTED, index))
        for index, enum in enumerate(message.enum_type):
            yield from of_enum(enum, (*path, MESSAGE_ENUMS, index))

    if file.syntax != "proto3" or not file.package.endswith(".v1"):
        yield f"proto/{file.name}: not proto3 in a package with a version"
    for index, enum in enumerate(file.enum_type):
        yield from of_enum(enum, (FILE_ENUMS, index))
    for index, message in enumerate(file.message_type):
        yield from of_message(message, (FILE_MESSAGES, index))
    for index, service in enumerate(file.service):
        yield from want_comment((FILE_SERVICES, index), f"service {service.name}")
        for number, method in enumerate(service.method):
            yield from want_comment((FILE_SERVICES, index, SERVICE_METHODS, number), f"{service.name}.{method.name}")
            for name, wanted in ((method.input_type, "Request"), (method.output_type, "Response")):
                if name != f".{file.package}.{method.name}{wanted}":
                    yield f"proto/{file.name}: {method.name} takes or gives {name}, not {method.name}{wanted}"


def _is_envelope(message: pb.DescriptorProto) -> bool:
    """The request or response of one method, which is described there."""
    return message.name.endswith(("Request", "Response"))


def main() -> None:
    """Prints what is wrong and ends with 1, or says that nothing is."""
    files = descriptors().file
    found = [line for file in files for line in findings(file)]
    for line in found:
        print(line)
    if found:
        sys.exit(f"{len(found)} findings in proto/moulin/v1")
    print(f"{len(files)} files of the protocol are in order")


if __name__ == "__main__":
    main()
