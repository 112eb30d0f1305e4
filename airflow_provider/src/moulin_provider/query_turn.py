"""A query's turn: a worker answers as many queries at a time as it runs jobs, and lets others wait half a minute."""

from __future__ import annotations

import random

_SECONDS = 2.0


def pause() -> float:
    """Seconds until a query asks again for its turn; those that wait for the same one ask at different moments."""
    return _SECONDS * random.uniform(0.5, 1.5)
