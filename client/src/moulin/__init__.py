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
    from moulin.job import (
        Job,
        JobPlan,
        JobState,
        PlannedColumn,
        PlannedFile,
        Progress,
        Receipt,
        Reject,
        Room,
        RoomTime,
    )
    from moulin.landing import Landing, iceberg
    from moulin.pool import Check, Worker
    from moulin.source import Column, CsvFormat, NdjsonFormat, ParquetFormat, Source, csv, ndjson, parquet
    from moulin.spec import JobKey, JobSpec
    from moulin.transform import PolarsPlan, Sql, polars_plan, sql

__all__ = [
    "AsyncClient",
    "AsyncJobHandle",
    "BadInput",
    "CallTimeout",
    "Check",
    "Client",
    "Column",
    "CsvFormat",
    "Fault",
    "FaultKind",
    "Job",
    "JobCancelled",
    "JobFailed",
    "JobHandle",
    "JobKey",
    "JobPlan",
    "JobSpec",
    "JobState",
    "Landing",
    "MoulinError",
    "NdjsonFormat",
    "NotFound",
    "ParquetFormat",
    "PermissionDenied",
    "Place",
    "PlannedColumn",
    "PlannedFile",
    "PolarsPlan",
    "Progress",
    "Receipt",
    "Reject",
    "ResourceExhausted",
    "Room",
    "RoomTime",
    "RowsDropped",
    "SchemaMismatch",
    "Source",
    "SpecError",
    "SpecTypeError",
    "Sql",
    "StaleEpoch",
    "TLSConfig",
    "TransformError",
    "Unavailable",
    "WaitTimeout",
    "Worker",
    "csv",
    "empty_frame",
    "iceberg",
    "ndjson",
    "parquet",
    "polars_plan",
    "sql",
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
    "job": (
        "Job", "JobPlan", "JobState", "PlannedColumn", "PlannedFile", "Progress", "Receipt", "Reject", "Room",
        "RoomTime",
    ),
    "landing": ("Landing", "iceberg"),
    "pool": ("Check", "Worker"),
    "source": ("Column", "CsvFormat", "NdjsonFormat", "ParquetFormat", "Source", "csv", "ndjson", "parquet"),
    "spec": ("JobKey", "JobSpec"),
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
