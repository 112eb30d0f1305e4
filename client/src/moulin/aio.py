"""The client for asyncio: the same calls as `moulin.Client`, awaited."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import aclosing
from functools import cached_property
from importlib import import_module
from typing import TYPE_CHECKING, Any, Self, TypeVar

import grpc
import grpc.aio

from moulin import query, request
from moulin.base import BaseClient, BaseJobHandle, id_of
from moulin.errors import JobFailed, MoulinError, Unavailable
from moulin.inference import InferredSource
from moulin.job import Job, JobState
from moulin.plan import JobPlan
from moulin.pool import Worker
from moulin.query import QueryTicket
from moulin.reading import ReadingThreads
from moulin.source import Source
from moulin.spec import JobKey, JobSpec
from moulin.status import call_error, may_be_answered_elsewhere

if TYPE_CHECKING:
    import pyarrow as pa

    from moulin.connection import Connection
    from moulin.flight import QueryRows, Rows

_Value = TypeVar("_Value")


class AsyncClient(BaseClient):
    """A connection to a worker, for one event loop. Arguments, errors and meaning are those of `Client`."""

    def _grpc(self) -> Any:
        return grpc.aio

    @cached_property
    def _threads(self) -> ReadingThreads:
        return ReadingThreads()

    async def close(self) -> None:
        """Closes the connection; open watches end."""
        await asyncio.gather(*self._hosts.close())

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def submit(
        self,
        spec: JobSpec | Mapping[str, Any],
        key: JobKey | Mapping[str, Any] | None = None,
        *,
        generation: int = 0,
        epoch: int = 1,
        priority: int = 1,
        pool: str = "default_pool",
    ) -> AsyncJobHandle:
        """Asks for a job, or attaches to the one that this key and generation already have."""
        job, created = await self._call(request.submit(spec, key, generation, epoch, priority, pool))
        return AsyncJobHandle(self, job, epoch=epoch, created=created)

    async def get(self, job_id: str) -> Job:
        """A job as it stands."""
        return await self._call(request.get(job_id))

    async def job(self, job_id: str) -> AsyncJobHandle:
        """A handle on a job that was submitted elsewhere."""
        job = await self.get(job_id)
        return AsyncJobHandle(self, job, epoch=job.epoch, created=False)

    async def watch(self, job_id: str, *, timeout: float | None = None, interval: float = 1.0) -> AsyncIterator[Job]:
        """The job as it stands, again at every change and at least every `interval` seconds, until it is over.

        Goes on over a restart of the worker. Leaving the loop, or cancelling the task, leaves the job alone.
        """
        following = self._following(job_id, timeout)
        while True:
            call = following.begin(interval)
            try:
                async for answer in call:
                    job = following.heard(answer)
                    yield job
                    if job.state.is_final:
                        return
                lost = following.ended()
            except grpc.RpcError as error:
                lost = following.failed(error)
            finally:
                call.cancel()
            await asyncio.sleep(following.pause(lost))
            following.rested()

    async def cancel(self, job_id: str, reason: str = "", epoch: int | None = None) -> Job:
        """Ends a job before its commit; what has committed stays. Without an epoch: whoever owns the job now."""
        if epoch is None:
            epoch = (await self.get(job_id)).epoch
        return await self._call(request.cancel(job_id, reason, epoch))

    async def list(
        self,
        *,
        states: Iterable[JobState | str] = (),
        dag_id: str = "",
        table: str = "",
        page_size: int = 100,
    ) -> AsyncIterator[Job]:
        """Jobs, newest first; further pages are asked for as they are needed."""
        wanted, token = tuple(states), ""
        while True:
            jobs, token = await self._call(request.page(wanted, dag_id, table, page_size, token))
            for job in jobs:
                yield job
            if not token:
                return

    async def plan(self, spec: JobSpec | Mapping[str, Any]) -> JobPlan:
        """What a job would do; changes nothing."""
        return await self._call(request.plan(spec))

    async def infer(self, source: Source | Mapping[str, Any]) -> InferredSource:
        """What a sample of the files holds, column by column, and why each got its type; changes nothing."""
        return await self._call(request.infer(source))

    async def rejects(self, job: str | Job | AsyncJobHandle) -> AsyncIterator[pa.RecordBatch]:
        """The rows that a job with `on_bad_row="quarantine"` left out, with place, code, reason and bytes."""
        rows = await self._job_rows(id_of(job), None, "rejects")
        async with aclosing(self._threads.batches(rows)) as batches:
            async for batch in batches:
                yield batch

    async def files(self, table: str) -> AsyncIterator[pa.RecordBatch]:
        """The files that a table was loaded with: state, job, attempt, snapshot, times, and who left them out since."""
        async for batch in self._loads(f"the files of {table}", "table", table, "files"):
            yield batch

    async def explain_file(self, uri: str) -> AsyncIterator[pa.RecordBatch]:
        """Every load of one file into any table: whether, when and by which job it was taken, or why not."""
        async for batch in self._loads(f"the loads of {uri}", "file", uri):
            yield batch

    async def _loads(self, what: str, *path: str) -> AsyncIterator[pa.RecordBatch]:
        flight = await self._flight()
        rows: Rows = await self._opened(lambda connection: flight.Rows.at(connection, what, *path))
        async with aclosing(self._threads.batches(rows)) as batches:
            async for batch in batches:
                yield batch

    async def query(
        self, sql: str, *, max_rows: int | None = None, max_bytes: int | None = None
    ) -> AsyncIterator[pa.RecordBatch]:
        """Runs a SELECT over tables of the catalog, as `Client.query` does; leaving the loop ends it. Needs pyarrow."""
        rows = await self._query_rows(command=query.command(sql, max_rows, max_bytes))
        async with aclosing(self._threads.batches(rows)) as batches:
            async for batch in batches:
                yield batch

    async def query_ticket(self, sql: str, *, max_rows: int | None = None, max_bytes: int | None = None) -> QueryTicket:
        """Plans a query and reads nothing, as `Client.query_ticket` does."""
        planned = await self._query_rows(command=query.command(sql, max_rows, max_bytes))
        planned.cancel()
        return QueryTicket(planned.ticket.decode(), planned.schema)

    async def redeem(self, ticket: str | QueryTicket) -> AsyncIterator[pa.RecordBatch]:
        """The rows of a ticket, as `Client.redeem` gives them. Needs pyarrow."""
        rows = await self._query_rows(ticket=ticket.ticket if isinstance(ticket, QueryTicket) else ticket)
        async with aclosing(self._threads.batches(rows)) as batches:
            async for batch in batches:
                yield batch

    async def _query_rows(self, **asked: str) -> QueryRows:
        flight = await self._flight()
        rows: QueryRows = await self._opened(lambda connection: flight.QueryRows(connection, **asked))
        return rows

    async def _job_rows(self, job_id: str, on_dropped: Callable[[int], object] | None, *part: str) -> Rows:
        flight = await self._flight()
        rows: Rows = await self._opened(lambda connection: flight.Rows(connection, job_id, on_dropped, *part))
        return rows

    async def _flight(self) -> Any:
        """The module of that name, which loads pyarrow."""
        return await self._threads.run(import_module, "moulin.flight")

    async def _opened(self, open_rows: Callable[[Connection], _Value]) -> _Value:
        """Rows of the first host that answers: one that does not is left for the next."""
        untried = len(self._hosts)
        while True:
            host = self._hosts.current()
            untried -= 1
            try:
                return await self._threads.run(open_rows, host.connection)
            except Unavailable:
                self._hosts.leave(host)
                if not untried:
                    raise

    async def describe(self, *, check: bool = False) -> Worker:
        """What the worker is. `check`: also whether store, catalog and warehouse answer, which may take seconds."""
        return await self._call(request.describe(check))

    async def drain(self) -> int:
        """The worker claims no more jobs; how many still run there. Of several hosts it would be nobody's choice."""
        if len(self._hosts) > 1:
            raise ValueError(f"drain: found the targets {self._hosts.names}, expected a client of one worker")
        return await self._call(request.drain())

    async def _call(self, call: request.Call[_Value]) -> _Value:
        untried = len(self._hosts)
        while True:
            host = self._hosts.current()
            untried -= 1
            try:
                method = host.method(call.method)
                answer = await method(call.message, timeout=self._timeout, metadata=host.connection.metadata)
            except grpc.RpcError as error:
                if may_be_answered_elsewhere(error):
                    self._hosts.leave(host)
                    if untried:
                        continue
                raise call_error(error, host.connection, call.method, self._hosts.names) from error
            return call.read(answer)


