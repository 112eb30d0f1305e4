"""The plugin: a dag-processor has the package loaded before it forks, and no other process loads it for nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap

import pytest

LOADED = {"moulin.source.builders", "moulin.landing", "moulin.tables", "moulin_provider.operators.land"}
HEAVY = {"grpc", "pyarrow", "polars"}


def run(code: str, *arguments: str, **env: str) -> str:
    done = subprocess.run(
        [sys.executable, *arguments, textwrap.dedent(code)] if code else [sys.executable, *arguments],
        env={**os.environ, **env}, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout


@pytest.fixture
def inherited(tmp_path):
    """The modules that a DAG file finds loaded in a real dag-processor."""
    dags, told = tmp_path / "dags", tmp_path / "told.json"
    dags.mkdir()
    (dags / "told.py").write_text(
        f"import json, sys\nmodules = sorted(sys.modules)\n"
        f"open({str(told)!r}, 'w').write(json.dumps(modules))\n"
        "from airflow.sdk import DAG\nwith DAG('told', schedule=None): pass\n"
    )
    env = {"AIRFLOW_HOME": str(tmp_path / "home"), "AIRFLOW__CORE__DAGS_FOLDER": str(dags)}
    run("", "-m", "airflow", "db", "migrate", **env)
    run("", "-m", "airflow", "dag-processor", "--num-runs", "1", **env)
    return set(json.loads(told.read_text()))


def test_a_dag_file_finds_the_package_loaded_in_a_dag_processor(inherited):
    assert inherited >= LOADED
    assert not inherited & {"grpc", "polars", "moulin.client", "moulin.flight"}


def test_any_other_process_that_loads_plugins_does_not_load_it():
    code = """
    import json, sys
    from airflow.listeners.listener import get_listener_manager
    get_listener_manager()
    from airflow import plugins_manager
    names = [plugin.name for plugin in plugins_manager._get_plugins()[0]]
    print("FOUND", json.dumps([names, sorted(sys.modules)]))
    """
    (said,) = [line for line in run(code, "-c").splitlines() if line.startswith("FOUND ")]
    names, modules = json.loads(said.removeprefix("FOUND "))
    assert "moulin" in names
    assert not set(modules) & (LOADED | HEAVY)
