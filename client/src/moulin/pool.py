"""The worker itself."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta


@dataclass(frozen=True, slots=True)
class Check:
    """Whether one thing the worker needs is in order."""

    name: str
    """`store`, `catalog` or `warehouse`."""
    ok: bool
    detail: str
    """What was found, or what is wrong and what to do."""
    took: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    """What a worker is and can do."""

    worker_id: str
    version: str
    started_at: datetime | None
    draining: bool
    """Whether it has stopped claiming jobs."""
    slots: int
    """Jobs that may run at a time."""
    running: int
    memory_bytes: int
    polars_version: str
    python_polars_version: str
    """The Python release of Polars whose plans it reads."""
    datafusion_version: str
    catalog: str
    warehouse: str
    store: str
    checks: tuple[Check, ...]
    """Empty unless they were asked for."""
    pools: tuple[str, ...] = ()
    """Pools whose jobs it claims; empty: of every pool."""
    queued: int = 0
    """Jobs of all workers of its job store that wait to be begun."""
    accepting: bool = False
    """Whether it takes a new job now: it does not drain, and fewer jobs wait than it lets."""

    @property
    def healthy(self) -> bool:
        """Whether every check that was made is in order."""
        return all(check.ok for check in self.checks)
