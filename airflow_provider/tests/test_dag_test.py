"""`dag.test()` on a machine where no worker runs: the process starts one of its own and takes it along."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import build
import pytest
from airflow.sdk import Connection
from moulin import Client
from pyiceberg.catalog.sql import SqlCatalog

from moulin_provider.hooks import local
from moulin_provider.hooks.connection import client_arguments

ROOT = Path(__file__).resolve().parents[2]

DAG_FILE = """
    from __future__ import annotations
    from typing import TYPE_CHECKING
    from airflow.sdk import DAG, task
    from moulin import csv, iceberg
    from moulin_provider.operators.moulin import MoulinQueryOperator

    if TYPE_CHECKING:
        import polars as pl

    with DAG("tried", schedule=None) as dag:

        @task.moulin(source=csv("{folder}/*.csv"), target=iceberg("tried.people"), deferrable={deferrable})
        def grown(people: pl.LazyFrame, age: int) -> pl.LazyFrame:
            import polars as pl

            return people.filter(pl.col("age") >= age)

        @task
        def count(receipt: dict) -> None:
            from moulin_provider.hooks.moulin import MoulinHook

            print("rows that were read:", MoulinHook().reader(receipt).read_all().num_rows)

        @task.moulin(
            source=csv("{folder}/*.csv"), tables={{"known": "tried.people"}}, target=iceberg("tried.others"),
            deferrable={deferrable},
        )
        def others(people: pl.LazyFrame, known: pl.LazyFrame) -> pl.LazyFrame:
            return people.join(known, on="name", how="anti")

        ask = MoulinQueryOperator(task_id="ask", sql="SELECT name FROM tried.others", deferrable={deferrable})

        @task
        def tell(result: dict) -> None:
            print("the others are:", result["rows"])

        landed = grown(age=18)
        count(landed)
        landed >> others() >> ask
        tell(ask.output)

    if __name__ == "__main__":
        run = dag.test()
        print("the run ended as", run.state)
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """An Airflow home with a database, which takes longer to make than all tests that need one."""
    home = tmp_path_factory.mktemp("home")
    migrate = [sys.executable, "-m", "airflow", "db", "migrate"]
    subprocess.run(migrate, env={**os.environ, "AIRFLOW_HOME": str(home)}, check=True, capture_output=True)
    return home


def run_file(home: Path, file: Path, state: Path, **more: str) -> str:
    """Runs a DAG file as a program, with a worker of its own; what it said."""
    env = {
        **os.environ,
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(file.parent),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW_CONN_MOULIN_DEFAULT": "moulin://local",
        "MOULIN_STATE_DIR": str(state),
        "MOULIN_BIN": os.environ.get("MOULIN_BIN") or str(build.worker_binary()),
        **more,
    }
    done = subprocess.run([sys.executable, str(file)], env=env, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


def landed(state: Path, table: str):
    catalog = SqlCatalog("moulin", uri=f"sqlite:///{state}/catalog.db", warehouse=f"file://{state}/warehouse")
    return catalog.load_table(table).scan().to_arrow()


@pytest.mark.parametrize("deferrable", [False, True])
def test_dag_test_needs_no_worker(home, tmp_path, deferrable):
    dags, state = tmp_path / "dags", tmp_path / "state"
    dags.mkdir()
    (tmp_path / "people.csv").write_text("name,age\na,17\nb,18\nc,40\n")
    file = dags / "tried.py"
    file.write_text(textwrap.dedent(DAG_FILE).format(folder=tmp_path, deferrable=deferrable))
    said = run_file(home, file, state)
    assert "the run ended as success" in said, said[-6000:]
    assert "rows that were read: 2" in said
    assert "priority 5" in next(line for line in said.splitlines() if "into tried.people" in line), "four are after it"
    assert "the others are: [{'name': 'a'}]" in said
    assert sorted(landed(state, "tried.people")["name"].to_pylist()) == ["b", "c"]
    running = [cmd for cmd in Path("/proc").glob("[0-9]*/environ") if str(state).encode() in _read(cmd)]
    assert running == [], "the worker ended with its process"


def test_the_example_that_the_documentation_runs_lands_its_rows(home, tmp_path):
    flights = tmp_path / "flights.csv"
    flights.write_text("origin,air_time,distance\nJFK,60,500\nEWR,NA,200\n")
    said = run_file(home, ROOT / "dags" / "clean_flights.py", tmp_path / "state", MOULIN_FLIGHTS=flights.as_uri())
    assert (tmp_path / "state").exists(), said[-6000:]
    assert landed(tmp_path / "state", "silver.flights")["speed_mph"].to_pylist() == [500.0], said[-6000:]


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


@pytest.mark.parametrize("where", ["environment", "file"])
def test_a_worker_of_the_process_takes_no_certificates_or_tokens(monkeypatch, tmp_path, where):
    monkeypatch.setenv("MOULIN_BIN", os.environ.get("MOULIN_BIN") or str(build.worker_binary()))
    if where == "environment":
        for what in ("CERTIFICATE", "PRIVATE_KEY", "CLIENT_CA"):
            monkeypatch.setenv(f"MOULIN_TLS_{what}", "/no/such.pem")
        monkeypatch.setenv("MOULIN_AUTH_TOKENS", "the-token-of-another-worker")
    else:
        config = tmp_path / "moulin.toml"
        config.write_text(
            'listen = "0.0.0.0:7070"\nauth = {tokens = ["the-token-of-another-worker"]}\n'
            '[tls]\ncertificate = "/no/such.pem"\nprivate_key = "/no/such.pem"\nclient_ca = "/no/such.pem"\n'
        )
        monkeypatch.setenv("MOULIN_CONFIG", str(config))
    connection = Connection(conn_id="c", conn_type="moulin", host="local", extra=f'{{"state_dir": "{tmp_path}"}}')
    with Client(**client_arguments(connection)) as client:
        assert client.describe().worker_id
    local._stop(local._running.pop(tmp_path)[0])


@pytest.mark.parametrize(
    ("program", "said"), [("", "no program `moulin`"), ("/bin/false", "did not start"), ("/bin/echo", "serve")]
)
def test_a_worker_that_does_not_start_is_said(monkeypatch, tmp_path, program, said):
    monkeypatch.setenv("MOULIN_BIN", program)
    monkeypatch.setenv("PATH", "")
    connection = Connection(conn_id="c", conn_type="moulin", host="local", extra=f'{{"state_dir": "{tmp_path}"}}')
    with pytest.raises(ValueError, match=said):
        client_arguments(connection)
