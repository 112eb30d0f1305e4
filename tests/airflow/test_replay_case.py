"""Rejects in a real Airflow: landed with a wrong spec, replayed with a corrected one, and the replay cleared."""

from __future__ import annotations

import uuid

import pytest

ROWS = 10
BAD = 3


@pytest.mark.parametrize("dag_id", ["replays_in_worker_slot", "replays_in_triggerer"])
def test_rejects_that_are_replayed_land_once_and_a_cleared_replay_doubles_nothing(stack, tmp_path, dag_id):
    file = tmp_path / "in.csv"
    file.write_text("id,part\n" + "".join(f"{n},{'n/a' if n < BAD else n}\n" for n in range(ROWS)))
    table = f"cases.t_{uuid.uuid4().hex[:8]}"
    params = {"uri": file.as_uri(), "table": table}
    airflow = stack.airflow

    landing = airflow.trigger("quarantines", params)
    assert airflow.wait_run("quarantines", landing) == "success"
    landed = airflow.xcom("quarantines", landing, "land")
    assert (landed["rows_landed"], landed["rows_rejected"]) == (ROWS - BAD, BAD)
    assert open_rejects(stack, table) == BAD

    run_id = airflow.trigger(dag_id, params)
    assert airflow.wait_run(dag_id, run_id) == "success"
    replayed = airflow.xcom(dag_id, run_id, "replay")
    assert (replayed["rows_landed"], replayed["rows_rejected"], replayed["replay"]["replayed"]) == (BAD, 0, BAD)
    assert ids(stack, table) == list(range(ROWS))
    assert open_rejects(stack, table) == 0

    airflow.clear(dag_id, run_id, "replay")
    airflow.wait_task(dag_id, run_id, "replay", "success", try_number=2)
    again = airflow.xcom(dag_id, run_id, "replay")
    assert again["job_id"] != replayed["job_id"]
    assert (again["rows_landed"], again["rows_replaced"]) == (BAD, BAD)
    assert ids(stack, table) == list(range(ROWS))
    assert open_rejects(stack, table) == 0
    assert {job.state.value for job in stack.jobs(run_id)} == {"succeeded"}


def ids(stack, table: str) -> list[int]:
    return sorted(stack.rows(table)["id"].to_pylist())


def open_rejects(stack, table: str) -> int:
    """Rejects that no replay has taken."""
    return stack.rows(f"{table}__rejects")["replayed_by"].null_count
