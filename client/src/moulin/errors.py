"""What this package raises. Every exception carries a `Fault` and says what to do."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from moulin.fault import Fault, FaultKind
    from moulin.job import Job


class MoulinError(Exception):
    """Something did not succeed. Its text is the fault's message, its causes and what to do about it."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault)
        self.fault = fault

    def __str__(self) -> str:
        return self.fault.report()

    @property
    def kind(self) -> FaultKind:
        """What kind of thing went wrong."""
        return self.fault.kind

    @property
    def retryable(self) -> bool:
        """Whether the same request may succeed when it is made again unchanged."""
        return self.fault.retryable

    @property
    def message(self) -> str:
        """The one line without causes and hint."""
        return self.fault.message

    @property
    def hint(self) -> str:
        """What the user can do about it; may be empty."""
        return self.fault.hint


class SpecError(MoulinError, ValueError):
    """The job's description is wrong: noticed here when it is built, or by the worker when it is submitted."""

    @classmethod
    def about(cls, argument: str, found: object, expected: str) -> Self:
        """The error of one argument: its name, what was found and what is expected instead."""
        shown = " ".join(repr(found).splitlines())
        if len(shown) > 200:
            shown = shown[:197] + "..."
        if issubclass(cls, TypeError):
            shown += f" of type {type(found).__name__}"
        from moulin.fault import Fault, FaultKind

        message = f"{argument}: found {shown}, expected {expected}"
        return cls(Fault(FaultKind.INVALID_SPEC, message, "correct the argument where the job is described"))


class SpecTypeError(SpecError, TypeError):
    """An argument of the job's description has the wrong Python type."""


class NotFound(MoulinError):
    """A named thing does not exist: an input file, a job."""


class BadInput(MoulinError):
    """An input file or row does not fit; `fault.place` says where."""


class TransformError(MoulinError):
    """The worker refused the transform, or it failed while it ran."""


class SchemaMismatch(MoulinError):
    """The table's schema or partition spec does not take what the job lands."""


class PermissionDenied(MoulinError):
    """Credentials are missing or were refused."""


class Unavailable(MoulinError):
    """The worker, or something it needs, did not answer. A retry can help."""


class ResourceExhausted(MoulinError):
    """The pool has no memory or slot free now. A retry can help."""


class StaleEpoch(MoulinError):
    """A newer try has taken the job over."""


class CallTimeout(MoulinError, TimeoutError):
    """The worker did not answer one call in time."""


class WaitTimeout(MoulinError, TimeoutError):
    """`wait(timeout=...)` ran out. The job goes on; waiting again is fine."""


class JobFailed(MoulinError):
    """The job is over and nothing of it is visible in the table."""

    def __init__(self, fault: Fault, job: Job) -> None:
        super().__init__(fault)
        self.args = (fault, job)
        self.job = job

    def __str__(self) -> str:
        return f"job {self.job.job_id} into {self.job.table} {self.job.state}: {self.fault.report()}"


class JobCancelled(JobFailed):
    """The job was cancelled before its commit."""


@cache
def _by_kind() -> dict[FaultKind, type[MoulinError]]:
    from moulin.fault import FaultKind

    return {
        FaultKind.INVALID_SPEC: SpecError,
        FaultKind.NOT_FOUND: NotFound,
        FaultKind.BAD_ROW: BadInput,
        FaultKind.BAD_FILE: BadInput,
        FaultKind.TRANSFORM: TransformError,
        FaultKind.SCHEMA_MISMATCH: SchemaMismatch,
        FaultKind.PERMISSION_DENIED: PermissionDenied,
        FaultKind.UNAVAILABLE: Unavailable,
        FaultKind.RESOURCE_EXHAUSTED: ResourceExhausted,
        FaultKind.STALE_EPOCH: StaleEpoch,
        FaultKind.DEADLINE_EXCEEDED: CallTimeout,
    }


def error_of(fault: Fault) -> MoulinError:
    """The exception of a failed call, by the kind of its fault."""
    return _by_kind().get(fault.kind, MoulinError)(fault)


class RowsDropped(UserWarning):
    """A reader of a running job was too slow and did not get all rows; the job itself lands them all."""
