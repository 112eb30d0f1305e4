"""The last test of this folder: it stops what all others used."""

from __future__ import annotations

from case import AIRFLOW

from local_stack import marked_processes


def test_nothing_is_left_running(stack):
    assert marked_processes(stack.airflow.mark)
    # See `LocalAirflow._start_again_what_ended`.
    assert set(stack.airflow.ended) <= ({"scheduler"} if AIRFLOW < (3, 2) else set())
    stack.worker.stop()
    outlived = stack.airflow.stop()
    assert outlived == {}
    assert marked_processes(stack.airflow.mark) == {}
