"""The task that reads rejects again: its arguments, and what it does at a real worker."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta

import pytest
from airflow.providers.common.compat.sdk import DAG, AirflowFailException
from moulin import csv, iceberg, replay, sql
from task_context import task_context

from moulin_provider.operators.moulin import MoulinLandOperator, MoulinReplayOperator


def test_arguments_are_templates_and_texts_name_the_table(tmp_path):
    with DAG("d", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC), template_searchpath=[str(tmp_path)]):
        operator = MoulinReplayOperator(
            task_id="t",
            source=csv("s3://raw/{{ day }}.csv", null_values=["n/a"]),
            target="bronze.{{ table }}",
            where="uri LIKE '%{{ day }}%'",
            transform=sql("SELECT * FROM input -- {{ day }}"),
            on_bad_row="{{ bad }}",
            moulin_conn_id="of_{{ table }}",
        )
    operator.render_template_fields({"day": "2026-11-21", "table": "flights", "bad": "fail"})
    assert operator.moulin_conn_id == "of_flights"
    assert operator.job_spec() == replay(
        "bronze.flights",
        csv("s3://raw/2026-11-21.csv", null_values=["n/a"]),
        where="uri LIKE '%2026-11-21%'",
        transform=sql("SELECT * FROM input -- 2026-11-21"),
        on_bad_row="fail",
    )


def test_bounds_and_time_are_those_of_the_job():
    bounds = {"max_bad_rows": 3, "max_bad_ratio": 0.5}
    source, target, minute = csv("a.csv"), "bronze.flights", timedelta(minutes=1)
    operator = MoulinReplayOperator(task_id="t", source=source, target=target, execution_timeout=minute, **bounds)
    assert operator.job_spec() == replay(target, source, deadline=minute, **bounds)


def test_what_fits_by_now_lands_and_a_wrong_condition_is_not_retried(worker, tmp_path):
    name = f"t_{uuid.uuid4().hex[:8]}"
    file = tmp_path / "in.csv"
    file.write_text("id,part\n1,1\n2,n/a\n3,x\n")
    columns = {"id": "long", "part": "long"}
    source, table = csv(f"file://{file}", columns=columns), f"cases.{name}"
    land = MoulinLandOperator(
        task_id="land", source=source, target=iceberg(table), on_bad_row="quarantine", deferrable=False
    )
    assert land.execute(task_context(name, "land"))["rows_rejected"] == 2
    corrected = {"source": csv(f"file://{file}", columns=columns, null_values=["n/a"]), "target": table}

    wrong = MoulinReplayOperator(task_id="wrong", where="cod = 'x'", deferrable=False, **corrected)
    with pytest.raises(AirflowFailException, match="no column `cod`"):
        wrong.execute(task_context(name, "wrong"))

    receipt = MoulinReplayOperator(task_id="again", deferrable=False, **corrected).execute(task_context(name, "again"))
    assert (receipt["rows_landed"], receipt["rows_rejected"]) == (1, 1)
    assert (receipt["replay"]["matched"], receipt["replay"]["replayed"]) == (2, 2)
    # The same try anew finds the same receipt; another task finds what is left.
    assert (
        MoulinReplayOperator(task_id="again", deferrable=False, **corrected).execute(task_context(name, "again"))
        == receipt
    )
    nothing = MoulinReplayOperator(task_id="nothing", where="raw = ''", deferrable=False, **corrected)
    assert nothing.execute(task_context(name, "nothing"))["replay"]["matched"] == 0
