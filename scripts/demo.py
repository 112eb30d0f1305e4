"""`make demo`: the main job from nothing, on this machine, in the folder `.demo` of the clone.

Starts a worker and a real Airflow, triggers the DAG `land_flights` over Airflow's REST API, waits for it, reads what
landed with PyIceberg and with Arrow Flight, and stops everything again; with KEEP=1 it leaves everything running.

    python scripts/demo.py           run it
    python scripts/demo.py --stop    stop what a run with KEEP=1 left
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import build
import flights
from demo_report import check, report
from local_stack import LocalAirflow, LocalWorker, StackError, free_port, marked_processes
from local_stack.processes import stop_marked, wait_until
from moulin import Client
from progress import Step, step

HOME = build.ROOT / ".demo"
RUNNING = HOME / "running.json"
DAG = TASK = "land_flights"
RUN_SECONDS = 300.0
LOG_LINES = 40


def stop_left_running() -> bool:
    """Stops what an earlier demo left, by its mark; says whether there was something."""
    if not RUNNING.exists():
        return False
    mark = json.loads(RUNNING.read_text())["mark"]
    there = bool(marked_processes(mark))
    if there:
        stop_marked(mark, patience=15.0)
    RUNNING.unlink()
    return there


def wanted_port(port: int) -> int:
    """The port that one would expect, or a free one when somebody has it."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    return free_port()


@contextlib.contextmanager
def stack(keep: bool) -> Iterator[tuple[LocalWorker, LocalAirflow]]:
    """A worker and an Airflow with fresh state; stopped at the end, unless all went well and they are to be kept."""
    if stop_left_running():
        print("- stopped the demo that was left running")
    shutil.rmtree(HOME, ignore_errors=True)
    HOME.mkdir()
    mark = uuid.uuid4().hex
    # Before anything starts: whatever becomes of this process, `make demo-stop` finds the others.
    RUNNING.write_text(json.dumps({"mark": mark}))
    worker = LocalWorker(build.worker_binary(), HOME / "worker", port=wanted_port(7070), mark=mark)
    airflow = LocalAirflow(
        HOME / "airflow",
        python=Path(sys.executable),
        dag_folders={"moulin": build.ROOT / "dags"},
        env={
            "AIRFLOW_CONN_MOULIN_DEFAULT": f"moulin://{worker.address}",
            "MOULIN_FLIGHTS": flights.GZIP.as_uri(),
        },
        port=wanted_port(8080),
        mark=mark,
    )
    try:
        yield worker, airflow
    except BaseException:
        keep = False
        raise
    finally:
        if not keep:
            # A second Ctrl-C must not leave half of it behind.
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(number, signal.SIG_IGN)
            with step("stopping Airflow and the worker") as going:
                worker.stop()
                airflow.stop()
                left = marked_processes(mark)
                going.news = f"STILL THERE: {left}" if left else "no process is left"
            RUNNING.unlink(missing_ok=True)


def start(worker: LocalWorker, airflow: LocalAirflow) -> None:
    """Starts both and waits until they can be used."""
    with step(f"starting the worker on {worker.address}"):
        worker.start()
    with step("starting Airflow: database, api-server, scheduler, dag-processor, triggerer") as going:
        going.news = "making its database"
        airflow.start()
        going.news = "waiting until all parts are healthy"
        airflow.wait_healthy()
        going.news = airflow.url


def run_dag(worker: LocalWorker, airflow: LocalAirflow) -> str:
    """Triggers the DAG over the REST API and follows it to its end; gives the run's id."""
    with step(f"waiting for the DAG {DAG}"):
        airflow.wait_dag(DAG)
    run_id = airflow.trigger(DAG)
    with step(f"run {run_id}") as going, Client(worker.address) as client:
        follow(airflow, client, run_id, going)
    if airflow.run_state(DAG, run_id) != "success":
        tries = airflow.task(DAG, run_id, TASK)["try_number"]
        log = airflow.task_log(DAG, run_id, TASK, max(tries, 1)).splitlines()
        raise StackError(f"{DAG} failed; the task's log ends:\n" + "\n".join(log[-LOG_LINES:]))
    return run_id


def follow(airflow: LocalAirflow, client: Client, run_id: str, going: Step) -> None:
    """Shows how far the job is until the run is over."""

    def over() -> bool:
        state = airflow.run_state(DAG, run_id)
        job = next(iter(client.list(dag_id=DAG, page_size=1)), None)
        # A job that is over says what came of it, not how far it is.
        told = "" if job is None else f", job {job.state}{f', {job.progress}' if job.state == 'running' else ''}"
        going.news = state + told
        return state in ("success", "failed")

    wait_until(f"run {run_id} is over", over, RUN_SECONDS, every=0.5)


def demo(keep: bool) -> None:
    """The whole of it."""
    with stack(keep) as (worker, airflow):
        try:
            start(worker, airflow)
            run_id = run_dag(worker, airflow)
            job_id = airflow.xcom(DAG, run_id, TASK, "job_id")
            with Client(worker.address) as client:
                receipt = client.get(job_id).receipt
            if receipt is None:
                raise StackError(f"the run {run_id} succeeded, but its job {job_id} has no receipt")
            landed = check(receipt, worker)
        except StackError as error:
            sys.exit(f"\nthe demo failed: {error}\n\nlogs are in {HOME}/airflow/processes and {worker.log}")
        print(report(receipt, landed))
        run = f"{airflow.url}/dags/{DAG}/runs/{run_id}/tasks/{TASK}"
        print(f"\nin a browser{'' if keep else ' (with `make demo KEEP=1`, which leaves all this running)'}")
        print(f"  the run      {run}")
        print(f"  its receipt  {run}/xcom")
        if keep:
            print(f"  log in as    {airflow.user} with the password {airflow.password}")
            print(f"\nthe worker listens on {worker.address} (gRPC and Flight); its state is in {worker.state_dir}")
            print("stop everything with: make demo-stop")


def asked_to_end(number: int, _frame: FrameType | None) -> None:
    """SIGTERM and SIGHUP end the program as Ctrl-C does: by way of every `finally`."""
    raise KeyboardInterrupt(signal.Signals(number).name)


def main() -> None:
    """Runs the demo, or stops one."""
    if sys.argv[1:] == ["--stop"]:
        print("stopped" if stop_left_running() else "no demo is running")
        return
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, asked_to_end)
    flights.fetch()
    build.build_worker()
    try:
        demo(keep=os.environ.get("KEEP", "") not in ("", "0"))
    except KeyboardInterrupt:
        sys.exit("\nended before it was done; everything is stopped")


if __name__ == "__main__":
    main()
