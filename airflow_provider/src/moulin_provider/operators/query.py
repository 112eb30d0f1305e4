"""The task that asks a question of the tables."""

from __future__ import annotations

import time
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowException, BaseOperator, conf

from moulin_provider.assets import CATALOG
from moulin_provider.operators.job import supervisor_seconds

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.providers.common.compat.sdk import Context
    from airflow.providers.openlineage.extractors import OperatorLineage
    from moulin.client import Client
    from moulin.query import QueryTicket

    from moulin_provider.hooks.moulin import MoulinHook

# The trigger's deadline should be heard first: Airflow's end of a deferral says least.
_TIMEOUT_GRACE = timedelta(seconds=15)
# So is Airflow's alarm in a slot, which is heard when the worker's answer, or the end of its time, is.
_ALARM_SECONDS = 0.5


class MoulinQueryOperator(BaseOperator):
    """Runs a SELECT over Iceberg tables of the worker's catalog; a small result is the task's XCom.

    What the task returns is always a dict in this shape::

        {
            "rows": [{"carrier": "AA", "late": 17}],  # None: the result is larger than it may be for an XCom
            "row_count": 1,  # None: not known, because rows is None
            "columns": [{"name": "carrier", "type": "string"}, {"name": "late", "type": "int64"}],  # Arrow's types
            "tables": {"silver.flights": "5830121..."},  # snapshot that is read of each, as text; None: it had none
            "ticket": "{...}",  # text, for Arrow Flight
        }

    Values of `rows` are JSON: dates, times, timestamps (ISO 8601), decimals, durations (seconds) and floats that are
    not finite are texts, bytes are base64. Whatever the size, `MoulinHook().reader(query.output)` in a task downstream
    reads the result over Flight, a batch at a time and with its Arrow types. It reads the snapshots that the ticket
    names, whatever was committed since, until one of them expires.

    :param sql: one SELECT over tables named `namespace.table`, or the name of a `.sql` file. (templated)
    :param max_xcom_rows: a result of more rows is given as a ticket only.
    :param max_xcom_bytes: so is one whose rows are larger as JSON. XComs are rows of Airflow's database: the default
        is below the 64 KB that the smallest of them takes.
    :param moulin_conn_id: connection of the worker. (templated)
    :param deferrable: wait for the result in the triggerer instead of a worker slot. For a query that takes minutes;
        one that takes seconds is over before a deferral is.
    :param wait_for_completion: False: the query is planned, so that wrong SQL fails the task, and nothing is read:
        the result is the ticket, however small it would be.
    :param catalog: name of the worker's catalog (`catalog.name` there), for lineage.

    A query is no job: it changes nothing and the worker keeps nothing of it. So a retry asks again, of the tables as
    they are then, and there is nothing to attach to or to cancel: a query ends when nobody reads it any more, which is
    when a user ends the task or `execution_timeout` has passed. A triggerer that is restarted asks again with
    the same ticket. While the workers are busy with other queries the task asks again, from the triggerer or its slot,
    until `execution_timeout`.
    """

    template_fields: Sequence[str] = ("sql", "moulin_conn_id")
    template_ext: Sequence[str] = (".sql",)
    template_fields_renderers = {"sql": "sql"}  # noqa: RUF012
    ui_color = "#f2ecdc"
    _result: dict[str, Any] | None = None
    _time_is_up: float | None = None

    def __init__(
        self,
        *,
        sql: str,
        max_xcom_rows: int = 1_000,
        max_xcom_bytes: int = 48 * 1024,
        moulin_conn_id: str = "moulin_default",
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        wait_for_completion: bool = True,
        catalog: str = CATALOG,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.sql = getattr(sql, "query", sql)
        self.max_xcom_rows = max_xcom_rows
        self.max_xcom_bytes = max_xcom_bytes
        self.moulin_conn_id = moulin_conn_id
        self.deferrable = deferrable
        self.wait_for_completion = wait_for_completion
        self.catalog = catalog

    @cached_property
    def hook(self) -> MoulinHook:
        """The hook of the connection."""
        from moulin_provider.hooks.moulin import MoulinHook

        return MoulinHook(self.moulin_conn_id)

    def execute(self, context: Context) -> dict[str, Any]:  # noqa: ARG002
        """Plans the query, and reads its result here or in the triggerer."""
        from moulin.errors import MoulinError

        from moulin_provider.outcome import failure
        from moulin_provider.query_result import described

        if self.execution_timeout is not None:
            self._time_is_up = time.monotonic() + self.execution_timeout.total_seconds()
        try:
            with self.hook.get_conn() as client:
                ticket = client.query_ticket(self.sql, timeout=self._seconds_left())
                for name, snapshot_id in ticket.tables().items():
                    self.log.info("reading %s as of snapshot %s", name, snapshot_id)
                if not self.wait_for_completion:
                    return self._report(described(ticket))
                if self.deferrable:
                    self._defer(ticket)
                return self._report(described(ticket, self._rows(client, ticket)))
        except MoulinError as error:
            raise failure(error.fault, f"the query of task {self.task_id} failed") from None

    def _seconds_left(self) -> float | None:
        """For one call: no signal, such as Airflow's alarm, interrupts Arrow's wait for an answer."""
        return None if self._time_is_up is None else max(self._time_is_up - time.monotonic(), 0.0) + _ALARM_SECONDS

    def _rows(self, client: Client, ticket: QueryTicket) -> list[dict[str, Any]] | None:
        """The rows, from workers that may have to end other queries before; None: they are too many."""
        from moulin.errors import Unavailable

        from moulin_provider.query_result import SmallRows
        from moulin_provider.query_turn import Turn

        turn = Turn(self.log)
        while True:
            small = SmallRows(self.max_xcom_rows, self.max_xcom_bytes)
            try:
                with client.redeem(ticket, timeout=self._seconds_left()) as reader:
                    return small.rows if all(small.take(batch) for batch in reader) else None
            except Unavailable as error:
                pause = turn.pause(error)
            time.sleep(pause)

    def execute_complete(self, context: Context, event: dict[str, Any] | None = None) -> dict[str, Any]:  # noqa: ARG002
        """The end of a deferred task; the event holds the result."""
        from moulin.fault import Fault

        from moulin_provider.outcome import SUCCESS, TIMEOUT, failure

        if event is None:
            raise AirflowException("the trigger fired without an event")
        if event.get("status") == TIMEOUT:
            raise AirflowException(f"the query was not over within the execution_timeout of {self.execution_timeout}")
        if event.get("status") != SUCCESS:
            raise failure(Fault.from_dict(event["fault"]), f"the query of task {self.task_id} failed")
        return self._report(event["result"])

    def _defer(self, ticket: QueryTicket) -> None:
        from moulin_provider.query_result import described
        from moulin_provider.triggers.query import MoulinQueryTrigger

        limit = self.execution_timeout
        self.log.info("waiting in the triggerer for the result")
        self.defer(
            trigger=MoulinQueryTrigger(
                query=described(ticket),
                moulin_conn_id=self.moulin_conn_id,
                max_xcom_rows=self.max_xcom_rows,
                max_xcom_bytes=self.max_xcom_bytes,
                deadline=None if limit is None else time.time() + limit.total_seconds(),
                not_before=time.time() + supervisor_seconds(),
            ),
            method_name="execute_complete",
            timeout=None if limit is None else limit + _TIMEOUT_GRACE,
        )

    def _report(self, result: dict[str, Any]) -> dict[str, Any]:
        if result["rows"] is not None:
            self.log.info("%s rows", result["row_count"])
        elif self.wait_for_completion:
            self.log.info(
                "the result has more than max_xcom_rows (%s) or max_xcom_bytes (%s): its ticket is the XCom",
                self.max_xcom_rows,
                self.max_xcom_bytes,
            )
        self._result = result
        return result

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> OperatorLineage[Any, Any] | None:  # noqa: ARG002
        """The tables that were read, and the SELECT."""
        from moulin_provider import lineage

        return lineage.queried(self.sql, self._result["tables"], self.catalog) if self._result else None
