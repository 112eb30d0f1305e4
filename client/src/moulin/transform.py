"""What happens to rows between reading and landing."""

from __future__ import annotations

import base64
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from moulin import _argument as argument
from moulin.errors import SpecError, SpecTypeError

if TYPE_CHECKING:
    import polars as pl

# A plan is a description; one that is larger than this carries the rows themselves.
_PLAN_MAX_BYTES = 32 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Sql:
    """One SELECT over the table `input`. Made by `sql`."""

    query: str

    def __post_init__(self) -> None:
        argument.text("sql query", self.query)

    def to_dict(self) -> dict[str, Any]:
        """The transform in the shape of a job file."""
        return {"sql": self.query}


@dataclass(frozen=True, slots=True)
class PolarsPlan:
    """A serialized Polars LazyFrame. Made by `polars_plan`."""

    plan: bytes = field(repr=False)
    polars_version: str = ""

    def __post_init__(self) -> None:
        if not isinstance(self.plan, bytes):
            raise SpecTypeError.about("polars plan", self.plan, "the bytes of LazyFrame.serialize()")
        if not self.plan:
            raise SpecError.about("polars plan", self.plan, "the bytes of LazyFrame.serialize()")

    def to_dict(self) -> dict[str, Any]:
        """The transform as JSON values, the plan in base64."""
        plan = base64.b64encode(self.plan).decode("ascii")
        return {"polars": {"plan": plan, "polars_version": self.polars_version}}


Transform = Sql | PolarsPlan


def sql(query: str) -> Sql:
    """A transform in SQL: one SELECT over the table `input`, in DataFusion's dialect."""
    return Sql(query)


def polars_plan(frame: pl.LazyFrame) -> PolarsPlan:
    """A transform written as a Polars LazyFrame; only the plan travels.

    The frame starts from an empty one with the input's columns (`pl.LazyFrame(schema=...)` or
    `moulin.empty_frame(...)`); the worker puts the real rows in its place. It may hold no Python function and
    scan no file, and must be made by the Polars release that the worker reads (`Client.describe()` names it).
    """
    if not is_lazy_frame(frame):
        raise SpecTypeError.about("polars_plan frame", frame, "a polars.LazyFrame (a DataFrame becomes one by .lazy())")
    import polars as pl

    try:
        plan = frame.serialize(format="binary")
    except Exception as error:
        if "cloudpickle" in str(error):  # which polars asks for when, and only when, a plan holds Python code
            expected = "expressions of Polars only: a plan runs in the worker, without Python"
            raise SpecError.about("polars_plan frame", "a plan with a Python function", expected) from error
        raise SpecError.about("polars_plan frame", str(error), "a LazyFrame that polars can serialize") from error
    if len(plan) > _PLAN_MAX_BYTES:
        expected = f"at the most {_PLAN_MAX_BYTES}: start from an empty frame, the worker supplies the rows"
        raise SpecError.about("polars_plan size in bytes", len(plan), expected)
    return PolarsPlan(plan, pl.__version__)


def is_lazy_frame(value: object) -> bool:
    """Whether a value is a Polars LazyFrame; does not import polars to find out."""
    polars = sys.modules.get("polars")
    return polars is not None and isinstance(value, polars.LazyFrame)


def transform_from(value: object) -> Transform | None:
    """Whatever is accepted as a transform: nothing, `sql(...)`, a LazyFrame, or the `transform` of a job file."""
    if value is None or isinstance(value, Transform):
        return value
    if is_lazy_frame(value):
        return polars_plan(value)  # type: ignore[arg-type]
    if isinstance(value, Mapping):
        return _from_dict(value)
    raise SpecTypeError.about("transform", value, "sql('SELECT ...'), a polars.LazyFrame or None")


def _from_dict(value: Mapping[str, Any]) -> Transform:
    found = argument.fields("transform", value, ("sql", "polars"))
    if len(found) != 1:
        raise SpecError.about("transform", sorted(found), "either sql or polars")
    if "sql" in found:
        return Sql(found["sql"])
    plan = argument.fields("transform polars", found["polars"], ("plan", "polars_version"))
    return PolarsPlan(_plan_bytes(argument.required("transform polars", plan, "plan")), plan.get("polars_version", ""))


def _plan_bytes(value: object) -> bytes:
    if not isinstance(value, str):
        raise SpecTypeError.about("transform polars plan", value, "a text in base64")
    try:
        return base64.b64decode(value.strip(), validate=True)
    except ValueError as error:
        raise SpecError.about("transform polars plan", value, "a text in base64") from error
