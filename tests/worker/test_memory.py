"""A worker that has nothing to do holds no memory of the jobs that it has done."""

from __future__ import annotations

import re
from pathlib import Path

import moulin
from worker_process import WorkerProcess, until


def memory_kb(worker: WorkerProcess) -> int:
    """Memory of the process that is no file."""
    found = re.search(r"^RssAnon:\s+(\d+) kB", (Path("/proc") / str(worker.pid) / "status").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1])


def test_memory_goes_back_to_the_system_when_no_job_runs(worker: WorkerProcess, tmp_path: Path) -> None:
    client = worker.start()
    before = memory_kb(worker)
    texts = (f"{n},{'abcdefghij'[n % 10] * 40}{n * 7919 % 1_000_003}\n" for n in range(600_000))
    (tmp_path / "rows.csv").write_text("id,text\n" + "".join(texts))
    source = moulin.csv(f"file://{tmp_path}/rows.csv", columns={"id": "long", "text": "string"})
    client.submit(moulin.JobSpec(source=source, target=moulin.iceberg("bronze.rows"))).wait(60)
    after = memory_kb(worker)
    # As much as this is more than a worker needs to stand by.
    assert after > before + (50 << 10), "this test needs a job that takes more memory"
    until("the memory is given back", lambda: memory_kb(worker) < before + (after - before) / 2)