class AsyncJobHandle(BaseJobHandle):
    """A job of an `AsyncClient`. Meaning and errors are those of `JobHandle`."""

    def __init__(self, client: AsyncClient, job: Job, *, epoch: int, created: bool) -> None:
        super().__init__(job, epoch=epoch, created=created)
        self._client = client

    async def wait(
        self,
        timeout: float | None = None,
        on_progress: Callable[[Job], object] | None = None,
        *,
        interval: float = 1.0,
    ) -> Self:
        """Waits until the job has succeeded; `on_progress` may be a coroutine function."""
        async for job in self._client.watch(self.job_id, timeout=timeout, interval=interval):
            self.job = job
            if on_progress is not None:
                told = on_progress(job)
                if isinstance(told, Awaitable):
                    await told
        request.raise_unless_succeeded(self.job)
        return self

    async def get(self) -> Job:
        """The job as it stands now."""
        self.job = await self._client.get(self.job_id)
        return self.job

    async def cancel(self, reason: str = "", epoch: int | None = None) -> Job:
        """Ends the job before its commit, as the try that this handle belongs to unless another epoch is given."""
        self.job = await self._client.cancel(self.job_id, reason, self.epoch if epoch is None else epoch)
        return self.job

    async def batches(self, *, on_dropped: Callable[[int], object] | None = None) -> AsyncIterator[pa.RecordBatch]:
        """The rows as Arrow batches, as `JobHandle.reader` gives them. Needs pyarrow."""
        try:
            rows = await self._client._job_rows(self.job_id, on_dropped)
            async with aclosing(self._client._threads.batches(rows)) as batches:
                async for batch in batches:
                    yield batch
        except MoulinError as error:
            raise await self._job_error(error) from error

    async def to_arrow(self, timeout: float | None = None) -> pa.Table:
        """Waits for the job and reads exactly the rows it landed. Needs pyarrow."""
        import pyarrow as pa

        if self.job.state is not JobState.SUCCEEDED:
            await self.wait(timeout)
        rows = await self._client._job_rows(self.job_id, None)
        try:
            batches: list[pa.RecordBatch] = await self._client._threads.run(list, rows)
        finally:
            rows.cancel()
        return pa.Table.from_batches(batches, rows.schema)

    def rejects(self) -> AsyncIterator[pa.RecordBatch]:
        """The rows that the job left out and kept, as `AsyncClient.rejects` gives them. Needs pyarrow."""
        return self._client.rejects(self)

    async def _job_error(self, error: MoulinError) -> MoulinError:
        """What to raise when rows cannot be read: the job's own failure, if that is why."""
        if request.is_about_the_reading(error):
            return error
        try:
            await self.wait(request.ENDING_SECONDS)
        except MoulinError as found:
            return found if isinstance(found, JobFailed) else error
        return error
