"""The rows of a job over Arrow Flight, on the worker's own port."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pyarrow as pa
from pyarrow import flight

from moulin.connection import Connection, pem_bytes
from moulin.errors import MoulinError, RowsDropped, error_of
from moulin.fault import Fault, FaultKind
from moulin.tls_errors import closed_hint, tls_fault

# Arrow puts its own words around those of the worker.
_ARROW_BEFORE = re.compile(r"^(?:Flight|gRPC) [^,]*, with message: ")
_ARROW_AFTER = re.compile(r"\. (?:Detail|gRPC client debug context|Client context): .*$", re.DOTALL)

_KINDS: tuple[tuple[type[BaseException], FaultKind], ...] = (
    (flight.FlightUnavailableError, FaultKind.UNAVAILABLE),
    (flight.FlightUnauthenticatedError, FaultKind.PERMISSION_DENIED),
    (flight.FlightUnauthorizedError, FaultKind.PERMISSION_DENIED),
    (flight.FlightTimedOutError, FaultKind.DEADLINE_EXCEEDED),
    (flight.FlightCancelledError, FaultKind.CANCELLED),
    (pa.lib.ArrowKeyError, FaultKind.NOT_FOUND),
    (pa.lib.ArrowInvalid, FaultKind.INVALID_SPEC),
)


class QueryRows:
    """The result of a query as batches, once. Leaving off ends the query. `timeout` bounds each call, in seconds."""

    def __init__(
        self,
        connection: Connection,
        *,
        command: str | None = None,
        ticket: str | bytes | None = None,
        timeout: float | None = None,
    ) -> None:
        self._connection = connection
        self._timeout = timeout
        self._client = _client(connection)
        options = _options(connection, timeout)
        try:
            if command is not None:
                info = self._client.get_flight_info(flight.FlightDescriptor.for_command(command), options)
                self.ticket: bytes = info.endpoints[0].ticket.ticket
                self.schema: pa.Schema = info.schema
                self._stream = None
            else:
                self.ticket = ticket.encode() if isinstance(ticket, str) else bytes(ticket or b"")
                self._stream = self._client.do_get(flight.Ticket(self.ticket), options)
                self.schema = self._stream.schema
        except (pa.lib.ArrowException, OSError) as error:
            self._client.close()
            raise _error(error, connection, "the query", _QUERY_HINT) from error

    def cancel(self) -> None:
        """Ends the query, also while another thread waits for the next batch."""
        if self._stream is not None:
            self._stream.cancel()
        self._client.close()

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        try:
            if self._stream is None:
                self._stream = self._client.do_get(
                    flight.Ticket(self.ticket), _options(self._connection, self._timeout)
                )
            while True:
                try:
                    chunk = self._stream.read_chunk()
                except StopIteration:
                    return
                if chunk.data is not None and chunk.data.num_rows:
                    yield chunk.data
        except (pa.lib.ArrowException, OSError) as error:
            raise _error(error, self._connection, "the query", _QUERY_HINT) from error
        finally:
            self.cancel()


_QUERY_HINT = "tables are named namespace.table; the place in the SQL is the worker's"


def _options(connection: Connection, timeout: float | None = None) -> flight.FlightCallOptions:
    headers = [(name.encode(), value.encode()) for name, value in connection.metadata]
    return flight.FlightCallOptions(timeout=timeout, headers=headers)


class Rows:
    """The rows of one job, or a part of it such as its `rejects`, as batches, once.

    Leaving off ends the reading only, never the job.
    """

    def __init__(
        self, connection: Connection, job_id: str, on_dropped: Callable[[int], object] | None = None, *part: str
    ) -> None:
        self._begin(connection, ("job", job_id, *part), f"the {' '.join(part) or 'rows'} of job {job_id}", on_dropped)

    @classmethod
    def at(cls, connection: Connection, what: str, *path: str) -> Rows:
        """The rows at any path of the worker; `what` they are, in words."""
        rows = cls.__new__(cls)
        rows._begin(connection, path, what, None)
        return rows

    def _begin(
        self,
        connection: Connection,
        path: tuple[str, ...],
        what: str,
        on_dropped: Callable[[int], object] | None,
    ) -> None:
        self._connection = connection
        self._what = what
        self._on_dropped = on_dropped or _warn
        self._client = _client(connection)
        options = _options(connection)
        try:
            info = self._client.get_flight_info(flight.FlightDescriptor.for_path(*path), options)
            self._stream = self._client.do_get(info.endpoints[0].ticket, options)
            self.schema: pa.Schema = self._stream.schema
        except (pa.lib.ArrowException, OSError) as error:
            self._client.close()
            raise _error(error, connection, self._what) from error

    def cancel(self) -> None:
        """Ends the reading, also while another thread waits for the next batch."""
        self._stream.cancel()

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        try:
            while True:
                try:
                    chunk = self._stream.read_chunk()
                except StopIteration:
                    return
                except (pa.lib.ArrowException, OSError) as error:
                    raise _error(error, self._connection, self._what) from error
                dropped = 0 if chunk.app_metadata is None else _dropped_rows(chunk.app_metadata.to_pybytes())
                if dropped:
                    self._on_dropped(dropped)
                if chunk.data is not None and chunk.data.num_rows:
                    yield chunk.data
        finally:
            self._stream.cancel()
            self._client.close()


def _client(connection: Connection) -> flight.FlightClient:
    tls = connection.tls
    scheme = "grpc" if tls is None else "grpc+tls"
    options: dict[str, Any] = {}
    if tls is not None:
        options = {
            "tls_root_certs": pem_bytes(tls.root_certificates),
            "cert_chain": pem_bytes(tls.client_certificate),
            "private_key": pem_bytes(tls.client_key),
            "override_hostname": tls.server_name,
        }
    return flight.FlightClient(f"{scheme}://{connection.target}", generic_options=connection.options(), **options)


def _dropped_rows(metadata: bytes) -> int:
    """`{"dropped_rows": n}` on the first batch after a gap; anything else is none of ours."""
    try:
        told = json.loads(metadata)
    except ValueError:
        return 0
    return int(told.get("dropped_rows", 0)) if isinstance(told, dict) else 0


def _warn(rows: int) -> None:
    warnings.warn(f"{rows:,} rows were produced faster than they were read and are left out here", RowsDropped, 2)


def _error(error: BaseException, connection: Connection, what: str, otherwise: str = "") -> MoulinError:
    kind = next((kind for found, kind in _KINDS if isinstance(error, found)), FaultKind.INTERNAL)
    text = str(error).strip("'")
    said = _ARROW_AFTER.sub("", _ARROW_BEFORE.sub("", text))
    lost = kind is FaultKind.UNAVAILABLE
    if lost and (refused := tls_fault(said, connection.target)):
        return error_of(refused)
    hint = "read again" if lost else otherwise or "`Client.get(job_id)` says how the job stands"
    if lost and (closed := closed_hint(said, encrypted=connection.encrypted, certified=connection.certified)):
        hint = closed
    if kind is FaultKind.PERMISSION_DENIED:
        hint = "give the client a valid token or certificate"
    return error_of(Fault(kind, f"{what} cannot be read from {connection.target}: {said}", hint, retryable=lost))
