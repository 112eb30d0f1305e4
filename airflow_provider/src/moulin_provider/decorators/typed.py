"""What a decorated function is to a type checker: the same arguments without the frame, and an `XComArg`.

Nothing of this exists when a DAG runs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Concatenate, Literal, ParamSpec, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import polars as pl
    from airflow.sdk import XComArg
    from airflow.sdk.definitions._internal.expandinput import OperatorExpandArgument, OperatorExpandKwargsArgument
    from moulin.landing import Landing
    from moulin.source import Source
    from moulin.tables import TableInput

Arguments = ParamSpec("Arguments")
Decorator = TypeVar("Decorator", covariant=True)


class MoulinTask(Protocol[Arguments]):
    """A decorated function: called in a DAG file it makes a task, whose value is the receipt."""

    @property
    def function(self) -> Callable[..., Any]:
        """The function as it was written."""

    def __call__(self, *args: Arguments.args, **kwargs: Arguments.kwargs) -> XComArg:
        """Makes the task; the frame is not given here."""

    def partial(self, **kwargs: Any) -> MoulinTask[Arguments]:
        """Arguments that all mapped task instances have in common."""

    def expand(self, **kwargs: OperatorExpandArgument) -> XComArg:
        """One task instance for each value."""

    def expand_kwargs(self, kwargs: OperatorExpandKwargsArgument, *, strict: bool = True) -> XComArg:
        """One task instance for each set of arguments."""

    def override(self, **kwargs: Any) -> MoulinTask[Arguments]:
        """The same function with other arguments of the operator."""


class LandingDecorator(Protocol[Decorator]):
    """`@moulin_task(...)` and its like: the arguments of `MoulinLandOperator` without the transform."""

    def __call__(
        self,
        *,
        source: Source | Mapping[str, Any] | str | None = None,
        tables: Mapping[str, TableInput | Mapping[str, Any] | str] | None = None,
        target: Landing | Mapping[str, Any] | str,
        on_bad_row: Literal["fail", "skip", "quarantine"] = "fail",
        max_bad_rows: int | None = None,
        max_bad_ratio: float | None = None,
        moulin_conn_id: str = "moulin_default",
        deferrable: bool = False,
        wait_for_completion: bool = True,
        poll_interval: float = 5.0,
        cancel_on_kill: bool = True,
        durable: bool = True,
        catalog: str = "moulin",
        **kwargs: Any,
    ) -> Decorator:
        """What takes the function."""


class OfOneFrame(Protocol):
    """Takes a function of a frame, and of arguments that are given where the task is called."""

    def __call__(
        self, function: Callable[Concatenate[pl.LazyFrame, Arguments], pl.LazyFrame], /
    ) -> MoulinTask[Arguments]:
        """Makes the task of the function."""


class OfFrames(Protocol):
    """Takes a function of several frames. Which of its arguments are frames stands in `tables`, where no type checker
    sees it: those that are given where the task is called are not checked.
    """

    def __call__(self, function: Callable[..., pl.LazyFrame], /) -> MoulinTask[...]:
        """Makes the task of the function."""


class OfQuery(Protocol):
    """Takes a function that returns a SELECT."""

    def __call__(self, function: Callable[Arguments, str], /) -> MoulinTask[Arguments]:
        """Makes the task of the function."""
