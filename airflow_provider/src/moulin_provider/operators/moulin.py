"""The operators, each loaded from the module that it lives in when a DAG file asks for it."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from moulin_provider.operators.job import XCOM_JOB_ID, MoulinJobOperator
    from moulin_provider.operators.land import MoulinLandOperator
    from moulin_provider.operators.query import MoulinQueryOperator
    from moulin_provider.operators.replay import MoulinReplayOperator
    from moulin_provider.operators.transform import MoulinTransformOperator

__all__ = [
    "XCOM_JOB_ID",
    "MoulinJobOperator",
    "MoulinLandOperator",
    "MoulinQueryOperator",
    "MoulinReplayOperator",
    "MoulinTransformOperator",
]

_HOMES = {
    "XCOM_JOB_ID": "job",
    "MoulinJobOperator": "job",
    "MoulinLandOperator": "land",
    "MoulinQueryOperator": "query",
    "MoulinReplayOperator": "replay",
    "MoulinTransformOperator": "transform",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"moulin_provider.operators.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
