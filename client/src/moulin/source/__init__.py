"""Where rows come from and how their bytes are read."""

from moulin.source.builders import csv, json, ndjson, parquet, tsv
from moulin.source.column import Column, Columns
from moulin.source.csv_format import CsvFormat
from moulin.source.format import FORMATS, Format, ParquetFormat
from moulin.source.json_format import JsonFormat, NdjsonFormat
from moulin.source.policy import Contract, Inference, ReadLimits
from moulin.source.source import Source
from moulin.source.words import (
    Compression,
    ContractMode,
    Dialect,
    DuplicateKeys,
    Encoding,
    LineEnding,
    OnBadFile,
    ProvenanceColumn,
    RaggedRows,
)

__all__ = [
    "FORMATS",
    "Column",
    "Columns",
    "Compression",
    "Contract",
    "ContractMode",
    "CsvFormat",
    "Dialect",
    "DuplicateKeys",
    "Encoding",
    "Format",
    "Inference",
    "JsonFormat",
    "LineEnding",
    "NdjsonFormat",
    "OnBadFile",
    "ParquetFormat",
    "ProvenanceColumn",
    "RaggedRows",
    "ReadLimits",
    "Source",
    "csv",
    "json",
    "ndjson",
    "parquet",
    "tsv",
]
