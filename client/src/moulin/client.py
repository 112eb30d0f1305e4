"""The client for ordinary code. `AsyncClient` is the same for asyncio."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Self, TypeVar

import grpc

from moulin import query, request
from moulin.base import BaseClient, BaseJobHandle, id_of
from moulin.connection import Connection
from moulin.errors import JobFailed, MoulinError, Unavailable
from moulin.inference import InferredSource
from moulin.job import Job, JobState
from moulin.plan import JobPlan
from moulin.pool import Worker
from moulin.query import QueryTicket
from moulin.source import Source
from moulin.spec import JobKey, JobSpec
from moulin.status import call_error, may_be_answered_elsewhere

if TYPE_CHECKING:
    import pyarrow as pa

    from moulin.flight import QueryRows, Rows

_Value = TypeVar("_Value")


class Client(BaseClient):
    """A connection to a worker. Cheap to make, safe to share between threads, opened by the first call.

    `target` may name several workers that share one job store, with commas between them or as a list: one that does
    not answer is left for the next, in the middle of a `wait` or `watch` too.

    `timeout` bounds every single call in seconds; `reconnect` says for how long `wait` and `watch` go on asking
    when the worker does not answer, e.g. because it is restarted. `token` is one of those that the worker asks for
    (`auth.tokens`), sent as `authorization: Bearer ...`; `metadata` is sent as it is, e.g. for a proxy in between.
    `tls` says that the worker speaks TLS (`[tls]`): True trusts the usual authorities, a `TLSConfig` those that it
    names. Without it token and rows travel unencrypted.

    Every call may raise `PermissionDenied`: token or certificate are missing or were refused, or the worker's own
    certificate is not trusted; and `Unavailable`: nobody answered.
    """

    def _grpc(self) -> Any:
        return grpc

    def close(self) -> None:
        """Closes the connection; open watches end."""
        self._hosts.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def submit(
        self,
        spec: JobSpec | Mapping[str, Any],
        key: JobKey | Mapping[str, Any] | None = None,
        *,
        generation: int = 0,
        epoch: int = 1,
        priority: int = 1,
        pool: str = "default_pool",
    ) -> JobHandle:
        """Asks for a job, or attaches to the one that this key and generation already have.

        Without a key the job gets one of its own, so that every such submit is a new job. Of the jobs that wait, that
        of the highest `priority` is begun first; a point counts as a minute of waiting. Only workers that serve `pool`
        begin it; those without a setting serve every pool.

        Raises:
            SpecError: the spec is wrong, as far as that can be known now.
            NotFound: an input file does not exist.
            ResourceExhausted: as many jobs wait as the workers take, or the worker drains; later it may be taken.
            Unavailable: no worker answered; submitting again with the same key is safe.

        """
        job, created = self._call(request.submit(spec, key, generation, epoch, priority, pool))
        return JobHandle(self, job, epoch=epoch, created=created)

    def get(self, job_id: str) -> Job:
        """A job as it stands."""
        return self._call(request.get(job_id))

    def job(self, job_id: str) -> JobHandle:
        """A handle on a job that was submitted elsewhere."""
        job = self.get(job_id)
        return JobHandle(self, job, epoch=job.epoch, created=False)

    def watch(self, job_id: str, *, timeout: float | None = None, interval: float = 1.0) -> Iterator[Job]:
        """The job as it stands, again at every change and at least every `interval` seconds, until it is over.

        Goes on over a restart of the worker.

        Raises:
            WaitTimeout: the job was not over in `timeout` seconds.
            Unavailable: nothing was heard of the worker for `reconnect` seconds.

        """
        following = self._following(job_id, timeout)
        while True:
            call = following.begin(interval)
            try:
                for answer in call:
                    job = following.heard(answer)
                    yield job
                    if job.state.is_final:
                        return
                lost = following.ended()
            except grpc.RpcError as error:
                lost = following.failed(error)
            finally:
                call.cancel()
            time.sleep(following.pause(lost))
            following.rested()

    def cancel(self, job_id: str, reason: str = "", epoch: int | None = None) -> Job:
        """Ends a job before its commit; what has committed stays. Without an epoch: whoever owns the job now.

        Raises:
            StaleEpoch: a newer try owns the job.

        """
        if epoch is None:
            epoch = self.get(job_id).epoch
        return self._call(request.cancel(job_id, reason, epoch))

    def list(
        self,
        *,
        states: Iterable[JobState | str] = (),
        dag_id: str = "",
        table: str = "",
        page_size: int = 100,
    ) -> Iterator[Job]:
        """Jobs, newest first; further pages are asked for as they are needed."""
        wanted, token = tuple(states), ""
        while True:
            jobs, token = self._call(request.page(wanted, dag_id, table, page_size, token))
            yield from jobs
            if not token:
                return

    def plan(self, spec: JobSpec | Mapping[str, Any]) -> JobPlan:
        """What a job would do; changes nothing. Raises as `submit` does."""
        return self._call(request.plan(spec))

    def infer(self, source: Source | Mapping[str, Any]) -> InferredSource:
        """What a sample of the files holds, column by column, and why each got its type; changes nothing.

        Raises:
            SpecError: the source is wrong.
            NotFound: an input file does not exist.

        """
        return self._call(request.infer(source))

    def rejects(self, job: str | Job | JobHandle) -> pa.RecordBatchReader:
        """The rows that a job with `on_bad_row="quarantine"` left out, with place, code, reason and bytes.

        Needs pyarrow.

        Raises:
            NotFound: there is no such job, or it keeps no rejects.

        """
        import pyarrow as pa

        rows = self._job_rows(id_of(job), None, "rejects")
        return pa.RecordBatchReader.from_batches(rows.schema, rows)

    def files(self, table: str) -> pa.RecordBatchReader:
        """The files that a table was loaded with: state, job, attempt, snapshot, times, and who left them out since.

        Needs pyarrow.
        """
        return self._loads(f"the files of {table}", "table", table, "files")

    def explain_file(self, uri: str) -> pa.RecordBatchReader:
        """Every load of one file into any table: whether, when and by which job it was taken, or why not.

        Needs pyarrow.
        """
        return self._loads(f"the loads of {uri}", "file", uri)

    def _loads(self, what: str, *path: str) -> pa.RecordBatchReader:
        import pyarrow as pa

        from moulin import flight

        rows = self._opened(lambda connection: flight.Rows.at(connection, what, *path))
        return pa.RecordBatchReader.from_batches(rows.schema, rows)

    def query(self, sql: str, *, max_rows: int | None = None, max_bytes: int | None = None) -> pa.RecordBatchReader:
        """Runs a SELECT over tables of the catalog (`namespace.table`) and reads its rows as they come. Needs pyarrow.

        A result of more than `max_rows` or, in memory, `max_bytes` ends with an error: no part of a result passes for
        the whole. Dropping the reader ends the query; its `close` is pyarrow's and does not.

        Raises:
            SpecError: wrong SQL, with its line and column.
            NotFound: there is no such table.

        """
        import pyarrow as pa

        rows = self._query_rows(command=query.command(sql, max_rows, max_bytes))
        return pa.RecordBatchReader.from_batches(rows.schema, rows)

    def query_ticket(
        self, sql: str, *, max_rows: int | None = None, max_bytes: int | None = None, timeout: float | None = None
    ) -> QueryTicket:
        """Plans a query and reads nothing: a ticket that `redeem` takes, here, in another task or at another worker.

        Raises:
            CallTimeout: it was not planned in `timeout` seconds.

        """
        planned = self._query_rows(command=query.command(sql, max_rows, max_bytes), timeout=timeout)
        planned.cancel()
        return QueryTicket(planned.ticket.decode(), planned.schema)

    def redeem(self, ticket: str | QueryTicket, *, timeout: float | None = None) -> pa.RecordBatchReader:
        """The rows of a ticket: those of the snapshots that it names, whatever was committed since. Needs pyarrow.

        No signal interrupts the wait for a batch, so whoever has little time says so with `timeout`.

        Raises:
            NotFound: a snapshot has expired.
            CallTimeout: the rows were not read in `timeout` seconds.

        """
        import pyarrow as pa

        rows = self._query_rows(ticket=ticket.ticket if isinstance(ticket, QueryTicket) else ticket, timeout=timeout)
        return pa.RecordBatchReader.from_batches(rows.schema, rows)

    def _query_rows(self, **asked: Any) -> QueryRows:
        from moulin import flight

        return self._opened(lambda connection: flight.QueryRows(connection, **asked))

    def _job_rows(self, job_id: str, on_dropped: Callable[[int], object] | None, *part: str) -> Rows:
        from moulin import flight

        return self._opened(lambda connection: flight.Rows(connection, job_id, on_dropped, *part))

    def _opened(self, open_rows: Callable[[Connection], _Value]) -> _Value:
        """Rows of the first host that answers: one that does not is left for the next."""
        untried = len(self._hosts)
        while True:
            host = self._hosts.current()
            untried -= 1
            try:
                return open_rows(host.connection)
            except Unavailable:
                self._hosts.leave(host)
                if not untried:
                    raise

    def describe(self, *, check: bool = False) -> Worker:
        """What the worker is. `check`: also whether store, catalog and warehouse answer, which may take seconds."""
        return self._call(request.describe(check))

    def drain(self) -> int:
        """The worker claims no more jobs; how many still run there. Of several hosts it would be nobody's choice."""
        if len(self._hosts) > 1:
            raise ValueError(f"drain: found the targets {self._hosts.names}, expected a client of one worker")
        return self._call(request.drain())

    def _call(self, call: request.Call[_Value]) -> _Value:
        untried = len(self._hosts)
        while True:
            host = self._hosts.current()
            untried -= 1
            try:
                method = host.method(call.method)
                answer = method(call.message, timeout=self._timeout, metadata=host.connection.metadata)
            except grpc.RpcError as error:
                if may_be_answered_elsewhere(error):
                    self._hosts.leave(host)
                    if untried:
                        continue
                raise call_error(error, host.connection, call.method, self._hosts.names) from error
            return call.read(answer)


