"""What Airflow itself finds in the installed package."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.resources import files

import jsonschema
import pytest
from airflow.providers_manager import ProvidersManager
from airflow_names import AIRFLOW, ProvidersManagerTaskRuntime

from moulin_provider import __version__, get_provider_info


@pytest.fixture(scope="module")
def providers() -> ProvidersManager:
    return ProvidersManager()


def test_the_provider_info_is_what_airflow_expects():
    schema = json.loads(files("airflow").joinpath("provider_info.schema.json").read_text())
    jsonschema.validate(get_provider_info(), schema)


def test_airflow_finds_the_provider(providers):
    assert providers.providers["airflow-provider-moulin"].version == __version__


def test_airflow_finds_the_connection_type_and_its_fields(providers):
    hook = ProvidersManagerTaskRuntime().hooks["moulin"]
    assert hook is not None
    assert hook.hook_class_name == "moulin_provider.hooks.moulin.MoulinHook"
    assert hook.connection_testable
    if AIRFLOW < (3, 2):
        return  # its form shows the extra as one JSON field
    names = {name.removeprefix("extra__moulin__") for name in providers.connection_form_widgets}
    assert {"tls", "timeout", "reconnect"} <= {name.rpartition("__")[2] for name in names}
    assert providers.field_behaviours["moulin"]["relabeling"]["password"] == "Token"


def test_airflow_finds_the_extra_link_and_the_decorator(providers):
    assert "moulin_provider.links.moulin.MoulinReceiptLink" in providers.extra_links_class_names
    assert "moulin" in dict(ProvidersManagerTaskRuntime().taskflow_decorators)


def test_a_dag_file_loads_no_package_but_ours():
    """What that takes is `python -m benches.parsing --imports`; what it is made of is seen here."""
    code = """
import sys
import airflow.sdk, airflow.providers.common.compat.sdk, airflow.sdk.bases.operator
from airflow.providers.common.compat.sdk import AirflowException, BaseOperator, BaseOperatorLink, conf
BaseOperator(task_id="any")  # at the first task of whichever kind Airflow 3.1 and 3.2 load more of what is theirs
before = set(sys.modules)
from moulin import csv, iceberg, sql
from moulin_provider.operators.moulin import MoulinLandOperator
MoulinLandOperator(task_id="t", source=csv("a.csv"), transform=sql("SELECT 1"), target=iceberg("a.b"))
print(*sorted({name.partition(".")[0] for name in set(sys.modules) - before}))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip().splitlines()[-1].split() == ["moulin", "moulin_provider"]
