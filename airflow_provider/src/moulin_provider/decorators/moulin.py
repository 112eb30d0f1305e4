"""`@task.moulin`: a function that writes a job's transform."""

from __future__ import annotations

import inspect
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import (
    AirflowFailException,
    DecoratedOperator,
    determine_kwargs,
    task_decorator_factory,
)

from moulin_provider.decorators.hints import check_frame_function, wrong_arguments
from moulin_provider.operators.land import MoulinLandOperator

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from typing import Concatenate, Literal

    import polars as pl
    from airflow.providers.common.compat.sdk import Context
    from moulin.landing import Landing
    from moulin.plan import JobPlan
    from moulin.source import Source
    from moulin.spec import JobSpec

    from moulin_provider.decorators.typed import Arguments, MoulinTask

# What the worker is asked to plan while only the schema of the source is wanted. The real target may have other
# columns than the source, which the transform is about to make, and would rightly be refused without it.
_PROBE_TABLE = "moulin_schema_probe.t"


class _MoulinDecoratedOperator(DecoratedOperator, MoulinLandOperator):
    """Lands what a decorated function makes of its first argument, a `polars.LazyFrame`.

    The function runs once, when the task runs, on a frame without rows that has the columns of the source. What it
    returns is not data but a plan, which the worker carries out on the real rows.
    """

    custom_operator_name = "@task.moulin"
    template_fields: Sequence[str] = (
        *DecoratedOperator.template_fields,
        *(field for field in MoulinLandOperator.template_fields if field != "transform"),
    )
    template_fields_renderers = {  # noqa: RUF012
        **DecoratedOperator.template_fields_renderers,
        **MoulinLandOperator.template_fields_renderers,
    }

    def __init__(
        self,
        *,
        python_callable: Callable[..., Any],
        op_args: Collection[Any] | None = None,
        op_kwargs: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        if "transform" in kwargs:
            raise TypeError("@task.moulin takes no transform: the decorated function is the transform")
        check_frame_function(python_callable)
        super().__init__(
            python_callable=python_callable,
            # The frame comes first, and only when the task runs: until then its place is held.
            op_args=(None, *(op_args or ())),
            op_kwargs=op_kwargs,
            **kwargs,
        )

    def execute(self, context: Context) -> Any:
        """Runs the function on an empty frame and lands what it describes."""
        from moulin.errors import MoulinError

        from moulin_provider.outcome import failure

        name = self.python_callable.__name__
        try:
            frame = self._empty_input()
        except MoulinError as error:
            raise failure(error.fault, f"the columns of the source of {name} are not known") from None
        self.transform = self._plan_of(frame, context)
        return super().execute(context)

    def _plan_for_lineage(self, spec: JobSpec) -> JobPlan | None:
        # After a deferral nobody has asked the function: without its plan the columns would be those of the source.
        return super()._plan_for_lineage(spec) if self.transform is not None else None

    def _empty_input(self) -> pl.LazyFrame:
        from moulin.frame import empty_frame
        from moulin.landing import iceberg
        from moulin.spec import JobSpec

        source = self.job_spec().source
        if source is None:
            raise ValueError("@task.moulin: found a job without a source, expected files to read")
        # The table that is asked about is nobody's: whether the real one must be there is said when the job is planned.
        source = replace(source, contract=replace(source.contract, tables="evolve"))
        with self.hook.get_conn() as client:
            plan = client.plan(JobSpec(source=source, target=iceberg(_PROBE_TABLE)))
        self.log.info("input: %s", ", ".join(f"{column.name} {column.type}" for column in plan.input))
        return empty_frame(plan.input)

    def _plan_of(self, frame: pl.LazyFrame, context: Context) -> Any:
        import polars as pl
        from moulin.errors import MoulinError
        from moulin.transform import polars_plan

        from moulin_provider.outcome import failure

        function = self.python_callable
        refuse_wrong_arguments(function, self.op_args, self.op_kwargs)
        # As with `@task`, an argument named like a value of the context gets that value.
        wanted = determine_kwargs(function, self.op_args, {**context, **self.op_kwargs})
        made = function(frame, *tuple(self.op_args)[1:], **wanted)
        if not isinstance(made, pl.LazyFrame):
            raise AirflowFailException(
                f"{function.__name__} returned {_described(made)}, "
                "expected the polars.LazyFrame that describes what is to land"
            )
        try:
            return polars_plan(made)
        except MoulinError as error:
            raise failure(error.fault, f"the plan of {function.__name__} cannot travel") from None


def refuse_wrong_arguments(function: Callable[..., Any], args: Collection[Any], kwargs: Mapping[str, Any]) -> None:
    """Ends the task when its arguments, now that they are rendered, are not what the function says they are."""
    given = dict(zip(inspect.signature(function).parameters, args, strict=False))
    # The place of the frame, which is not there yet.
    wrong = wrong_arguments(function, {**{name: one for name, one in given.items() if one is not None}, **kwargs})
    if wrong:
        hint = "a template gives a text unless the DAG says render_template_as_native_obj=True"
        raise AirflowFailException("; ".join((*wrong, hint)))


def _described(value: object) -> str:
    if value is None:
        return "None (is there a return statement?)"
    if inspect.isawaitable(value):
        return "a coroutine (the function must not be async)"
    kind = type(value)
    hint = "; leave out .collect()" if kind.__module__.startswith("polars") and kind.__name__ == "DataFrame" else ""
    return f"a value of type {kind.__module__}.{kind.__qualname__}{hint}"


if TYPE_CHECKING:

    def moulin_task(
        *,
        source: Source | Mapping[str, Any] | str,
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
        **kwargs: Any,
    ) -> Callable[[Callable[Concatenate[pl.LazyFrame, Arguments], pl.LazyFrame]], MoulinTask[Arguments]]:
        """`@moulin_task(source=csv(...), target=iceberg(...))`, which is `@task.moulin` with types."""

else:

    def moulin_task(python_callable=None, **kwargs):
        """`@task.moulin(source=csv(...), target=iceberg(...))`: the function's body is the transform.

        The function takes a `polars.LazyFrame` as its first argument and returns the one that is to land. Further
        arguments are given where the task is called. Keywords are those of `MoulinLandOperator` without `transform`.
        """
        return task_decorator_factory(
            python_callable=python_callable,
            # A receipt is one value. Said here, or Airflow resolves the annotation, which may name a type that is not
            # imported when the file is parsed.
            multiple_outputs=kwargs.pop("multiple_outputs", False),
            decorated_operator_class=_MoulinDecoratedOperator,
            **kwargs,
        )
