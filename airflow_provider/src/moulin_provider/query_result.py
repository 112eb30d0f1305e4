"""What comes of a query, as an XCom: the rows when they are few, and always a ticket for them."""

from __future__ import annotations

import base64
import json
import math
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa
    from moulin.query import QueryTicket


class SmallRows:
    """Rows as JSON values, as long as they are few.

    :param max_rows: how many there may be.
    :param max_bytes: how large they may be together, as JSON.
    """

    def __init__(self, max_rows: int, max_bytes: int) -> None:
        self.rows: list[dict[str, Any]] = []
        self._rows_left = max_rows
        self._bytes_left = max_bytes - len("[]")

    def take(self, batch: pa.RecordBatch) -> bool:
        """Adds rows; False: these are too many."""
        self._rows_left -= batch.num_rows
        if self._rows_left < 0:
            return False
        for row in batch.to_pylist():
            one = {name: json_value(value) for name, value in row.items()}
            self._bytes_left -= len(json.dumps(one)) + len(", ")
            if self._bytes_left < 0:
                return False
            self.rows.append(one)
        return True


def described(ticket: QueryTicket, rows: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    """The XCom of a query; its shape is that of `MoulinQueryOperator`."""
    return {
        "rows": rows,
        "row_count": None if rows is None else len(rows),
        "columns": [{"name": field.name, "type": str(field.type)} for field in ticket.schema],
        "tables": {name: None if one is None else str(one) for name, one in ticket.tables().items()},
        "ticket": ticket.ticket,
    }


def json_value(value: Any) -> Any:
    """A value of Arrow as Python gives it, in JSON's own kinds.

    Whole numbers stay numbers: Python reads all of their 64 bits, a browser that shows them may not.
    """
    if isinstance(value, float):
        # JSON has no word for these, and PostgreSQL refuses them.
        return value if math.isfinite(value) else str(value)
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, (datetime, date, time)):
        return value.isoformat()
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, timedelta):
        return format(Decimal(value // timedelta(microseconds=1)) / 1_000_000, "f")
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, dict):
        return {str(name): json_value(one) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [json_value(one) for one in value]
    return str(value)
