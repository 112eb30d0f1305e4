"""What many deferred tasks cost one triggerer: CPU of its event loop, channels, and how long the loop is ever held up.

    python -m benches.triggerer --triggers 500 --seconds 60

Real triggers follow real jobs of a real worker, which is told to drain, so that they stay queued: news come as often as
for running ones. The process is that of a triggerer without Airflow's own work; the worker's CPU is measured beside it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
from importlib import import_module
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "scripts"), str(ROOT / "tests" / "airflow")]


async def lag(worst: list[float]) -> None:
    """Notes by how much a short sleep is too long, again and again."""
    while True:
        began = time.perf_counter()
        await asyncio.sleep(0.05)
        worst.append(time.perf_counter() - began - 0.05)


def cpu_seconds(pid: int) -> float:
    """User and system time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def channels(port: int) -> int:
    """Connections of this process to the worker."""
    process = import_module("psutil").Process()
    return sum(bool(one.raddr) and one.raddr.port == port for one in process.net_connections("tcp"))


async def follow(job_ids: list[str], seconds: float, worker_pid: int, port: int) -> dict[str, Any]:
    """Runs a trigger for each job for so long, and says what that took after they had all begun."""
    from moulin_provider.progress_log import ProgressLog
    from moulin_provider.triggers.moulin import MoulinJobTrigger

    heard: list[str] = []
    listen = ProgressLog.line

    def line(self: ProgressLog, job: Any, now: float | None = None) -> str | None:
        heard.append(job.job_id)
        return listen(self, job, now)

    ProgressLog.line = line  # type: ignore[method-assign]

    async def run(job_id: str) -> None:
        async for event in MoulinJobTrigger(job_id, 1, "moulin_default").run():
            raise RuntimeError(f"job {job_id} ended while its trigger was measured: {event.payload}")

    async with asyncio.TaskGroup() as group:
        running = [group.create_task(run(job_id)) for job_id in job_ids]
        await asyncio.sleep(10)  # the begin is not what is asked about
        worst: list[float] = []
        measuring = group.create_task(lag(worst))
        heard.clear()
        began, mine, theirs = time.perf_counter(), time.process_time(), cpu_seconds(worker_pid)
        await asyncio.sleep(seconds)
        took = time.perf_counter() - began
        found = {
            "triggers": len(job_ids),
            "seconds": round(took, 1),
            "triggerer_core_percent": round(100 * (time.process_time() - mine) / took, 2),
            "worker_core_percent": round(100 * (cpu_seconds(worker_pid) - theirs) / took, 2),
            "news": len(heard),
            "triggers_that_heard": len(set(heard)),
            "channels": channels(port),
            "longest_lag_ms": round(1000 * max(worst), 1),
        }
        for task in (*running, measuring):
            task.cancel()
    return found


def main() -> None:
    """Starts a worker, gives it jobs, follows them, and prints what was found as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--triggers", type=int, default=500)
    parser.add_argument("--seconds", type=float, default=60.0)
    options = parser.parse_args()

    import logging

    import build
    from local_stack import LocalWorker
    from moulin import Client, JobSpec, csv, iceberg

    logging.disable(logging.INFO)
    files = import_module("gated_files").GatedFiles()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["AIRFLOW_HOME"] = folder
        worker = LocalWorker(
            Path(os.environ.get("MOULIN_BIN") or build.worker_binary()),
            Path(folder) / "worker",
            env={"MOULIN_SLOTS": "1"},
        )
        worker.start()
        os.environ["AIRFLOW_CONN_MOULIN_DEFAULT"] = f"moulin://{worker.address}"
        small = Path(folder) / "small.csv"
        small.write_text("id\n1\n")
        try:
            with Client(worker.address) as client:
                first = client.submit(JobSpec(source=csv(files.add("gated")), target=iceberg("bench.gated"))).job_id
                others = JobSpec(source=csv(small), target=iceberg("bench.small", on_loaded_file="reload"))
                ids = [first, *(client.submit(others).job_id for _ in range(options.triggers - 1))]
                client.drain()
            pid = worker._running().pid
            print(json.dumps(asyncio.run(follow(ids, options.seconds, pid, worker.port)), indent=2))
        finally:
            files.close()
            worker.stop_all()


if __name__ == "__main__":
    main()
