"""Where rows come from and how their bytes are read."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

from moulin import _argument as argument
from moulin.errors import SpecError, SpecTypeError

Compression = Literal["auto", "none", "gzip", "zstd"]
Uris = str | os.PathLike[str] | Iterable[str | os.PathLike[str]]
Columns = Mapping[str, str] | Iterable["Column | Mapping[str, str] | tuple[str, str]"]

_COMPRESSIONS = ("auto", "none", "gzip", "zstd")


@dataclass(frozen=True, slots=True)
class Column:
    """A declared column: its name, and its type in Iceberg's words."""

    name: str
    type: str

    def __post_init__(self) -> None:
        argument.text("column name", self.name)
        object.__setattr__(self, "type", argument.column_type(f"columns[{self.name!r}]", self.type))

    def to_dict(self) -> dict[str, str]:
        """Name and type."""
        return {"name": self.name, "type": self.type}


@dataclass(frozen=True, slots=True, kw_only=True)
class CsvFormat:
    """RFC 4180 and its relatives."""

    delimiter: str = ","
    quote: str = '"'
    quoting: bool = True
    header: bool = True
    null_values: tuple[str, ...] = ()
    skip_lines: int = 0
    comment: str | None = None

    def __post_init__(self) -> None:
        used = {"delimiter": argument.one_character("csv delimiter", self.delimiter)}
        argument.one_character("csv quote", self.quote)
        if argument.flag("csv quoting", self.quoting):
            used["quote"] = self.quote
        argument.flag("csv header", self.header)
        object.__setattr__(self, "null_values", argument.texts("csv null_values", self.null_values, blank=True))
        argument.count("csv skip_lines", self.skip_lines)
        if self.comment is not None:
            used["comment"] = argument.one_character("csv comment", self.comment)
        taken: dict[str, str] = {}
        for name, character in used.items():
            if character in taken:
                expected = f"another character than the {taken[character]}"
                raise SpecError.about(f"csv {name}", character, expected)
            taken[character] = name

    def to_dict(self) -> dict[str, Any]:
        """The options that are not the default."""
        found = {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name) != f.default}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in found.items()}


@dataclass(frozen=True, slots=True)
class NdjsonFormat:
    """One JSON object a line."""


@dataclass(frozen=True, slots=True)
class ParquetFormat:
    """Apache Parquet."""


Format = CsvFormat | NdjsonFormat | ParquetFormat


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Files of one format and one schema. Made by `csv`, `ndjson` or `parquet`."""

    uris: tuple[str, ...]
    format: Format
    compression: Compression = "auto"
    columns: tuple[Column, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "uris", argument.uris("source uris", self.uris))
        if not isinstance(self.format, Format):
            raise SpecTypeError.about("source format", self.format, "CsvFormat, NdjsonFormat or ParquetFormat")
        argument.choice("source compression", self.compression, _COMPRESSIONS)
        if isinstance(self.format, ParquetFormat) and self.compression != "auto":
            raise SpecError.about("source compression", self.compression, "none: a Parquet file carries its own")
        object.__setattr__(self, "columns", _columns(self.columns))

    def to_dict(self) -> dict[str, Any]:
        """The source as JSON values in the shape of a job file; defaults are left out."""
        found: dict[str, Any] = {"uris": list(self.uris), "format": _format_to_dict(self.format)}
        if self.compression != "auto":
            found["compression"] = self.compression
        if self.columns:
            found["columns"] = [column.to_dict() for column in self.columns]
        return found

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Source:
        """Reads the `source` of a job file, or what `to_dict` wrote."""
        found = argument.fields("source", value, ("uris", "format", "compression", "columns"))
        return cls(
            uris=argument.required("source", found, "uris"),
            format=_format_from(argument.required("source", found, "format")),
            compression=found.get("compression", "auto"),
            columns=found.get("columns", ()),
        )


def csv(
    uris: Uris,
    *,
    delimiter: str = ",",
    quote: str = '"',
    quoting: bool = True,
    header: bool = True,
    null_values: Iterable[str] = (),
    skip_lines: int = 0,
    comment: str | None = None,
    compression: Compression | None = None,
    columns: Columns | None = None,
) -> Source:
    """CSV files.

    `uris` may hold patterns (`*`, `?`, `[..]` within a path segment, `**` over several). `null_values` are the
    unquoted fields that mean null, besides the empty field of columns that are not strings. `columns` declares
    types (`{"price": "decimal(12,2)"}`); the others are inferred from a sample. `compression` is found by the
    file's ending unless it is given.
    """
    form = CsvFormat(
        delimiter=delimiter,
        quote=quote,
        quoting=quoting,
        header=header,
        null_values=argument.texts("csv null_values", null_values, blank=True),
        skip_lines=skip_lines,
        comment=comment,
    )
    return _source(uris, form, compression, columns)


def ndjson(uris: Uris, *, compression: Compression | None = None, columns: Columns | None = None) -> Source:
    """Files of one JSON object a line. The arguments are those of `csv`."""
    return _source(uris, NdjsonFormat(), compression, columns)


def parquet(uris: Uris, *, columns: Columns | None = None) -> Source:
    """Apache Parquet files. `columns` declares types other than the file's own."""
    return _source(uris, ParquetFormat(), None, columns)


def _source(uris: Uris, form: Format, compression: Compression | None, columns: Columns | None) -> Source:
    return Source(
        uris=argument.uris("uris", uris),
        format=form,
        compression="auto" if compression is None else compression,
        columns=_columns(() if columns is None else columns),
    )


def _columns(value: object) -> tuple[Column, ...]:
    if isinstance(value, Mapping):
        value = tuple(value.items())
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise SpecTypeError.about("columns", value, "a dict of names and types, e.g. {'price': 'decimal(12,2)'}")
    found = tuple(_column(f"columns[{at}]", one) for at, one in enumerate(value))
    names = [column.name for column in found]
    for name in names:
        if names.count(name) > 1:
            raise SpecError.about("columns", name, "each column once")
    return found


def _column(name: str, value: object) -> Column:
    if isinstance(value, Column):
        return value
    if isinstance(value, Mapping):
        found = argument.fields(name, value, ("name", "type"))
        return Column(argument.required(name, found, "name"), argument.required(name, found, "type"))
    if isinstance(value, tuple | list) and len(value) == 2:
        return Column(value[0], value[1])
    raise SpecTypeError.about(name, value, "a name and a type")


def _format_to_dict(form: Format) -> str | dict[str, Any]:
    if isinstance(form, CsvFormat):
        options = form.to_dict()
        return {"csv": options} if options else "csv"
    return "ndjson" if isinstance(form, NdjsonFormat) else "parquet"


def _format_from(value: object) -> Format:
    if isinstance(value, Format):
        return value
    plain: dict[object, Format] = {"csv": CsvFormat(), "ndjson": NdjsonFormat(), "parquet": ParquetFormat()}
    if isinstance(value, str) and value in plain:
        return plain[value]
    if isinstance(value, Mapping) and set(value) == {"csv"}:
        known = tuple(f.name for f in fields(CsvFormat))
        return CsvFormat(**argument.fields("source format csv", value["csv"] or {}, known))
    raise SpecError.about("source format", value, "'csv', 'ndjson', 'parquet' or {'csv': {...options...}}")
