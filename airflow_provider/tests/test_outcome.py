"""How a job's end becomes a task's end."""

from __future__ import annotations

import json

import pytest
from airflow.providers.common.compat.sdk import AirflowException, AirflowFailException
from moulin.errors import error_of
from moulin.fault import FaultKind

from moulin_provider.outcome import error_event, event_of, receipt_of


def test_a_receipt_survives_the_event(make_job, make_receipt, make_rejects):
    receipt = make_receipt(rejects=make_rejects(2))
    event = json.loads(json.dumps(event_of(make_job("succeeded", receipt=receipt))))
    assert receipt_of(event) == receipt


def test_what_a_retry_cannot_help_is_not_retried_and_says_everything(make_job, make_fault):
    event = json.loads(json.dumps(event_of(make_job("failed", fault=make_fault()))))
    with pytest.raises(AirflowFailException) as caught:
        receipt_of(event)
    for part in ("job-0000", "there is no column `orign`", "planning failed", "correct the SELECT"):
        assert part in str(caught.value)


def test_what_a_retry_can_help_is_retried(make_job, make_fault):
    fault = make_fault(FaultKind.UNAVAILABLE, retryable=True)
    for event in (event_of(make_job("failed", fault=fault)), error_event("job-1", error_of(fault))):
        is_retried(event)


def test_a_job_whose_time_was_up_is_retried_as_every_task_of_airflow_is(make_job, make_fault):
    is_retried(event_of(make_job("failed", fault=make_fault(FaultKind.DEADLINE_EXCEEDED, retryable=False))))


def is_retried(event: dict) -> None:
    with pytest.raises(AirflowException) as caught:
        receipt_of(event)
    assert not isinstance(caught.value, AirflowFailException)
