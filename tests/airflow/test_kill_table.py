"""Whatever a user clicks and whatever dies: no job is left running, each row is there once, Airflow's state is right.

Beside those of `test_airflow_cases.py`: mark as failed, clear, a lost worker process, a killed Moulin worker. The table of
what happens stands in docs/operator.md.
"""

from __future__ import annotations

import pytest
from case import before_triggers_are_told, both_modes, both_modes_ended_by_a_user
from gated_files import GatedFiles

from local_stack.processes import wait_until

ROWS = GatedFiles.ROWS


def begun(start, dag_id: str, waiting: str):
    """A run whose task waits while its job reads."""
    case = start(dag_id)
    case.wait(waiting)
    case.wait_log("running on worker")
    return case


@both_modes_ended_by_a_user
def test_marking_a_task_as_successful_cancels_its_job(start, dag_id, waiting):
    case = begun(start, dag_id, waiting)
    case.mark("success")
    assert case.wait_job("cancelled").fault.kind == "cancelled"
    assert case.wait("success")["try_number"] == 1
    case.open()
    case.settled(0)


@both_modes_ended_by_a_user
def test_failing_the_run_cancels_its_job(start, dag_id, waiting):
    case = begun(start, dag_id, waiting)
    case.stack.airflow.set_run_state(dag_id, case.run_id, "failed")
    case.wait_job("cancelled")
    assert case.stack.airflow.wait_run(dag_id, case.run_id) == "failed"
    case.open()
    case.settled(0)


@both_modes
def test_clearing_a_task_that_succeeded_replaces_its_rows(start, dag_id, waiting):
    case = start(dag_id)
    case.open()
    # A clear that meets the end of its run is lost in Airflow itself.
    assert case.stack.airflow.wait_run(dag_id, case.run_id) == "success"
    wait_until("the scheduler knows of the end of the task's process", case.process_ended, 120)
    case.settled(ROWS)
    case.clear()
    case.wait("success", try_number=2)
    assert case.states() == [(0, 1, "succeeded"), (1, 2, "succeeded")]
    case.settled(ROWS)
    receipt = case.stack.airflow.xcom(dag_id, case.run_id, "land")
    assert (receipt["rows_landed"], receipt["rows_replaced"]) == (ROWS, ROWS)


@pytest.mark.parametrize("dag_id", ["has_little_time_in_worker_slot", "has_little_time_in_triggerer"])
def test_a_task_whose_time_is_up_is_retried_and_leaves_no_job_behind(start, dag_id):
    case = start(dag_id)
    ended = case.wait("failed", "success")
    assert (ended["state"], ended["try_number"]) == ("failed", 2)
    (job,) = case.stack.jobs(case.run_id)
    *_, ended = case.stack.client.watch(job.job_id, timeout=60)
    assert ended.state in ("failed", "cancelled")
    case.open()
    case.settled(0)


@before_triggers_are_told
def test_the_job_of_a_deferred_task_that_a_user_ended_is_ended_by_its_deadline(start):
    case = begun(start, "has_some_time_in_triggerer", "deferred")
    case.mark("failed")
    assert case.wait_job("failed").fault.kind == "deadline_exceeded"
    assert case.wait("failed")["try_number"] == 1
    case.open()
    case.settled(0)


@before_triggers_are_told
def test_a_deferred_task_that_is_cleared_while_it_runs_replaces_what_its_old_job_lands(start):
    case = begun(start, "waits_in_triggerer", "deferred")
    # Cleared before the scheduler has heard that the first process ended well, Airflow takes the task for killed.
    wait_until("the scheduler knows of the end of the process that deferred", case.process_ended, 120)
    case.clear()
    case.wait_log("submitted job", try_number=2)
    case.open()
    case.wait("success", try_number=2)
    assert [(generation, state) for generation, _, state in case.states()] == [(0, "succeeded"), (1, "succeeded")]
    case.settled(ROWS)


def test_a_task_whose_airflow_worker_is_stopped_is_tried_again(start):
    case = begun(start, "waits_in_worker_slot", "running")
    case.stop_airflow_worker()
    case.wait_log("cancel of job")
    case.wait_log("attached to job", try_number=2)
    case.open()
    case.wait("success", try_number=2)
    assert case.states() == [(0, 2, "succeeded")]
    case.settled(ROWS)


