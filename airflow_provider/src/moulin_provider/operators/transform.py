"""The task that makes an Iceberg table of others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from moulin_provider.assets import CATALOG
from moulin_provider.operators.job import (
    DEFERRABLE,
    MOULIN_CONN_ID,
    MoulinJobOperator,
    parsed,
    templated,
    templated_tables,
    transform_of,
)
from moulin_provider.template_fields import template_fields

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import polars as pl
    from moulin.landing import Landing
    from moulin.spec import JobSpec
    from moulin.tables import TableInput
    from moulin.transform import PolarsPlan, Sql


class MoulinTransformOperator(MoulinJobOperator):
    """Lands what a SELECT, or a Polars plan, makes of Iceberg tables of the worker's catalog.

    Of each table the worker reads one snapshot, which it pins when it takes the job: a table that is written to
    meanwhile changes nothing, and every attempt and retry of the job reads the same rows. The receipt names them.
    A cleared task reads the tables as they are then, and its rows replace those of the job before in one snapshot,
    unless the target's `on_rerun` says otherwise.

    :param tables: what to read, by the names that the transform knows the tables by: `moulin.table(...)`, the name
        `namespace.table` alone, or a dict; or the name of a `.yaml` file with all of them. (templated)
    :param target: where rows go: `moulin.iceberg(...)`, or a dict or `.yaml` file in that shape. (templated)
    :param transform: `moulin.sql(...)`, a SELECT as text (or the name of a `.sql` file), a `polars.LazyFrame` over
        `moulin.empty_frame(..., name=...)`, or a dict. None: the rows of the one table land as they are. (templated)

    The other arguments (`moulin_conn_id`, `deferrable`, `wait_for_completion`, `poll_interval`, `cancel_on_kill`,
    `durable`) and what the task returns are those of `MoulinJobOperator`.
    """

    template_fields: Sequence[str] = template_fields(
        "tables", "transform", "target", "moulin_conn_id", moulin_conn_id=MOULIN_CONN_ID
    )
    template_fields_renderers = {"tables": "yaml", "transform": "sql", "target": "yaml"}  # noqa: RUF012
    ui_color = "#dcf2e6"

    tables: Any
    transform: Any

    def __init__(
        self,
        *,
        tables: Mapping[str, TableInput | Mapping[str, Any] | str] | str,
        target: Landing | Mapping[str, Any] | str,
        transform: Sql | PolarsPlan | pl.LazyFrame | Mapping[str, Any] | str | None = None,
        moulin_conn_id: str = MOULIN_CONN_ID,
        deferrable: bool = DEFERRABLE,
        wait_for_completion: bool = True,
        poll_interval: float = 5.0,
        cancel_on_kill: bool = True,
        durable: bool = True,
        catalog: str = CATALOG,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._set_up(
            kwargs,
            target=target,
            catalog=catalog,
            moulin_conn_id=moulin_conn_id,
            deferrable=deferrable,
            wait_for_completion=wait_for_completion,
            poll_interval=poll_interval,
            cancel_on_kill=cancel_on_kill,
            durable=durable,
            tables=templated_tables(tables),
            transform=templated(transform),
        )

    def job_spec(self) -> JobSpec:
        """The job, from the arguments as they are rendered."""
        from moulin.spec import JobSpec

        return JobSpec(
            tables=parsed("tables", self.tables),
            target=parsed("target", self.target),
            transform=transform_of(self.transform),
            deadline=self.execution_timeout,
        )
