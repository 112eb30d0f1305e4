"""How files are written, as a whole."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from moulin import _options as options
from moulin.errors import SpecError
from moulin.source.csv_format import CsvFormat
from moulin.source.json_format import JsonFormat, NdjsonFormat


@dataclass(frozen=True, slots=True, kw_only=True)
class ParquetFormat:
    """Apache Parquet."""

    def to_dict(self) -> dict[str, Any]:
        """No options."""
        return {}


Format = CsvFormat | NdjsonFormat | JsonFormat | ParquetFormat

FORMATS: dict[str, type[Format]] = {
    "csv": CsvFormat,
    "ndjson": NdjsonFormat,
    "json": JsonFormat,
    "parquet": ParquetFormat,
}
_NAMES = {kind: name for name, kind in FORMATS.items()}


def format_name(form: Format) -> str:
    """`csv`, `ndjson`, `json` or `parquet`."""
    return _NAMES[type(form)]


def format_to_dict(form: Format) -> str | dict[str, Any]:
    """A format as job files write it: its name, or its name with the options that are not the default."""
    name, said = format_name(form), form.to_dict()
    return {name: said} if said else name


def format_from(value: object) -> Format:
    """Reads what `format_to_dict` wrote, or a person in a job file."""
    if isinstance(value, Format):
        return value
    if isinstance(value, str) and value in FORMATS:
        return FORMATS[value]()
    if isinstance(value, Mapping) and len(value) == 1:
        name = next(iter(value))
        if name in FORMATS:
            return options.from_dict(FORMATS[name], f"source format {name}", value[name] or {})
    expected = "'csv', 'ndjson', 'json', 'parquet', or one of them with its options: {'csv': {'delimiter': ';'}}"
    raise SpecError.about("source format", value, expected)
