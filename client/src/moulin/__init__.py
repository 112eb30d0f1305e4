"""Moulin in Python: describe a job, submit it, follow it, read its rows.

Importing this package is cheap: gRPC comes with the first client, pyarrow with the first row read, polars with
the first LazyFrame.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from moulin.aio import AsyncClient, AsyncJobHandle
    from moulin.client import Client, JobHandle
    from moulin.connection import TLSConfig
    from moulin.errors import (
        BadInput,
        CallTimeout,
        JobCancelled,
        JobFailed,
        MoulinError,
        NotFound,
        PermissionDenied,
        ResourceExhausted,
        RowsDropped,
        SchemaMismatch,
        SpecError,
        SpecTypeError,
        StaleEpoch,
        TransformError,
        Unavailable,
        WaitTimeout,
    )
    from moulin.fault import Fault, FaultKind, Place
    from moulin.frame import empty_frame
    from moulin.inference import InferredColumn, InferredSource
    from moulin.job import (
        FileCounts,
        Job,
        JobState,
        Progress,
        Receipt,
        Reject,
        Room,
        RoomTime,
        SkippedFile,
    )
    from moulin.landing import Landing, iceberg
    from moulin.plan import JobPlan, PlannedColumn, PlannedFile, PlannedOption, PlannedTable, SchemaChange
    from moulin.pool import Check, Worker
    from moulin.query import QueryTicket
    from moulin.replaying import Replay, ReplayCounts, replay
    from moulin.source import (
        Column,
        Contract,
        CsvFormat,
        Inference,
        JsonFormat,
        NdjsonFormat,
        ParquetFormat,
        ReadLimits,
        Source,
        csv,
        json,
        ndjson,
        parquet,
        tsv,
    )
    from moulin.spec import JobKey, JobSpec
    from moulin.tables import TableInput, TablePin, TableRead, table
    from moulin.transform import PolarsPlan, Sql, polars_plan, sql

__all__ = [
    "AsyncClient",
    "AsyncJobHandle",
    "BadInput",
    "CallTimeout",
    "Check",
    "Client",
    "Column",
    "Contract",
    "CsvFormat",
    "Fault",
    "FaultKind",
    "FileCounts",
    "Inference",
    "InferredColumn",
    "InferredSource",
    "Job",
    "JobCancelled",
    "JobFailed",
    "JobHandle",
    "JobKey",
    "JobPlan",
    "JobSpec",
    "JobState",
    "JsonFormat",
    "Landing",
    "MoulinError",
    "NdjsonFormat",
    "NotFound",
    "ParquetFormat",
    "PermissionDenied",
    "Place",
    "PlannedColumn",
    "PlannedFile",
    "PlannedOption",
    "PlannedTable",
    "PolarsPlan",
    "Progress",
    "QueryTicket",
    "ReadLimits",
    "Receipt",
    "Reject",
    "Replay",
    "ReplayCounts",
    "ResourceExhausted",
    "Room",
    "RoomTime",
    "RowsDropped",
    "SchemaChange",
    "SchemaMismatch",
    "SkippedFile",
    "Source",
    "SpecError",
    "SpecTypeError",
    "Sql",
    "StaleEpoch",
    "TLSConfig",
    "TableInput",
    "TablePin",
    "TableRead",
    "TransformError",
    "Unavailable",
    "WaitTimeout",
    "Worker",
    "csv",
    "empty_frame",
    "iceberg",
    "json",
    "ndjson",
    "parquet",
    "polars_plan",
    "replay",
    "sql",
    "table",
    "tsv",
]

__version__ = "0.1.0"

_HOMES = {
    "aio": ("AsyncClient", "AsyncJobHandle"),
    "client": ("Client", "JobHandle"),
    "connection": ("TLSConfig",),
    "errors": (
        "BadInput", "CallTimeout", "JobCancelled", "JobFailed", "MoulinError", "NotFound", "PermissionDenied",
        "ResourceExhausted", "RowsDropped", "SchemaMismatch", "SpecError", "SpecTypeError", "StaleEpoch",
        "TransformError", "Unavailable", "WaitTimeout",
    ),
    "fault": ("Fault", "FaultKind", "Place"),
    "frame": ("empty_frame",),
    "inference": ("InferredColumn", "InferredSource"),
    "job": (
        "FileCounts", "Job", "JobState", "Progress", "Receipt", "Reject", "Room", "RoomTime", "SkippedFile",
    ),
    "landing": ("Landing", "iceberg"),
    "plan": ("JobPlan", "PlannedColumn", "PlannedFile", "PlannedOption", "PlannedTable", "SchemaChange"),
    "pool": ("Check", "Worker"),
    "query": ("QueryTicket",),
    "replaying": ("Replay", "ReplayCounts", "replay"),
    "source": (
        "Column", "Contract", "CsvFormat", "Inference", "JsonFormat", "NdjsonFormat", "ParquetFormat", "ReadLimits",
        "Source", "csv", "json", "ndjson", "parquet", "tsv",
    ),
    "spec": ("JobKey", "JobSpec"),
    "tables": ("TableInput", "TablePin", "TableRead", "table"),
    "transform": ("PolarsPlan", "Sql", "polars_plan", "sql"),
}  # fmt: skip
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'moulin' has no attribute {name!r}")
    value = getattr(import_module(f"moulin.{_HOME_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME_OF})
