"""How a job ended, as a trigger's event, and as the end of an Airflow task."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowException, AirflowFailException

if TYPE_CHECKING:
    from moulin.errors import MoulinError
    from moulin.fault import Fault
    from moulin.job import Job, Receipt

SUCCESS = "success"
ERROR = "error"
TIMEOUT = "timeout"


def event_of(job: Job) -> dict[str, Any]:
    """The event of a job in a final state."""
    event: dict[str, Any] = {"job_id": job.job_id, "table": job.table, "state": job.state.value}
    if job.receipt is not None:
        return {**event, "status": SUCCESS, "receipt": job.receipt.to_dict()}
    return {**event, "status": ERROR, "fault": job.fault.to_dict() if job.fault else None}


def error_event(job_id: str, error: MoulinError) -> dict[str, Any]:
    """The event of a job that cannot be followed any more."""
    return {"job_id": job_id, "status": ERROR, "fault": error.fault.to_dict()}


def timeout_event(job_id: str) -> dict[str, Any]:
    """The event of a job that did not end in time."""
    return {"job_id": job_id, "status": TIMEOUT}


def receipt_of(event: dict[str, Any]) -> Receipt:
    """The receipt in an event, or the exception that ends the task."""
    from moulin.fault import Fault, FaultKind
    from moulin.job import Receipt

    if event.get("status") == SUCCESS:
        return Receipt.from_dict(event["receipt"])
    told = event.get("fault")
    nothing = Fault(FaultKind.INTERNAL, f"the job ended as {event.get('state')} without a reason")
    fault = Fault.from_dict(told) if told else nothing
    raise failure(fault, f"job {event.get('job_id')} {event.get('state') or 'cannot be followed'}")


def failure(fault: Fault, what: str) -> AirflowException:
    """The exception of a fault: one that Airflow does not retry when a retry cannot help."""
    from moulin.fault import FaultKind

    # A worker does not begin anew what took too long once. To Airflow a task whose time is up is one to retry.
    retried = fault.retryable or fault.kind is FaultKind.DEADLINE_EXCEEDED
    kind = AirflowException if retried else AirflowFailException
    return kind(f"{what}: {fault.report()}")
