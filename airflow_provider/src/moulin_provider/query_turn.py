"""A query's turn: a worker answers as many queries at a time as it runs jobs, and lets others wait half a minute."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow.sdk.types import Logger
    from moulin.errors import MoulinError

_SECONDS = 2.0
_MOST_LOST = 3


class Turn:
    """Whether a query that was not answered is asked again, and when.

    Workers that are busy are asked without an end. Any other reason may be the query's own fault, such as one that
    takes its worker down: it is asked three times in all, and Airflow's retries say the rest.
    """

    def __init__(self, log: Logger) -> None:
        self._log = log
        self._lost = 0

    def pause(self, error: MoulinError) -> float:
        """Seconds until the next time; raises `error` when there is none.

        Those that wait for the same worker ask at different moments.
        """
        from moulin.query import is_busy

        busy = is_busy(error)
        self._lost += not busy
        if self._lost == _MOST_LOST:
            raise error
        why = "the workers are busy, asking again" if busy else "the query was not answered, asking again"
        self._log.info("%s: %s", why, error.message)
        return _SECONDS * random.uniform(0.5, 1.5)
