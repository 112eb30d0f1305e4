"""Tasks in a real Airflow: api-server, scheduler, dag-processor, triggerer, and a real worker."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from case import both_modes, both_modes_ended_by_a_user
from gated_files import GatedFiles, rows_csv

ROWS = GatedFiles.ROWS


@pytest.fixture
def small_csv(tmp_path: Path) -> str:
    path = tmp_path / "small.csv"
    path.write_bytes(rows_csv(10))
    return path.as_uri()


# -- the main job ------------------------------------------------------------------------------------------------------


def test_land_flights_lands_the_flights_through_scheduler_and_triggerer(stack, flights_csv):
    run_id = stack.airflow.trigger("land_flights", {"flights": flights_csv.as_uri()})
    assert stack.airflow.wait_run("land_flights", run_id) == "success"

    receipt = stack.airflow.xcom("land_flights", run_id, "land_flights")
    figures = {name: receipt[name] for name in ("rows_read", "rows_landed", "rows_filtered", "rows_rejected")}
    assert figures == {"rows_read": 336_776, "rows_landed": 215_941, "rows_filtered": 120_835, "rows_rejected": 0}
    assert len(json.dumps(receipt)) < 2048
    table = stack.table("bronze.flights")
    assert str(table.current_snapshot().snapshot_id) == receipt["snapshot_id"]
    assert table.scan().to_arrow().num_rows == 215_941
    assert [field.transform.__class__.__name__ for field in table.spec().fields] == ["MonthTransform"]

    log = stack.airflow.task_log("land_flights", run_id, "land_flights")
    for part in ("submitted job", "waiting in the triggerer", "succeeded", "215,941 rows landed of 336,776"):
        assert part in log
    path = f"/dags/land_flights/dagRuns/{run_id}/taskInstances/land_flights"
    links = stack.airflow.api("GET", f"{path.replace('+', '%2B')}/links")["extra_links"]
    assert links["Moulin receipt"].startswith(f"{stack.airflow.url}/dags/land_flights/runs/")
    (event,) = stack.airflow.api("GET", "/assets/events?source_dag_id=land_flights")["asset_events"]
    assert event["extra"]["snapshot_id"] == receipt["snapshot_id"]
    assert event["extra"]["rows_landed"] == 215_941


def test_clean_flights_sends_the_plan_of_a_polars_function(stack, flights_csv):
    run_id = stack.airflow.trigger("clean_flights", {"flights": flights_csv.as_uri(), "min_distance": 500})
    assert stack.airflow.wait_run("clean_flights", run_id) == "success"
    landed = stack.rows("silver.flights")
    assert landed.num_rows == stack.airflow.xcom("clean_flights", run_id, "clean")["rows_landed"] > 0
    assert min(landed["distance"].to_pylist()) >= 500
    assert landed["speed_mph"].null_count == landed["air_time"].null_count == 0


# -- waiting -----------------------------------------------------------------------------------------------------------


@both_modes
def test_a_task_shows_live_how_far_its_job_is(start, dag_id, waiting):
    case = start(dag_id)
    case.wait(waiting)
    case.wait_log("rows read")
    case.open()
    case.wait("success")
    assert f"{ROWS:,} rows landed of {ROWS:,} read" in case.log()
    assert case.stack.rows(case.table).num_rows == ROWS


def test_a_task_outlives_a_worker_that_is_killed(start):
    case = start("waits_in_triggerer")
    case.wait("deferred")
    case.wait_attempt()
    case.stack.worker.kill()
    case.open()
    case.stack.worker.start()
    assert case.wait("success", "failed")["state"] == "success"
    assert case.stack.rows(case.table).num_rows == ROWS
    assert case.stack.airflow.xcom(case.dag_id, case.run_id, "land")["attempt"] == 2


def test_a_deferrable_sensor_is_done_with_files_that_are_there_already(stack, small_csv):
    run_id = stack.airflow.trigger("waits_for_files", {"uri": small_csv})
    assert stack.airflow.wait_run("waits_for_files", run_id) == "success"
    assert stack.airflow.xcom("waits_for_files", run_id, "wait")["uris"] == [small_csv]
    assert "Pausing task as DEFERRED" not in stack.airflow.task_log("waits_for_files", run_id, "wait")


def test_a_deferred_sensor_is_done_with_files_that_come_at_once(stack, tmp_path):
    runs = [tmp_path / f"late_{n}.csv" for n in range(3)]
    run_ids = [stack.airflow.trigger("waits_for_files", {"uri": path.as_uri()}) for path in runs]
    for path, run_id in zip(runs, run_ids, strict=True):
        # As early as can be: the process that defers has not ended.
        stack.airflow.wait_task_log("waits_for_files", run_id, "wait", "Pausing task as DEFERRED")
        path.write_bytes(rows_csv(10))
    for path, run_id in zip(runs, run_ids, strict=True):
        assert stack.airflow.wait_run("waits_for_files", run_id) == "success"
        assert stack.airflow.xcom("waits_for_files", run_id, "wait")["uris"] == [path.as_uri()]


# -- tries -------------------------------------------------------------------------------------------------------------


def test_a_retry_finds_the_job_of_the_try_that_was_lost(start):
    case = start("is_lost_once")
    case.wait_log("attached to job", try_number=2)
    case.open()
    case.wait("success", try_number=2)
    (job,) = case.stack.jobs(case.run_id)
    assert (job.generation, job.epoch, job.attempt) == (0, 2, 1)
    assert case.stack.rows(case.table).num_rows == ROWS


@both_modes_ended_by_a_user
def test_clearing_a_task_that_runs_ends_its_job_and_not_that_of_the_new_try(start, dag_id, waiting):
    case = start(dag_id)
    case.wait(waiting)
    case.wait_log("running on worker")
    case.clear()
    case.wait_log("submitted job", try_number=2)
    first = next(job for job in case.stack.jobs(case.run_id) if job.generation == 0)
    *_, ended = case.stack.client.watch(first.job_id, timeout=30)
    assert ended.state == "cancelled"
    case.open()
    case.wait("success", try_number=2)
    assert [(job.generation, job.state) for job in case.stack.jobs(case.run_id)] == [(0, "cancelled"), (1, "succeeded")]
    assert case.stack.rows(case.table).num_rows == ROWS


# -- ends --------------------------------------------------------------------------------------------------------------


@both_modes_ended_by_a_user
def test_marking_a_task_as_failed_cancels_its_job(start, dag_id, waiting):
    case = start(dag_id)
    case.wait(waiting)
    case.wait_log("running on worker")
    case.mark("failed")
    job = case.wait_job("cancelled")
    assert job.fault is not None
    assert job.fault.kind == "cancelled"
    case.wait_log("cancel of job")
    assert case.wait("failed")["try_number"] == 1


@pytest.mark.parametrize(
    ("conf", "said"),
    [
        pytest.param({"sql": "SELECT orign FROM input"}, "orign", id="a column that is not there"),
        pytest.param({"uri": "file:///data/no-such-file.csv"}, "no-such-file.csv", id="a file that is not there"),
        pytest.param({"sql": "SELEC 1"}, "SELEC", id="no SQL"),
    ],
)
def test_a_wrong_spec_fails_at_once_and_its_log_names_the_thing(stack, small_csv, conf, said):
    run_id = stack.airflow.trigger("retries", {"uri": small_csv, "table": "cases.wrong", **conf})
    assert stack.airflow.wait_run("retries", run_id) == "failed"
    assert stack.airflow.task("retries", run_id, "land")["try_number"] == 1
    log = stack.airflow.task_log("retries", run_id, "land")
    assert said in log
    assert "what to do" in log
    assert stack.jobs(run_id) == []


def test_a_bad_row_fails_the_task_with_its_place(stack, tmp_path):
    path = tmp_path / "bad.csv"
    path.write_text("id,half\n" + "".join(f"{n},{n / 2}\n" for n in range(20_000)) + "none,1\n")
    run_id = stack.airflow.trigger("retries", {"uri": path.as_uri(), "table": "cases.bad"})
    assert stack.airflow.wait_run("retries", run_id) == "failed"
    assert stack.airflow.task("retries", run_id, "land")["try_number"] == 1
    log = stack.airflow.task_log("retries", run_id, "land")
    for part in ("bad.csv", "line 20002", "none", "on_bad_row"):
        assert part in log


@pytest.mark.parametrize(
    ("dag_id", "task_id", "said"),
    [("returns_rows", "collects", "DataFrame"), ("carries_python", "maps_elements", "Python")],
)
def test_a_function_that_makes_no_plan_is_refused_in_plain_words(stack, small_csv, dag_id, task_id, said):
    run_id = stack.airflow.trigger(dag_id, {"uri": small_csv, "table": "cases.wrong"})
    assert stack.airflow.wait_run(dag_id, run_id) == "failed"
    assert stack.airflow.task(dag_id, run_id, task_id)["try_number"] == 1
    assert said in stack.airflow.task_log(dag_id, run_id, task_id)


# -- the connection -----------------------------------------------------------------------------------------------------


def test_the_test_button_reaches_the_worker(stack):
    def test(port: int) -> dict[str, Any]:
        body = {"connection_id": "try", "conn_type": "moulin", "host": "127.0.0.1", "port": port}
        return stack.airflow.api("POST", "/connections/test", body)

    reached = test(stack.worker.port)
    assert reached["status"], reached
    for part in ("Polars", "DataFusion", "catalog ok", "store ok"):
        assert part in reached["message"]
    refused = test(1)
    assert not refused["status"]
    assert "127.0.0.1:1" in refused["message"]
