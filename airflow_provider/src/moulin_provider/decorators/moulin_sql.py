"""`@task.moulin_sql`: a function that writes a job's SELECT."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import (
    AirflowFailException,
    DecoratedOperator,
    determine_kwargs,
    task_decorator_factory,
)

from moulin_provider.decorators.hints import check_query_function
from moulin_provider.decorators.moulin import check_inputs, refuse_wrong_arguments
from moulin_provider.operators.land import MoulinLandOperator

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from airflow.providers.common.compat.sdk import Context
    from moulin.source import Source

    from moulin_provider.decorators.typed import LandingDecorator, OfQuery


class _MoulinSqlDecoratedOperator(DecoratedOperator, MoulinLandOperator):
    """Lands what the SELECT makes of the source that a decorated function returns.

    The function runs when the task runs; templates in the text it returns are rendered, and the page of the task
    shows the text as it was sent.
    """

    custom_operator_name = "@task.moulin_sql"
    template_fields: Sequence[str] = (*DecoratedOperator.template_fields, *MoulinLandOperator.template_fields)
    template_fields_renderers = {  # noqa: RUF012
        **DecoratedOperator.template_fields_renderers,
        **MoulinLandOperator.template_fields_renderers,
    }
    overwrite_rtif_after_execution = True

    def __init__(
        self,
        *,
        python_callable: Callable[..., Any],
        source: Source | Mapping[str, Any] | str | None = None,
        tables: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        if "transform" in kwargs:
            raise TypeError("@task.moulin_sql takes no transform: the decorated function returns it")
        check_inputs("@task.moulin_sql", source, tables)
        check_query_function(python_callable)
        super().__init__(python_callable=python_callable, source=source, tables=tables, **kwargs)

    def execute(self, context: Context) -> Any:
        """Asks the function for the SELECT and lands what it makes of the source."""
        self.transform = self.render_template(self._query(context), context)
        return super().execute(context)

    def execute_complete(self, context: Context, event: dict[str, Any] | None = None, query: str | None = None) -> Any:
        """The end of a deferred task, in a process that has not asked the function."""
        self.transform = query
        return super().execute_complete(context, event)

    def _defer_kwargs(self) -> dict[str, Any]:
        return {"query": self.transform}

    def _query(self, context: Context) -> str:
        function = self.python_callable
        refuse_wrong_arguments(function, self.op_args, self.op_kwargs)
        wanted = determine_kwargs(function, self.op_args, {**context, **self.op_kwargs})
        query = function(*self.op_args, **wanted)
        if not isinstance(query, str) or not query.strip():
            found = "an empty text" if isinstance(query, str) else f"a value of type {type(query).__name__}"
            raise AirflowFailException(f"{function.__name__} returned {found}, expected the text of a SELECT")
        return query


if TYPE_CHECKING:
    moulin_sql_task: LandingDecorator[OfQuery]
    """`@moulin_sql_task(source=csv(...), target=iceberg(...))`, which is `@task.moulin_sql` with types."""
else:

    def moulin_sql_task(python_callable=None, **kwargs):
        """`@task.moulin_sql(source=csv(...), target=iceberg(...))`: the function returns the SELECT over `input`.

        `tables={"airlines": table("bronze.airlines")}` are tables that it may name too, with a source or alone.
        Keywords are those of `MoulinLandOperator` without `transform`.
        """
        return task_decorator_factory(
            python_callable=python_callable,
            multiple_outputs=kwargs.pop("multiple_outputs", False),
            decorated_operator_class=_MoulinSqlDecoratedOperator,
            **kwargs,
        )
