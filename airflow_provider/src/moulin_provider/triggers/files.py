"""Files that arrive, as an event that starts DAGs and as the end of a sensor's wait."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseEventTrigger, TriggerEvent

from moulin_provider.arrivals import Arrivals, any_file, summary, uris_of
from moulin_provider.hooks.moulin import MoulinHook
from moulin_provider.outcome import SUCCESS, error_event
from moulin_provider.triggers.once import OnceTrigger

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from moulin.plan import PlannedFile
    from moulin.source import Source

_STANDING = "moulin_files_told"


async def list_files(moulin_conn_id: str, uris: Iterable[str]) -> list[PlannedFile]:
    """The files at these uris and patterns, as the worker sees them; none is no error.

    Raises:
        MoulinError: the worker, or the store it looks into, does not answer or refuses.

    """
    from moulin.errors import NotFound

    found: dict[str, PlannedFile] = {}
    async with MoulinHook(moulin_conn_id).shared_async_conn() as client:
        for uri in uris:
            try:
                listed = await client.infer(any_file(uri))
            except NotFound:
                continue
            found.update((one.uri, one) for one in listed.files)
    return list(found.values())


def list_files_now(moulin_conn_id: str, uris: Iterable[str]) -> list[PlannedFile]:
    """`list_files` for ordinary code."""
    from moulin.errors import NotFound

    found: dict[str, PlannedFile] = {}
    with MoulinHook(moulin_conn_id).get_conn() as client:
        for uri in uris:
            try:
                listed = client.infer(any_file(uri))
            except NotFound:
                continue
            found.update((one.uri, one) for one in listed.files)
    return list(found.values())


class MoulinFilesTrigger(BaseEventTrigger):
    """Tells of files that arrive: one event a look, with all that is new. For an `AssetWatcher`.

    An event says that there is something to do, not what: the landing claims every file that was not loaded yet, so
    that no file is missed when two events make one run, and none is loaded twice when an event comes again. Events do
    come again: after a restart of the triggerer all files that are there are told of once more, where Airflow (before
    3.3) keeps nothing for a trigger.

    :param uris: one or several uris or patterns, as the worker sees them
    :param moulin_conn_id: the connection of the worker
    :param poll_interval: seconds between two looks
    :param settle: whether a file must be the same at two looks; None: if the store has no entity tags for it
    """

    def __init__(
        self,
        uris: str | Iterable[str] | Source,
        moulin_conn_id: str = "moulin_default",
        poll_interval: float = 30.0,
        settle: bool | None = None,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Airflow's own
        self.uris = uris_of(uris)
        self.moulin_conn_id = moulin_conn_id
        self.poll_interval = poll_interval
        self.settle = settle
        self.looks = 0
        """How often the files were listed."""
        self._last_kept = ""

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """What a triggerer needs to look for the same files."""
        return (
            "moulin_provider.triggers.files.MoulinFilesTrigger",
            {
                "uris": self.uris,
                "moulin_conn_id": self.moulin_conn_id,
                "poll_interval": self.poll_interval,
                "settle": self.settle,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Looks again and again, and never ends by itself."""
        from moulin.errors import MoulinError

        arrivals, kept, trouble = Arrivals(self.settle), await self._kept(), ""
        while True:
            try:
                files = await list_files(self.moulin_conn_id, self.uris)
            except MoulinError as error:
                # Whoever waits for files cannot correct it, so it is said, once, and looked again.
                if error.message != trouble:
                    self.log.warning("files at %s cannot be listed: %s", ", ".join(self.uris), error)
                trouble = error.message
                await asyncio.sleep(self.poll_interval)
                continue
            trouble = ""
            self.looks += 1
            if kept:
                arrivals.resume(files, kept)
                kept = ""
            else:
                # What was told at the look before was taken by now; to keep it any sooner could lose it in a crash.
                await self._keep(arrivals.standing())
            if found := arrivals.new(files):
                self.log.info("%s new files at %s", len(found), ", ".join(self.uris))
                yield TriggerEvent(summary(found))  # type: ignore[no-untyped-call]  # Airflow's own
            await asyncio.sleep(self.poll_interval)

    async def _kept(self) -> str:
        store = getattr(self, "asset_state_store", None)
        if store is None:
            return ""
        try:
            return str(await store.aget(_STANDING) or "")
        except Exception as error:  # several assets watch with this trigger, or Airflow does not answer
            self.log.info("what was told before is not known: %s", error)
            return ""

    async def _keep(self, standing: str) -> None:
        store = getattr(self, "asset_state_store", None)
        if store is None or standing == self._last_kept:
            return
        self._last_kept = standing
        try:
            await store.aset(_STANDING, standing)
        except Exception as error:
            self.log.info("what was told cannot be kept; it may be told again: %s", error)


class MoulinFileSensorTrigger(OnceTrigger):
    """Fires once there are enough files.

    :param uris: uris or patterns, as the worker sees them
    :param at_least: how many there must be
    :param poll_interval: seconds between two looks
    :param settle: as for `MoulinFilesTrigger`

    The other arguments are those of `OnceTrigger`. The time of a sensor is Airflow's own to end.
    """

    arguments = ("uris", "at_least", "moulin_conn_id", "poll_interval", "settle", "not_before")

    def __init__(
        self,
        uris: list[str],
        at_least: int = 1,
        moulin_conn_id: str = "moulin_default",
        poll_interval: float = 60.0,
        settle: bool | None = None,
        not_before: float = 0.0,
    ) -> None:
        super().__init__(moulin_conn_id, None, not_before)
        self.uris = uris
        self.at_least = at_least
        self.poll_interval = poll_interval
        self.settle = settle

    async def wait(self) -> dict[str, Any]:
        """Looks until there are enough, or the worker says what no waiting can help."""
        from moulin.errors import MoulinError

        waiting = FileWait(self.at_least, self.settle)
        while True:
            try:
                found = waiting.look(await list_files(self.moulin_conn_id, self.uris))
            except MoulinError as error:
                if not error.retryable:
                    return error_event("", error)
                self.log.warning("files at %s cannot be listed now: %s", ", ".join(self.uris), error)
                found = None
            if found is not None:
                return {"status": SUCCESS, **found}
            await asyncio.sleep(self.poll_interval)


class FileWait:
    """Whether there are enough files, over several looks."""

    def __init__(self, at_least: int, settle: bool | None) -> None:
        self._at_least = at_least
        self._arrivals = Arrivals(settle)
        self._ready: dict[str, PlannedFile] = {}

    def look(self, files: list[PlannedFile]) -> dict[str, Any] | None:
        """The files in short when there are enough; None: not yet."""
        there = {one.uri for one in files}
        ready = {uri: one for uri, one in self._ready.items() if uri in there}
        self._ready = {**ready, **{one.uri: one for one in self._arrivals.new(files)}}
        if len(self._ready) < self._at_least:
            return None
        return summary([one for _, one in sorted(self._ready.items())])
