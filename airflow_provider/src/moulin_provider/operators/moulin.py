"""The operators, each from the module that it lives in."""

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
