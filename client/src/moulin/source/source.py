"""Where rows come from and how their bytes are read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from moulin import _argument as argument
from moulin import _options as options
from moulin.errors import SpecError
from moulin.source.column import Column, columns_from
from moulin.source.column_type import is_nested
from moulin.source.csv_format import CsvFormat
from moulin.source.format import Format, ParquetFormat, format_from, format_to_dict
from moulin.source.policy import Contract, Inference, ReadLimits
from moulin.source.words import Compression, OnBadFile, ProvenanceColumn, words

# Values that nothing changes, so one of each is enough; being the same object says that nothing was said.
CONTRACT, INFERENCE, LIMITS = Contract(), Inference(), ReadLimits()


@dataclass(frozen=True, kw_only=True)  # without slots: `options.of`
class Source:
    """Files of one format and one schema. Made by `csv`, `tsv`, `ndjson`, `json` or `parquet`."""

    uris: tuple[str, ...]
    format: Format
    compression: Compression = "auto"
    columns: tuple[Column, ...] = ()
    provenance_columns: tuple[ProvenanceColumn, ...] = ()
    partition_columns: bool = False
    on_bad_file: OnBadFile = "fail"
    contract: Contract = CONTRACT
    rescued_column: str | None = None
    inference: Inference = INFERENCE
    limits: ReadLimits = LIMITS
    preserve_order: bool = False

    def __post_init__(self) -> None:
        set_field = object.__setattr__
        set_field(self, "uris", argument.uris("source uris", self.uris))
        if not isinstance(self.format, Format):
            set_field(self, "format", format_from(self.format))
        # DAG files make many of these, and what is not said cannot be wrong.
        if self.compression != "auto":
            self._check_compression()
        if self.columns != ():
            set_field(self, "columns", columns_from(self.columns))
        if self.provenance_columns != ():
            set_field(self, "provenance_columns", _provenance(self.provenance_columns))
        if self.partition_columns is not False:
            argument.flag("partition_columns", self.partition_columns)
        if self.on_bad_file != "fail":
            argument.choice("on_bad_file", self.on_bad_file, words(OnBadFile))
        if self.contract is not CONTRACT:
            set_field(self, "contract", options.made(Contract, "contract", self.contract, CONTRACT))
        if self.rescued_column is not None:
            argument.text("rescued_column", self.rescued_column)
        if self.inference is not INFERENCE:
            set_field(self, "inference", options.made(Inference, "inference", self.inference, INFERENCE))
        if self.limits is not LIMITS:
            set_field(self, "limits", options.made(ReadLimits, "limits", self.limits, LIMITS))
        if self.preserve_order is not False:
            argument.flag("preserve_order", self.preserve_order)
        if self.columns or self.provenance_columns:
            self._check_columns()

    def _check_compression(self) -> None:
        argument.choice("source compression", self.compression, words(Compression))
        if isinstance(self.format, ParquetFormat):
            raise SpecError.about("source compression", self.compression, "none: a Parquet file carries its own")

    def _check_columns(self) -> None:
        added = [f"_{word}" for word in self.provenance_columns]
        if self.rescued_column is not None:
            added.append(self.rescued_column)
        argument.distinct("rescued_column", added)
        for column in self.columns:
            if isinstance(self.format, CsvFormat) and is_nested(column.type):
                expected = "a type of one value: a csv field holds no more"
                raise SpecError.about(f"columns[{column.name!r}]", column.type, expected)
            if column.name in added:
                raise SpecError.about("columns", column.name, "another name: the reader adds this column by itself")

    def to_dict(self) -> dict[str, Any]:
        """The source as JSON values in the shape of a job file; defaults are left out."""
        return options.to_dict(self, format=format_to_dict(self.format))

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Source:
        """Reads the `source` of a job file, or what `to_dict` wrote."""
        return options.from_dict(cls, "source", value)


def _provenance(value: object) -> tuple[str, ...]:
    found = argument.texts("provenance_columns", value)
    for at, word in enumerate(found):
        argument.choice(f"provenance_columns[{at}]", word, words(ProvenanceColumn))
    argument.distinct("provenance_columns", found)
    return found
