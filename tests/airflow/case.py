"""One run of a DAG of `dags/cases.py`, and what is asked of it."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import airflow
import pytest
from airflow_stack import Stack

AIRFLOW = tuple(int(part) for part in airflow.__version__.split(".")[:2])

IN_SLOT = pytest.param("waits_in_worker_slot", "running", id="in a worker slot")
DEFERRED = pytest.param("waits_in_triggerer", "deferred", id="deferred")
# Airflow tells a trigger that a user ended its task (BaseTrigger.on_kill) from 3.3 on. So each release has one of two
# behaviours, and runs the tests of that one.
_TOLD = AIRFLOW >= (3, 3)
before_triggers_are_told = pytest.mark.skipif(
    _TOLD, reason="this Airflow tells the trigger, which cancels the job: the tests of both_modes_ended_by_a_user"
)
DEFERRED_AND_TOLD = pytest.param(
    "waits_in_triggerer",
    "deferred",
    id="deferred",
    marks=pytest.mark.skipif(
        not _TOLD, reason="this Airflow has no BaseTrigger.on_kill: the tests of before_triggers_are_told"
    ),
)

both_modes = pytest.mark.parametrize(("dag_id", "waiting"), [IN_SLOT, DEFERRED])
both_modes_ended_by_a_user = pytest.mark.parametrize(("dag_id", "waiting"), [IN_SLOT, DEFERRED_AND_TOLD])


@dataclass
class Case:
    """One run of a case's DAG, and the gate of the file it reads."""

    stack: Stack
    dag_id: str
    run_id: str
    name: str

    @property
    def table(self) -> str:
        return f"cases.{self.name}"

    def wait(self, *states: str, try_number: int = 0) -> dict[str, Any]:
        return self.stack.airflow.wait_task(self.dag_id, self.run_id, "land", *states, try_number=try_number)

    def wait_job(self, *states: str) -> Any:
        (submitted,) = self.stack.jobs(self.run_id)
        seen = []
        for job in self.stack.client.watch(submitted.job_id, timeout=120, interval=0.1):
            if job.state in states:
                return job
            seen.append(job.state.value)
        raise AssertionError(f"the job went through {seen}, expected {states}")

    def wait_attempt(self) -> None:
        """Until the job reads: the task is in the middle of its work."""
        assert self.wait_job("running", "succeeded").state == "running"

    def open(self) -> None:
        self.stack.files.open(self.name)

    def log(self, try_number: int = 1) -> str:
        return self.stack.airflow.task_log(self.dag_id, self.run_id, "land", try_number)

    def wait_log(self, text: str, try_number: int = 1) -> str:
        return self.stack.airflow.wait_task_log(self.dag_id, self.run_id, "land", text, try_number)

    def settled(self, rows: int) -> None:
        """No job of the run is left running, and the table holds each of so many rows once."""
        for job in self.stack.jobs(self.run_id):
            for seen in self.stack.client.watch(job.job_id, timeout=60, interval=0.1):
                last = seen
            assert last.state.is_final
        if rows:
            ids = self.stack.rows(self.table)["id"]
            assert (len(ids), len(ids.unique())) == (rows, rows)
        else:
            assert not self.stack.exists(self.table) or self.stack.rows(self.table).num_rows == 0

    def states(self) -> list[tuple[int, int, str]]:
        """Generation, epoch and state of the run's jobs, oldest first."""
        return [(job.generation, job.epoch, job.state.value) for job in self.stack.jobs(self.run_id)]

    def process_ended(self) -> bool:
        """Whether the scheduler has heard that a process of the task has ended."""
        log = (self.stack.airflow.home / "processes" / "scheduler.log").read_text(errors="replace")
        return any("Received executor event" in line and self.run_id in line for line in log.splitlines())

    def stop_airflow_worker(self) -> None:
        """SIGTERM to the supervisor of the task's process, as when its worker is stopped; it is passed on from 3.3 on."""
        pid = int(self.stack.airflow.task(self.dag_id, self.run_id, "land")["pid"])
        if AIRFLOW >= (3, 3):
            pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        os.kill(pid, signal.SIGTERM)

    def mark(self, state: str) -> None:
        self.stack.airflow.set_task_state(self.dag_id, self.run_id, "land", state)

    def clear(self) -> None:
        self.stack.airflow.clear(self.dag_id, self.run_id, "land")
