"""The task that waits for files."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import (
    AirflowFailException,
    AirflowSkipException,
    BaseSensorOperator,
    PokeReturnValue,
    conf,
)

from moulin_provider.arrivals import uris_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from airflow.providers.common.compat.sdk import Context
    from moulin.source import Source

    from moulin_provider.triggers.files import FileWait


class MoulinFileSensor(BaseSensorOperator):
    """Waits until there are files, as a Moulin worker sees them: Airflow needs no credentials of the store.

    The return value says how many there are, how large they are together, and names the first ones. That is for people:
    a landing downstream reads what its own source says.

    :param uris: one or several uris or patterns, or a source, whose uris are taken. (templated)
    :param at_least: how many files there must be.
    :param settle: whether a file counts only when it was the same at two looks; None: if the store has no entity tags
        for it, as on a disk, where files are seen half written.
    :param moulin_conn_id: connection of the worker. (templated)
    :param deferrable: wait in the triggerer instead of a worker slot.

    `poke_interval`, `timeout` and `soft_fail` are those of every sensor.
    """

    template_fields: Sequence[str] = ("uris", "moulin_conn_id")
    ui_color = "#dcebf2"

    def __init__(
        self,
        *,
        uris: str | Iterable[str] | Source,
        at_least: int = 1,
        settle: bool | None = None,
        moulin_conn_id: str = "moulin_default",
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if self.reschedule and not deferrable and settle is not False:
            # Each look would be in a process of its own, which knows nothing of the one before.
            raise ValueError("mode: found 'reschedule', expected deferrable=True, or settle=False with it")
        self.uris = getattr(uris, "uris", uris)
        self.at_least = at_least
        self.settle = settle
        self.moulin_conn_id = moulin_conn_id
        self.deferrable = deferrable
        self._waiting: FileWait | None = None

    def execute(self, context: Context) -> Any:
        """Waits here, or in the triggerer for what is not there yet."""
        uris = uris_of(self.uris)
        if not self.deferrable:
            return super().execute(context)
        found = self._first_look()
        if found is not None:
            return self._report(found)
        from moulin_provider.operators.job import supervisor_seconds
        from moulin_provider.triggers.files import MoulinFileSensorTrigger

        return self.defer(
            trigger=MoulinFileSensorTrigger(
                uris=uris,
                at_least=self.at_least,
                moulin_conn_id=self.moulin_conn_id,
                poll_interval=self.poke_interval,
                settle=self.settle,
                not_before=time.time() + supervisor_seconds(),
            ),
            method_name="execute_complete",
            timeout=timedelta(seconds=self.timeout),
        )

    def execute_complete(self, context: Context, event: dict[str, Any] | None = None) -> dict[str, Any]:  # noqa: ARG002
        """The end of a deferred wait."""
        from moulin.fault import Fault

        from moulin_provider.outcome import SUCCESS, failure

        found = dict(event or {})
        if found.pop("status", None) != SUCCESS:
            raise failure(Fault.from_dict(found["fault"]), f"the files of {self.task_id} cannot be listed")
        return self._report(found)

    def poke(self, context: Context) -> PokeReturnValue | bool:  # noqa: ARG002
        """One look."""
        found = self._look()
        return PokeReturnValue(is_done=found is not None, xcom_value=found)

    def _report(self, found: dict[str, Any]) -> dict[str, Any]:
        self.log.info("%s files, %s bytes", found["files"], found["bytes"])
        return found

    def _first_look(self) -> dict[str, Any] | None:
        """A deferral takes seconds, and what is there already needs none."""
        try:
            return self._look()
        except AirflowFailException as error:
            # As Airflow does for looks of its own, and for what a trigger tells.
            if self.soft_fail or self.never_fail:
                raise AirflowSkipException(str(error)) from error
            raise

    def _look(self) -> dict[str, Any] | None:
        """The files in short when there are enough; None: not yet, or nobody can say now."""
        from moulin.errors import MoulinError

        from moulin_provider.outcome import failure
        from moulin_provider.triggers.files import FileWait, list_files_now

        self._waiting = self._waiting or FileWait(self.at_least, self.settle)
        try:
            return self._waiting.look(list_files_now(self.moulin_conn_id, uris_of(self.uris)))
        except MoulinError as error:
            if not error.retryable:
                raise failure(error.fault, f"the files of {self.task_id} cannot be listed") from None
            self.log.warning("files cannot be listed now: %s", error)
            return None
