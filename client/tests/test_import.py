"""What the package costs before anything is done with it."""

from __future__ import annotations

import ast
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import moulin

BUILD = """
import sys, moulin
spec = moulin.JobSpec(
    source=moulin.csv("file:///data/a.csv", columns={"price": "decimal(12,2)"}),
    transform=moulin.sql("SELECT * FROM input"),
    target=moulin.iceberg("bronze.a", partition_by=["month(t)"]),
)
moulin.JobSpec.from_dict(spec.to_dict()).to_yaml()
print(sorted({name.partition(".")[0] for name in sys.modules} & {"grpc", "google", "pyarrow", "polars", "numpy"}))
"""


def test_importing_and_building_a_spec_pulls_in_nothing_heavy() -> None:
    done = subprocess.run([sys.executable, "-c", BUILD], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_every_public_name_is_there_and_documented() -> None:
    for name in moulin.__all__:
        assert getattr(moulin, name).__doc__, name


def test_type_checkers_see_the_names_that_the_interpreter_finds() -> None:
    tree = ast.parse(Path(moulin.__file__).read_text())
    block = next(node for node in tree.body if isinstance(node, ast.If))
    seen = {alias.name: node.module for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert sorted(seen) == sorted(moulin.__all__)
    for name, module in seen.items():
        assert getattr(moulin, name) is getattr(import_module(str(module)), name)
