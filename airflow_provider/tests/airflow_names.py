"""What moved between the releases of Airflow that the provider works with, for tests that look inside."""

from __future__ import annotations

import inspect

import airflow

AIRFLOW = tuple(int(part) for part in airflow.__version__.split(".")[:2])

try:  # 3.2
    from airflow.sdk.providers_manager_runtime import ProvidersManagerTaskRuntime
except ImportError:  # 3.1
    from airflow.providers_manager import ProvidersManager as ProvidersManagerTaskRuntime

try:  # 3.2
    from airflow.dag_processing.dagbag import DagBag
except ImportError:  # 3.1
    from airflow.models.dagbag import DagBag

try:  # 3.2
    from airflow.serialization.serialized_objects import DagSerialization
except ImportError:  # 3.1
    from airflow.serialization.serialized_objects import SerializedDAG as DagSerialization

try:  # 3.2
    from airflow.sdk.exceptions import ParamValidationError
except ImportError:  # 3.1
    from airflow.exceptions import ParamValidationError


def parsed(folder: str) -> DagBag:
    """What the dag-processor finds in a folder."""
    bundle = {"bundle_name": "dags"} if "bundle_name" in inspect.signature(DagBag.__init__).parameters else {}
    return DagBag(dag_folder=folder, **bundle)


__all__ = ["AIRFLOW", "DagSerialization", "ParamValidationError", "ProvidersManagerTaskRuntime", "parsed"]
