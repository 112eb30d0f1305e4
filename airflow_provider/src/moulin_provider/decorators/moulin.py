"""`@task.moulin`: a function that writes a job's transform."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import (
    AirflowFailException,
    DecoratedOperator,
    determine_kwargs,
    task_decorator_factory,
)

from moulin_provider.decorators.hints import check_frame_function, frames_of, placed, with_frames, wrong_arguments
from moulin_provider.operators.land import MoulinLandOperator

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    import polars as pl
    from airflow.providers.common.compat.sdk import Context
    from moulin.plan import JobPlan
    from moulin.source import Source
    from moulin.spec import JobSpec

    from moulin_provider.decorators.typed import LandingDecorator, OfFrames, OfOneFrame

# What the worker is asked to plan while only the schema of the source is wanted. The real target may have other
# columns than the source, which the transform is about to make, and would rightly be refused without it.
_PROBE_TABLE = "moulin_schema_probe.t"


class _MoulinDecoratedOperator(DecoratedOperator, MoulinLandOperator):
    """Lands what a decorated function makes of `polars.LazyFrame`s: one of the source, and one of each table.

    The function runs once, when the task runs, on frames without rows that have the columns of the inputs. What it
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
        source: Source | Mapping[str, Any] | str | None = None,
        tables: Mapping[str, Any] | None = None,
        op_args: Collection[Any] | None = None,
        op_kwargs: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        if "transform" in kwargs:
            raise TypeError("@task.moulin takes no transform: the decorated function is the transform")
        check_inputs("@task.moulin", source, tables)
        self._frames = frames_of(python_callable, files=source is not None, tables=tables or ())
        check_frame_function(python_callable, self._frames)
        # There are frames only when the task runs: until then their places are held.
        args, named = placed(python_callable, dict.fromkeys(self._frames), op_args or (), op_kwargs or {})
        super().__init__(
            python_callable=python_callable, source=source, tables=tables, op_args=args, op_kwargs=named, **kwargs
        )

    def execute(self, context: Context) -> Any:
        """Runs the function on empty frames and lands what it describes."""
        from moulin.errors import MoulinError

        from moulin_provider.outcome import failure

        name = self.python_callable.__name__
        try:
            inputs = self._empty_inputs()
        except MoulinError as error:
            raise failure(error.fault, f"the columns of the inputs of {name} are not known") from None
        self.transform = self._plan_of({name: inputs[one] for name, one in self._frames.items()}, context)
        return super().execute(context)

    def _plan_for_lineage(self, spec: JobSpec) -> JobPlan | None:
        # After a deferral nobody has asked the function: without its plan the columns would be those of the source.
        return super()._plan_for_lineage(spec) if self.transform is not None else None

    def _empty_inputs(self) -> dict[str, pl.LazyFrame]:
        """A frame without rows for each input, by the input's name."""
        from moulin.frame import empty_frame

        plan = self._plan_of_inputs()
        columns = {one.name: one.columns for one in plan.tables}
        if self.source is not None:
            columns["input"] = plan.input
        for name, found in columns.items():
            self.log.info("%s: %s", name, ", ".join(f"{column.name} {column.type}" for column in found))
        # A plan over several frames says by their names which is which.
        return {name: empty_frame(found, name=name if len(columns) > 1 else None) for name, found in columns.items()}

    def _plan_of_inputs(self) -> JobPlan:
        """What the worker says of the inputs, whatever is to be made of them."""
        from moulin.landing import iceberg
        from moulin.spec import JobSpec
        from moulin.transform import sql

        spec = self.job_spec()
        source = spec.source
        if source is not None:
            # The table that is asked about is nobody's: whether the real one must be there is said when the job is
            # planned.
            source = replace(source, contract=replace(source.contract, tables="evolve"))
        names = [*(["input"] if source is not None else []), *spec.tables]
        # Several inputs need a transform that reads them all.
        counts = " CROSS JOIN ".join(f'(SELECT count(*) AS "{name}" FROM "{name}")' for name in names)
        reads_all = sql(f"SELECT * FROM {counts}") if len(names) > 1 else None
        with self.hook.get_conn() as client:
            return client.plan(
                JobSpec(source=source, tables=spec.tables, transform=reads_all, target=iceberg(_PROBE_TABLE))
            )

    def _plan_of(self, frames: Mapping[str, pl.LazyFrame], context: Context) -> Any:
        import polars as pl
        from moulin.errors import MoulinError
        from moulin.transform import polars_plan

        from moulin_provider.outcome import failure

        function = self.python_callable
        given = {name: one for name, one in self.op_kwargs.items() if name not in frames}
        refuse_wrong_arguments(function, self.op_args, given)
        args, named = with_frames(function, frames, self.op_args, self.op_kwargs)
        # As with `@task`, an argument named like a value of the context gets that value.
        made = function(*args, **determine_kwargs(function, args, {**context, **named}))
        if not isinstance(made, pl.LazyFrame):
            raise AirflowFailException(
                f"{function.__name__} returned {_described(made)}, "
                "expected the polars.LazyFrame that describes what is to land"
            )
        try:
            return polars_plan(made)
        except MoulinError as error:
            raise failure(error.fault, f"the plan of {function.__name__} cannot travel") from None


def check_inputs(decorator: str, source: object, tables: object) -> None:
    """Refuses a task that reads nothing, or tables whose names are not known when the DAG file is parsed."""
    if source is None and not tables:
        raise TypeError(f"{decorator} needs something to read: source=csv(...), or tables={{'name': table(...)}}")
    if tables is not None and not isinstance(tables, Mapping):
        raise TypeError(f"tables of {decorator}: found {tables!r}, expected a dict of names and tables")


def refuse_wrong_arguments(function: Callable[..., Any], args: Collection[Any], kwargs: Mapping[str, Any]) -> None:
    """Ends the task when its arguments, now that they are rendered, are not what the function says they are."""
    given = dict(zip(inspect.signature(function).parameters, args, strict=False))
    # The places of frames, which are not there yet.
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
    moulin_task: LandingDecorator[OfOneFrame]
    """`@moulin_task(source=csv(...), target=iceberg(...))`, which is `@task.moulin` with types."""
    moulin_tables_task: LandingDecorator[OfFrames]
    """`@moulin_tables_task(tables={...}, target=...)`: `@task.moulin` for a function of several frames."""
else:

    def moulin_task(python_callable=None, **kwargs):
        """`@task.moulin(source=csv(...), target=iceberg(...))`: the function's body is the transform.

        The function takes a `polars.LazyFrame` as its first argument and returns the one that is to land. With
        `tables={"airlines": table("bronze.airlines")}` it takes another for each table, as the argument of that name;
        without a source those alone. Further arguments are given where the task is called. Keywords are those of
        `MoulinLandOperator` without `transform`.
        """
        return task_decorator_factory(
            python_callable=python_callable,
            # A receipt is one value. Said here, or Airflow resolves the annotation, which may name a type that is not
            # imported when the file is parsed.
            multiple_outputs=kwargs.pop("multiple_outputs", False),
            decorated_operator_class=_MoulinDecoratedOperator,
            **kwargs,
        )

    moulin_tables_task = moulin_task
