"""The task that reads the rejects of a table again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from moulin_provider.assets import CATALOG
from moulin_provider.operators.job import DEFERRABLE, MOULIN_CONN_ID, MoulinJobOperator, parsed, templated, transform_of
from moulin_provider.template_fields import template_fields

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import polars as pl
    from moulin.landing import Landing
    from moulin.source import Source
    from moulin.spec import JobSpec
    from moulin.transform import PolarsPlan, Sql


class MoulinReplayOperator(MoulinJobOperator):
    """Reads the rejects of a table again with a corrected source; what fits by now lands in the table, once.

    The rejects are in `<table>__rejects`. What the replay has taken is marked there (`replayed_by`, `replayed_at`);
    what still does not fit is a reject again, at the place it has had from the first. When there is nothing to be
    taken, the task succeeds and its receipt says so. A cleared task reads again what it had taken, and its rows replace
    those of the job before, unless the target's `on_rerun` says otherwise.

    :param target: the table whose rejects are read and where rows go: its name, `moulin.iceberg(...)`, or a dict (or
        the name of a `.yaml` file with one) in the shape of a job file. (templated)
    :param source: the source of the job that rejected the rows, corrected: `moulin.csv(...)`, `ndjson(...)`,
        `json(...)`, or such a dict or file. Its uris are not looked at; columns that it does not declare have the
        types that the job found. (templated)
    :param where: a SQL condition over the columns of `<table>__rejects`; empty: all that no replay has taken.
        (templated)
    :param transform: as of the job that rejected the rows, row by row: `moulin.sql(...)`, a SELECT as text (or the
        name of a `.sql` file), a `polars.LazyFrame`, or a dict. (templated)
    :param on_bad_row: what becomes of a row that still does not fit: `quarantine` makes it a reject again, `fail`
        ends the job, and nothing changes. (templated)
    :param max_bad_rows: more such rows fail the job, and nothing changes. None: no limit.
    :param max_bad_ratio: a larger share of such rows among all rows read, 0 to 1, fails the job at its end, and
        nothing changes. None: no limit.

    The other arguments (`moulin_conn_id`, `deferrable`, `wait_for_completion`, `poll_interval`, `cancel_on_kill`,
    `durable`) and what the task returns are those of `MoulinJobOperator`.
    """

    template_fields: Sequence[str] = template_fields(
        "source", "where", "transform", "target", "on_bad_row", "moulin_conn_id",
        on_bad_row="quarantine", moulin_conn_id=MOULIN_CONN_ID,
    )  # fmt: skip
    template_fields_renderers = {  # noqa: RUF012
        "source": "yaml",
        "where": "sql",
        "transform": "sql",
        "target": "yaml",
    }

    source: Any
    where: str
    transform: Any
    max_bad_rows: int | None
    max_bad_ratio: float | None

    def __init__(
        self,
        *,
        source: Source | Mapping[str, Any] | str,
        target: Landing | Mapping[str, Any] | str,
        where: str = "",
        transform: Sql | PolarsPlan | pl.LazyFrame | Mapping[str, Any] | str | None = None,
        on_bad_row: Literal["fail", "quarantine"] = "quarantine",
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
            where=where,
            transform=templated(transform),
            on_bad_row=on_bad_row,
            max_bad_rows=max_bad_rows,
            max_bad_ratio=max_bad_ratio,
        )

    def job_spec(self) -> JobSpec:
        """The job, from the arguments as they are rendered."""
        from moulin.replaying import replay

        target = parsed("target", self.target)
        return replay(
            target,
            parsed("source", self.source),
            where=self.where,
            transform=transform_of(self.transform),
            on_bad_row=self.on_bad_row,
            max_bad_rows=self.max_bad_rows,
            max_bad_ratio=self.max_bad_ratio,
            deadline=self.execution_timeout,
        )
