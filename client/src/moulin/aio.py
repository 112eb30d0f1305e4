"""The client for asyncio: the same calls as `moulin.Client`, awaited."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast

import grpc
import grpc.aio

from moulin import request
from moulin.connection import Connection, TLSConfig
from moulin.errors import JobFailed, MoulinError
from moulin.job import Job, JobState, Receipt
from moulin.plan import JobPlan
from moulin.pool import Worker
from moulin.spec import JobKey, JobSpec
from moulin.status import call_error, is_lost
from moulin.v1 import job_service_pb2 as pb
from moulin.v1 import pool_service_pb2 as pool_pb
from moulin.v1.job_service_pb2_grpc import JobServiceStub
from moulin.v1.pool_service_pb2_grpc import PoolServiceStub
from moulin.watching import Deadline, Patience, stream_ended
from moulin.wire import decode_job, decode_plan, decode_worker, encode_spec

if TYPE_CHECKING:
    import pyarrow as pa

    from moulin.flight import Rows
    from moulin.v1.job_service_pb2_grpc import JobServiceAsyncStub
    from moulin.v1.pool_service_pb2_grpc import PoolServiceAsyncStub

_Request = TypeVar("_Request")
_Answer = TypeVar("_Answer")


class AsyncClient:
    """A connection to a worker, for one event loop. Arguments, errors and meaning are those of `Client`."""

    def __init__(
        self,
        target: str = "localhost:7070",
        *,
        tls: bool | TLSConfig = False,
        token: str | None = None,
        metadata: Mapping[str, str] | None = None,
        timeout: float = 60.0,
        reconnect: float = 120.0,
    ) -> None:
        self.connection = Connection.of(target, tls, token, metadata)
        self._timeout = timeout
        self._reconnect = reconnect
        credentials, options = self.connection.credentials(), self.connection.options()
        if credentials is None:
            self._channel = grpc.aio.insecure_channel(target, options=options)
        else:
            self._channel = grpc.aio.secure_channel(target, credentials, options=options)
        self._jobs = cast("JobServiceAsyncStub", JobServiceStub(self._channel))
        self._pool = cast("PoolServiceAsyncStub", PoolServiceStub(self._channel))

    async def close(self) -> None:
        """Closes the connection; open watches end."""
        await self._channel.close()

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
    ) -> AsyncJobHandle:
        """Asks for a job, or attaches to the one that this key and generation already have."""
        message = request.submit(spec, key, generation, epoch)
        answer = await self._call("Submit", self._jobs.Submit, message)
        return AsyncJobHandle(self, decode_job(answer.job), epoch=epoch, created=answer.created)

    async def get(self, job_id: str) -> Job:
        """A job as it stands."""
        return decode_job((await self._call("Get", self._jobs.Get, pb.GetRequest(job_id=job_id))).job)

    async def job(self, job_id: str) -> AsyncJobHandle:
        """A handle on a job that was submitted elsewhere."""
        job = await self.get(job_id)
        return AsyncJobHandle(self, job, epoch=job.epoch, created=False)

    async def watch(self, job_id: str, *, timeout: float | None = None, interval: float = 1.0) -> AsyncIterator[Job]:
        """The job as it stands, again at every change and at least every `interval` seconds, until it is over.

        Goes on over a restart of the worker. Leaving the loop, or cancelling the task, leaves the job alone.
        """
        patience, deadline = Patience(self._reconnect), Deadline(timeout)
        while True:
            lost: MoulinError
            call = self._jobs.Watch(
                request.watch(job_id, interval), timeout=deadline.left(), metadata=self.connection.metadata
            )
            try:
                async for answer in call:
                    patience.heard()
                    job = decode_job(answer.job)
                    yield job
                    if job.state.is_final:
                        return
                lost = stream_ended(self.connection.target, job_id)
            except grpc.RpcError as error:
                if deadline.passed():
                    raise deadline.error(job_id) from error
                lost = call_error(error, self.connection.target, "Watch")
                if not is_lost(error):
                    raise lost from error
            finally:
                call.cancel()
            pause, left = patience.pause(lost), deadline.left()
            await asyncio.sleep(pause if left is None else min(pause, left))
            if deadline.passed():
                raise deadline.error(job_id)

    async def cancel(self, job_id: str, reason: str = "", epoch: int | None = None) -> Job:
        """Ends a job before its commit; what has committed stays. Without an epoch: whoever owns the job now."""
        if epoch is None:
            epoch = (await self.get(job_id)).epoch
        answer = await self._call("Cancel", self._jobs.Cancel, request.cancel(job_id, reason, epoch))
        return decode_job(answer.job)

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
            message = request.page(wanted, dag_id, table, page_size, token)
            answer = await self._call("List", self._jobs.List, message)
            for job in answer.jobs:
                yield decode_job(job)
            token = answer.next_page_token
            if not token:
                return

    async def plan(self, spec: JobSpec | Mapping[str, Any]) -> JobPlan:
        """What a job would do; changes nothing."""
        message = pb.PlanRequest(spec=encode_spec(request.spec_from(spec)))
        return decode_plan((await self._call("Plan", self._jobs.Plan, message)).plan)

    async def describe(self, *, check: bool = False) -> Worker:
        """What the worker is. `check`: also whether store, catalog and warehouse answer, which may take seconds."""
        return decode_worker(await self._call("Describe", self._pool.Describe, pool_pb.DescribeRequest(check=check)))

    async def drain(self) -> int:
        """The worker claims no more jobs; how many still run there."""
        return (await self._call("Drain", self._pool.Drain, pool_pb.DrainRequest())).running

    async def _call(
        self, name: str, method: grpc.aio.UnaryUnaryMultiCallable[_Request, _Answer], message: _Request
    ) -> _Answer:
        try:
            return await method(message, timeout=self._timeout, metadata=self.connection.metadata)
        except grpc.RpcError as error:
            raise call_error(error, self.connection.target, name) from error


class AsyncJobHandle:
    """A job of an `AsyncClient`. Meaning and errors are those of `JobHandle`."""

    def __init__(self, client: AsyncClient, job: Job, *, epoch: int, created: bool) -> None:
        self._client = client
        self.job = job
        """As it stood when it was last heard of."""
        self.epoch = epoch
        self.created = created
        """False: the key had this job already and the submit attached to it."""

    def __repr__(self) -> str:
        return f"<AsyncJobHandle {self.job_id} {self.job.state} {self.job.table}>"

    @property
    def job_id(self) -> str:
        """The worker's name for the job."""
        return self.job.job_id

    @property
    def receipt(self) -> Receipt | None:
        """What came of the job; None until it was seen to have succeeded."""
        return self.job.receipt

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
        rows: Rows | None = None
        try:
            rows = await self._rows(on_dropped)
            batches = iter(rows)
            while (batch := await asyncio.to_thread(next, batches, None)) is not None:
                yield batch
        except MoulinError as error:
            raise await self._job_error(error) from error
        finally:
            if rows is not None:
                rows.cancel()

    async def to_arrow(self, timeout: float | None = None) -> pa.Table:
        """Waits for the job and reads exactly the rows it landed. Needs pyarrow."""
        import pyarrow as pa

        if self.job.state is not JobState.SUCCEEDED:
            await self.wait(timeout)
        rows = await self._rows(None)
        try:
            batches = await asyncio.to_thread(list, rows)
        finally:
            rows.cancel()
        return pa.Table.from_batches(batches, rows.schema)

    async def _rows(self, on_dropped: Callable[[int], object] | None) -> Rows:
        from moulin import flight

        return await asyncio.to_thread(flight.Rows, self._client.connection, self.job_id, on_dropped)

    async def _job_error(self, error: MoulinError) -> MoulinError:
        """What to raise when rows cannot be read: the job's own failure, if that is why."""
        if request.is_about_the_reading(error):
            return error
        try:
            await self.wait(request.ENDING_SECONDS)
        except MoulinError as found:
            return found if isinstance(found, JobFailed) else error
        return error
