"""A worker whose log cannot be written does its work all the same."""

from __future__ import annotations

import subprocess
from pathlib import Path

import input_files
import moulin
from landed_table import LandedTable
from worker_process import READY, binary, environment, until

KEY = moulin.JobKey(dag_id="dag", run_id="run", task_id="land")


def test_a_log_that_cannot_be_written_ends_no_job(state: Path, table: LandedTable, tmp_path: Path) -> None:
    said = tmp_path / "stdout"
    with said.open("wb") as stdout, Path("/dev/full").open("wb") as full:
        worker = subprocess.Popen(
            [binary(), "serve"],
            env=environment(state, MOULIN_LISTEN="127.0.0.1:0"),
            cwd=state,
            stdout=stdout,
            stderr=full,
        )
    try:
        ready = until("the worker listens", lambda: READY.search(said.read_text()))
        with moulin.Client(ready.group(2), reconnect=0) as client:
            receipt = client.submit(input_files.job(tmp_path / "input"), KEY).wait(30).receipt
    finally:
        worker.kill()
        worker.wait(10)

    assert receipt is not None
    assert table.ids() == input_files.LANDED_IDS
