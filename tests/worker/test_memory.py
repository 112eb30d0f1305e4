"""A worker that has nothing to do holds no memory of the jobs that it has done."""

from __future__ import annotations

import re
from pathlib import Path

import moulin
from worker_process import NewWorker, WorkerProcess, until


def memory_kb(worker: WorkerProcess) -> int:
    """Memory of the process that is no file."""
    found = re.search(r"^RssAnon:\s+(\d+) kB", (Path("/proc") / str(worker.pid) / "status").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1])


def test_memory_goes_back_to_the_system_when_no_job_runs(new_worker: NewWorker, tmp_path: Path) -> None:
    worker = new_worker(MOULIN_LOG="info,moulin::memory=debug")
    client = worker.start()
    before = memory_kb(worker)
    texts = (f"{n},{'abcdefghij'[n % 10] * 40}{n * 7919 % 1_000_003}\n" for n in range(600_000))
    (tmp_path / "rows.csv").write_text("id,text\n" + "".join(texts))
    source = moulin.csv(f"file://{tmp_path}/rows.csv", columns={"id": "long", "text": "string"})
    job = client.submit(moulin.JobSpec(source=source, target=moulin.iceberg("bronze.rows")))
    most = 0
    while not client.get(job.job_id).state.is_final:
        most = max(most, memory_kb(worker))
    until("the worker says that it gives memory back", lambda: "memory that nobody holds is given back" in worker.log())
    # Not only after a while, when threads that have nothing to do end and leave theirs behind.
    assert memory_kb(worker) < before + (most - before) / 2, f"{before} kB before, {most} kB while the job ran"
