"""SQL over tables of the catalog: what is sent, and a result that can be handed on."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from moulin import _argument as argument
from moulin.errors import MoulinError
from moulin.fault import FaultKind

if TYPE_CHECKING:
    import pyarrow as pa

# The worker's words (`worker/server/src/query.rs`): Arrow Flight gives a status and a text, no fault.
_BUSY = "queries run on worker"


@dataclass(frozen=True, slots=True)
class QueryTicket:
    """A planned query: its SQL and the snapshots that it reads.

    Any worker of the same catalog redeems it, as often as it is asked to, with the same rows, until one of the
    snapshots expires; no worker keeps anything for it. `ticket` is JSON text, for XCom or for any Arrow Flight client.
    """

    ticket: str
    schema: pa.Schema = field(compare=False)
    """The columns of the result."""

    def tables(self) -> dict[str, int | None]:
        """The snapshot that is read of each table; None: the table had none."""
        found: dict[str, Any] = json.loads(self.ticket).get("tables", {})
        return {name: pin["snapshot_id"] for name, pin in found.items()}


def is_busy(error: MoulinError) -> bool:
    """Whether a query was refused because the worker answers as many others as it may: it has its turn later."""
    return error.kind is FaultKind.UNAVAILABLE and _BUSY in error.message


def command(sql: str, max_rows: int | None, max_bytes: int | None) -> str:
    """The command of a Flight descriptor that asks for a query."""
    found: dict[str, Any] = {"sql": argument.text("sql", sql)}
    if max_rows is not None:
        found["max_rows"] = argument.count("max_rows", max_rows)
    if max_bytes is not None:
        found["max_bytes"] = argument.count("max_bytes", max_bytes)
    return json.dumps(found)
