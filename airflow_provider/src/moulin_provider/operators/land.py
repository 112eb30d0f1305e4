"""The task that lands files in an Iceberg table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

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
    from moulin.source import Source
    from moulin.spec import JobSpec
    from moulin.tables import TableInput
    from moulin.transform import PolarsPlan, Sql


class MoulinLandOperator(MoulinJobOperator):
    """Lands files in an Iceberg table through a Moulin worker, each input row once or not at all.

    Every try of a task instance asks for the same job, so a retry, a lost worker process or a restarted scheduler
    finds the job that is running, or the receipt of the one that is done. A cleared task asks for a new job, whose
    rows replace those of the job before in one snapshot, unless the target's `on_rerun` says otherwise.

    :param source: what to read: `moulin.csv(...)`, `tsv(...)`, `ndjson(...)`, `json(...)`, `parquet(...)`, or a dict
        (or the name of a `.yaml` file with one) in the shape of a job file. (templated)
    :param target: where rows go: `moulin.iceberg(...)`, or such a dict or file. (templated)
    :param transform: what happens in between: `moulin.sql(...)`, a SELECT as text (or the name of a `.sql` file),
        a `polars.LazyFrame`, or a dict. None: rows land as they are read. (templated)
    :param tables: Iceberg tables that the transform reads beside the files, by the names that it knows them by, as
        for `MoulinTransformOperator`. (templated)
    :param on_bad_row: `fail` ends the job at the first row that does not fit, `skip` counts such rows and leaves
        them out, `quarantine` also keeps every one, with its place, its reason and its bytes. (templated)
    :param max_bad_rows: more such rows fail the job, and nothing is visible. None: no limit.
    :param max_bad_ratio: a larger share of such rows among all rows read, 0 to 1, fails the job at its end, and
        nothing is visible. None: no limit.

    The other arguments (`moulin_conn_id`, `deferrable`, `wait_for_completion`, `poll_interval`, `cancel_on_kill`,
    `durable`) and what the task returns are those of `MoulinJobOperator`.
    """

    template_fields: Sequence[str] = template_fields(
        "source", "transform", "tables", "target", "on_bad_row", "moulin_conn_id",
        tables=None, on_bad_row="fail", moulin_conn_id=MOULIN_CONN_ID,
    )  # fmt: skip
    template_fields_renderers = {  # noqa: RUF012
        "source": "yaml", "transform": "sql", "tables": "yaml", "target": "yaml",
    }  # fmt: skip

    source: Any
    transform: Any
    tables: Any
    max_bad_rows: int | None
    max_bad_ratio: float | None

    def __init__(
        self,
        *,
        source: Source | Mapping[str, Any] | str | None,
        target: Landing | Mapping[str, Any] | str,
        transform: Sql | PolarsPlan | pl.LazyFrame | Mapping[str, Any] | str | None = None,
        tables: Mapping[str, TableInput | Mapping[str, Any] | str] | str | None = None,
        on_bad_row: Literal["fail", "skip", "quarantine"] = "fail",
        max_bad_rows: int | None = None,
        max_bad_ratio: float | None = None,
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
            source=templated(source),
            transform=templated(transform),
            tables=templated_tables(tables),
            on_bad_row=on_bad_row,
            max_bad_rows=max_bad_rows,
            max_bad_ratio=max_bad_ratio,
        )

    def job_spec(self) -> JobSpec:
        """The job, from the arguments as they are rendered."""
        from moulin.spec import JobSpec

        return JobSpec(
            source=parsed("source", self.source),
            target=parsed("target", self.target),
            transform=transform_of(self.transform),
            tables=parsed("tables", self.tables),
            on_bad_row=self.on_bad_row,
            max_bad_rows=self.max_bad_rows,
            max_bad_ratio=self.max_bad_ratio,
            deadline=self.execution_timeout,
        )
