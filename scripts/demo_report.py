"""What the demo shows at its end: the receipt, and that three readers agree with it."""

from __future__ import annotations

import polars as pl
import pyarrow as pa
from pyarrow import flight
from pyiceberg.catalog.sql import SqlCatalog

from local_stack import LocalWorker, StackError
from moulin.job import Receipt

FIRST_ROWS = 5
SHOWN = ("time_hour", "carrier", "flight", "origin", "dest", "dep_delay", "arr_delay", "late")


def read_table(receipt: Receipt, worker: LocalWorker) -> pa.Table:
    """The landed table, as PyIceberg reads it."""
    catalog = SqlCatalog("moulin", uri=worker.catalog_uri, warehouse=worker.warehouse)
    return catalog.load_table(receipt.table).scan().to_arrow()


def read_job(receipt: Receipt, worker: LocalWorker) -> pa.Table:
    """The job's rows, as any Arrow Flight client reads them."""
    with flight.connect(f"grpc://{worker.address}") as client:
        info = client.get_flight_info(flight.FlightDescriptor.for_path("job", receipt.job_id))
        return client.do_get(info.endpoints[0].ticket).read_all()


def check(receipt: Receipt, worker: LocalWorker) -> pa.Table:
    """The table, once it is certain that receipt, PyIceberg and Flight tell of the same rows."""
    landed, streamed = read_table(receipt, worker), read_job(receipt, worker)
    accounted = receipt.rows_landed + receipt.rows_rejected + (receipt.rows_filtered or 0)
    if accounted != receipt.rows_read:
        raise StackError(f"{receipt.rows_read} rows were read, but the receipt accounts for {accounted}: {receipt}")
    if not receipt.rows_landed == landed.num_rows == streamed.num_rows:
        raise StackError(
            f"the receipt says {receipt.rows_landed} rows, PyIceberg reads {landed.num_rows}, Flight {streamed.num_rows}"
        )
    by_flight, by_iceberg = (frame(rows).sort(pl.all()) for rows in (streamed, landed))
    if not by_flight.equals(by_iceberg):
        raise StackError("PyIceberg and Flight read different rows")
    return landed


def frame(rows: pa.Table) -> pl.DataFrame:
    """Rows without Arrow's own differences, e.g. of strings and large strings."""
    made = pl.from_arrow(rows)
    assert isinstance(made, pl.DataFrame)
    return made


def report(receipt: Receipt, landed: pa.Table) -> str:
    """The receipt, the time in each room and the first rows."""
    seconds = receipt.elapsed.total_seconds()
    figures = {
        "table": receipt.table,
        "snapshot": receipt.snapshot_id,
        "files": receipt.files,
        "rows read": f"{receipt.rows_read:,}",
        "landed": f"{receipt.rows_landed:,}",
        "rejected": f"{receipt.rows_rejected:,}",
        "filtered": f"{receipt.rows_filtered or 0:,}",
        "bytes": f"{receipt.bytes_read:,} read, {receipt.bytes_written:,} written in {receipt.data_files} data files",
        "seconds": f"{seconds:.2f}",
        "job": f"{receipt.job_id}, attempt {receipt.attempt}",
    }
    lines = ["", "receipt", *(f"  {name:<10} {value}" for name, value in figures.items())]
    lines += ["", "time in each room (its threads summed, so together more than the seconds above)", *rooms(receipt)]
    lines += [
        "",
        f"PyIceberg and Arrow Flight both read these {landed.num_rows:,} rows; the first of them:",
        *rows(landed),
    ]
    return "\n".join(lines)


def rooms(receipt: Receipt) -> list[str]:
    """One bar a room."""
    longest = max((room.busy.total_seconds() for room in receipt.rooms), default=0.0) or 1.0
    return [
        f"  {room.room.value:<10} {room.busy.total_seconds():7.3f} s  {'#' * round(30 * room.busy.total_seconds() / longest)}"
        for room in receipt.rooms
    ]


def rows(landed: pa.Table) -> list[str]:
    """The first rows as a table of text."""
    columns = [name for name in SHOWN if name in landed.column_names]
    with pl.Config(tbl_hide_dataframe_shape=True, tbl_hide_column_data_types=True, tbl_cols=-1, tbl_width_chars=110):
        return ["  " + line for line in str(frame(landed.select(columns).slice(0, FIRST_ROWS))).splitlines()]