class JobHandle(BaseJobHandle):
    """A job of a client."""

    def __init__(self, client: Client, job: Job, *, epoch: int, created: bool) -> None:
        super().__init__(job, epoch=epoch, created=created)
        self._client = client

    def wait(
        self,
        timeout: float | None = None,
        on_progress: Callable[[Job], object] | None = None,
        *,
        interval: float = 1.0,
    ) -> Self:
        """Waits until the job has succeeded; goes on over a restart of the worker.

        `on_progress` is called with the job at every change and at least every `interval` seconds.

        Raises:
            JobFailed: it failed, or as `JobCancelled` was cancelled.
            WaitTimeout: it was not over in `timeout` seconds; it goes on.
            Unavailable: nothing was heard of the worker for the client's `reconnect` seconds.

        """
        for job in self._client.watch(self.job_id, timeout=timeout, interval=interval):
            self.job = job
            if on_progress is not None:
                on_progress(job)
        request.raise_unless_succeeded(self.job)
        return self

    def get(self) -> Job:
        """The job as it stands now."""
        self.job = self._client.get(self.job_id)
        return self.job

    def cancel(self, reason: str = "", epoch: int | None = None) -> Job:
        """Ends the job before its commit, as the try that this handle belongs to unless another epoch is given."""
        self.job = self._client.cancel(self.job_id, reason, self.epoch if epoch is None else epoch)
        return self.job

    def reader(self, *, on_dropped: Callable[[int], object] | None = None) -> pa.RecordBatchReader:
        """The rows as Arrow batches: of a running job as they are produced, of a finished one exactly what it landed.

        A running job does not wait for a slow reader: rows that it had to leave out are counted to `on_dropped`,
        or warned about (`RowsDropped`). Needs pyarrow.
        """
        import pyarrow as pa

        try:
            rows = self._client._job_rows(self.job_id, on_dropped)
        except MoulinError as error:
            raise self._job_error(error) from error
        return pa.RecordBatchReader.from_batches(rows.schema, self._batches(rows))

    def to_arrow(self, timeout: float | None = None) -> pa.Table:
        """Waits for the job and reads exactly the rows it landed. Needs pyarrow.

        Raises:
            JobFailed: as `wait` does.

        """
        if self.job.state is not JobState.SUCCEEDED:
            self.wait(timeout)
        return self.reader().read_all()

    def rejects(self) -> pa.RecordBatchReader:
        """The rows that the job left out and kept, as `Client.rejects` gives them. Needs pyarrow."""
        return self._client.rejects(self)

    @property
    def connection(self) -> Connection:
        """How the worker is reached."""
        return self._client.connection

    def _batches(self, rows: Rows) -> Iterator[pa.RecordBatch]:
        try:
            yield from rows
        except MoulinError as error:
            raise self._job_error(error) from error

    def _job_error(self, error: MoulinError) -> MoulinError:
        """What to raise when rows cannot be read: the job's own failure, if that is why."""
        if request.is_about_the_reading(error):
            return error
        try:
            self.wait(request.ENDING_SECONDS)
        except MoulinError as found:
            return found if isinstance(found, JobFailed) else error
        return error
