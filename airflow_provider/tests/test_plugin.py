"""The plugin: a dag-processor has the package loaded before it forks, and no other process loads it for nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap

import pytest
from airflow.sdk import DAG
from airflow.sdk.definitions._internal.contextmanager import DagContext

from moulin_provider.plugins import moulin as plugin

LOADED = {
    "moulin.source.builders", "moulin.landing", "moulin.tables", "moulin_provider.operators.land",
    "moulin_provider.decorators.moulin", "moulin_provider.sensors.moulin", "moulin_provider.triggers.files",
}  # fmt: skip
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
    plugins_manager.ensure_plugins_loaded()
    found = getattr(plugins_manager, "plugins", None)  # 3.1
    names = [plugin.name for plugin in (plugins_manager._get_plugins()[0] if found is None else found)]
    print("FOUND", json.dumps([names, sorted(sys.modules)]))
    """
    (said,) = [line for line in run(code, "-c").splitlines() if line.startswith("FOUND ")]
    names, modules = json.loads(said.removeprefix("FOUND "))
    assert "moulin" in names
    assert not set(modules) & (LOADED | HEAVY)


def test_what_is_made_ahead_belongs_to_no_dag():
    with DAG("d", schedule=None) as dag:
        plugin.load_what_dag_files_use()
        assert not dag.tasks
        assert DagContext.get_current() is dag


def test_a_dag_processor_starts_although_nothing_could_be_made_ahead(monkeypatch, caplog):
    def broken(times: int) -> None:
        raise RuntimeError(f"no task could be made {times} times")

    monkeypatch.setattr(plugin, "make_what_dag_files_make", broken)
    monkeypatch.setitem(sys.modules, "airflow.dag_processing.manager", object())
    plugin.MoulinPlugin.on_load()
    assert "no task could be made" in caplog.text


def test_code_is_adapted_to_what_dag_files_make_before_they_are_parsed():
    code = """
    import dis
    from moulin_provider.plugins.moulin import load_what_dag_files_use
    load_what_dag_files_use()
    from airflow.serialization.helpers import serialize_template_field
    from airflow.serialization.serialized_objects import BaseSerialization
    from moulin.source import csv
    from moulin_provider.operators.moulin import MoulinLandOperator
    made = (csv, MoulinLandOperator.__init__.__wrapped__)
    for function in (*made, serialize_template_field, BaseSerialization.serialize_to_json):
        plain = [one.opname for one in dis.get_instructions(function)]
        adapted = [one.opname for one in dis.get_instructions(function, adaptive=True)]
        assert plain != adapted, function
    """
    run(code, "-c")
