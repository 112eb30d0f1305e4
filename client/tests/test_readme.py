"""Every example of the README runs, in order, against a real worker."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from local_stack.worker import LocalWorker

README = Path(__file__).parent.parent / "README.md"
FLIGHTS = """origin,dep_delay,fare,time_hour
JFK,20,100.50,2013-01-01 05:00:00
EWR,3,80.00,2013-01-01 06:00:00
LGA,NA,70.25,2013-02-01 07:00:00
JFK,-1,NA,2013-02-02 08:00:00
"""


def test_the_examples_run(
    worker: LocalWorker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # A relative path is the worker's: it runs in the folder of its state.
    (worker.state_dir / "flights.csv").write_text(FLIGHTS)
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    assert len(blocks) >= 8
    names: dict[str, object] = {"__name__": "readme"}
    for block in blocks:
        exec(compile(block.replace("localhost:7070", worker.address), str(README), "exec"), names)
    said = capsys.readouterr().out
    assert (
        "bronze.flights: 3 rows landed of 4 read from 1 file (0 rejected, 1 filtered) "
        "in 2 data files (2 partitions, 1 thread), snapshot " in said
    )
    assert "4 dep_delay type.long b'LGA,NA,70.25,2013-02-01 07:00:00'" in said
    assert "nowhere.csv" in said