def test_a_task_process_that_is_killed_before_it_defers_leaves_its_job_to_the_next_try(start):
    case = start("is_lost_before_deferring")
    case.wait_log("attached to job", try_number=2)
    case.wait("deferred", try_number=2)
    case.open()
    case.wait("success", try_number=2)
    assert case.states() == [(0, 2, "succeeded")]
    case.settled(ROWS)


def test_a_triggerer_that_is_killed_leaves_its_job_to_another(start):
    case = begun(start, "waits_in_triggerer", "deferred")
    airflow = case.stack.airflow
    airflow.kill_component("triggerer")
    assert case.stack.jobs(case.run_id)[0].state == "running"
    airflow.start_component("triggerer")
    case.open()
    task = airflow.wait_task(case.dag_id, case.run_id, "land", "success", "failed", timeout=240)
    assert (task["state"], task["try_number"]) == ("success", 1)
    assert case.states() == [(0, 1, "succeeded")]
    case.settled(ROWS)
    airflow.wait_healthy()


def test_a_triggerer_that_is_stopped_leaves_its_job_to_the_next_one(start):
    case = begun(start, "waits_in_triggerer", "deferred")
    airflow = case.stack.airflow
    airflow.stop_component("triggerer")
    assert case.stack.jobs(case.run_id)[0].state == "running", "being told to stop is no reason to cancel"
    airflow.start_component("triggerer")
    case.open()
    task = airflow.wait_task(case.dag_id, case.run_id, "land", "success", "failed", timeout=240)
    assert (task["state"], task["try_number"]) == ("success", 1)
    assert case.states() == [(0, 1, "succeeded")]
    case.settled(ROWS)
    airflow.wait_healthy()


@both_modes
def test_a_scheduler_that_is_killed_finds_its_task_again(start, dag_id, waiting):
    case = begun(start, dag_id, waiting)
    airflow = case.stack.airflow
    airflow.kill_component("scheduler")
    airflow.start_component("scheduler")
    case.open()
    task = airflow.wait_task(case.dag_id, case.run_id, "land", "success", "failed", timeout=240)
    assert task["state"] == "success", "a task of a killed scheduler is begun again and attaches"
    ((generation, epoch, state),) = case.states()
    assert (generation, state) == (0, "succeeded")
    assert epoch == task["try_number"]
    case.settled(ROWS)
    airflow.wait_healthy()


def test_a_task_in_its_slot_outlives_a_worker_that_is_killed(start):
    case = begun(start, "waits_in_worker_slot", "running")
    case.stack.worker.kill()
    case.open()
    case.stack.worker.start()
    assert case.wait("success", "failed")["state"] == "success"
    assert case.stack.airflow.xcom(case.dag_id, case.run_id, "land")["attempt"] == 2
    case.settled(ROWS)


@both_modes
def test_two_runs_at_once_land_their_own_rows(start, dag_id, waiting):
    one, other = start(dag_id), start(dag_id)
    for case in (one, other):
        case.wait(waiting)
        case.wait_log("running on worker")
    for case in (one, other):
        case.open()
    for case in (one, other):
        case.wait("success")
        assert case.states() == [(0, 1, "succeeded")]
        case.settled(ROWS)


@both_modes
def test_two_runs_into_one_table_add_up(start, stack, dag_id, waiting):
    one = begun(start, dag_id, waiting)
    other = stack.airflow.trigger(dag_id, {"uri": stack.files.add(f"{one.name}_b"), "table": one.table})
    stack.airflow.wait_task(dag_id, other, "land", waiting)
    wait_until("both jobs run", lambda: len(stack.jobs(other)) == 1, 60)
    stack.files.open(f"{one.name}_b")
    one.open()
    assert {stack.airflow.wait_run(dag_id, run) for run in (one.run_id, other)} == {"success"}
    ids = stack.rows(one.table)["id"]
    assert (len(ids), len(ids.unique())) == (2 * ROWS, ROWS)
