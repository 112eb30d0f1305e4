"""The code of the documentation, run as parts of a DAG file, and stored as Airflow stores DAGs."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

import pytest
from airflow_names import DagSerialization, parsed

ROOT = Path(__file__).resolve().parents[2]
PAGES = ("docs/operator.md", "airflow_provider/README.md", "README.md")
PRELUDE = """
from __future__ import annotations
from typing import TYPE_CHECKING, Any
from airflow.sdk import DAG, Asset, AssetWatcher, Param, task
from moulin import csv, iceberg, sql
from moulin_provider.assets import iceberg_asset
from moulin_provider.hooks.moulin import MoulinHook
from moulin_provider.operators.moulin import MoulinLandOperator
from moulin_provider.sensors.moulin import MoulinFileSensor
from moulin_provider.triggers.files import MoulinFilesTrigger
if TYPE_CHECKING:
    import polars as pl

with DAG("documented", schedule=None):
    land = MoulinLandOperator(task_id="of_another_block", source=csv("a.csv"), target=iceberg("a.b"))
"""


def blocks():
    for page in PAGES:
        text = (ROOT / page).read_text()
        for found in re.finditer(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE):
            if "moulin.Client" not in found[1]:  # of the client's own pages, which are tested there
                line = text[: found.start()].count("\n") + 1
                yield pytest.param(found[1], id=f"{page}:{line}")


@pytest.mark.parametrize("block", blocks())
def test_a_block_of_the_documentation_makes_tasks(block, tmp_path):
    (tmp_path / "documented.py").write_text(PRELUDE + textwrap.indent(block, "    "))
    bag = parsed(str(tmp_path))
    assert bag.import_errors == {}
    for dag in bag.dags.values():
        DagSerialization.to_dict(dag)
    made = {task for dag in bag.dags.values() for task in dag.task_ids}
    assert made - {"of_another_block"}


@pytest.mark.parametrize(
    "name",
    [
        "MoulinLandOperator(", "@task.moulin(", "@task.moulin_sql(", "MoulinFileSensor(", "MoulinFilesTrigger(",
        "MoulinHook()", "iceberg_asset(", "MoulinTransformOperator(", "MoulinQueryOperator(",
    ],
)  # fmt: skip
def test_there_is_code_for_everything_that_is_written_in_a_dag(name):
    text = (ROOT / "docs/operator.md").read_text()
    assert name in "\n".join(re.findall(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE))
