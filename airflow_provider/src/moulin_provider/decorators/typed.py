"""What a decorated function is to a type checker: the same arguments without the frame, and an `XComArg`.

Nothing of this exists when a DAG runs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ParamSpec, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow.sdk import XComArg
    from airflow.sdk.definitions._internal.expandinput import OperatorExpandArgument, OperatorExpandKwargsArgument

Arguments = ParamSpec("Arguments")


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
