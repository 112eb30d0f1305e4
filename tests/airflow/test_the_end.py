"""The last test of this folder: it stops what all others used."""

from __future__ import annotations

from local_stack import marked_processes


def test_nothing_is_left_running(stack):
    assert marked_processes(stack.airflow.mark)
    stack.worker.stop()
    outlived = stack.airflow.stop()
    assert outlived == {}
    assert marked_processes(stack.airflow.mark) == {}
