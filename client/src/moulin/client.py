"""The client for ordinary code. `AsyncClient` is the same for asyncio."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Self, TypeVar

import grpc

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

_Request = TypeVar("_Request")
_Answer = TypeVar("_Answer")


class Client:
    """A connection to a worker. Cheap to make, safe to share between threads, opened by the first call.

    `timeout` bounds every single call in seconds; `reconnect` says for how long `wait` and `watch` go on asking
    when the worker does not answer, e.g. because it is restarted. `token` is sent as `authorization: Bearer ...`
    and `metadata` as it is, for a proxy in front of the worker, which itself checks neither; without `tls` both
    travel unencrypted.
    """

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
            self._channel = grpc.insecure_channel(target, options=options)
        else:
            self._channel = grpc.secure_channel(target, credentials, options=options)
        self._jobs = JobServiceStub(self._channel)
        self._pool = PoolServiceStub(self._channel)

    def close(self) -> None:
        """Closes the connection; open watches end."""
        self._channel.close()

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
    ) -> JobHandle:
        """Asks for a job, or attaches to the one that this key and generation already have.

        Without a key the job gets one of its own, so that every such submit is a new job.

        Raises:
            SpecError: the spec is wrong, as far as that can be known now.
            NotFound: an input file does not exist.
            Unavailable: no worker answered; submitting again with the same key is safe.

        """
        answer = self._call("Submit", self._jobs.Submit, request.submit(spec, key, generation, epoch))
        return JobHandle(self, decode_job(answer.job), epoch=epoch, created=answer.created)

    def get(self, job_id: str) -> Job:
        """A job as it stands."""
        return decode_job(self._call("Get", self._jobs.Get, pb.GetRequest(job_id=job_id)).job)

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
        patience, deadline = Patience(self._reconnect), Deadline(timeout)
        while True:
            lost: MoulinError
            call = self._jobs.Watch(
                request.watch(job_id, interval), timeout=deadline.left(), metadata=self.connection.metadata
            )
            try:
                for answer in call:
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
            time.sleep(pause if left is None else min(pause, left))
            if deadline.passed():
                raise deadline.error(job_id)

    def cancel(self, job_id: str, reason: str = "", epoch: int | None = None) -> Job:
        """Ends a job before its commit; what has committed stays. Without an epoch: whoever owns the job now.

        Raises:
            StaleEpoch: a newer try owns the job.

        """
        if epoch is None:
            epoch = self.get(job_id).epoch
        answer = self._call("Cancel", self._jobs.Cancel, request.cancel(job_id, reason, epoch))
        return decode_job(answer.job)

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
            answer = self._call("List", self._jobs.List, request.page(wanted, dag_id, table, page_size, token))
            yield from map(decode_job, answer.jobs)
            token = answer.next_page_token
            if not token:
                return

    def plan(self, spec: JobSpec | Mapping[str, Any]) -> JobPlan:
        """What a job would do; changes nothing. Raises as `submit` does."""
        message = pb.PlanRequest(spec=encode_spec(request.spec_from(spec)))
        return decode_plan(self._call("Plan", self._jobs.Plan, message).plan)

    def describe(self, *, check: bool = False) -> Worker:
        """What the worker is. `check`: also whether store, catalog and warehouse answer, which may take seconds."""
        message = pool_pb.DescribeRequest(check=check)
        return decode_worker(self._call("Describe", self._pool.Describe, message))

    def drain(self) -> int:
        """The worker claims no more jobs; how many still run there."""
        return self._call("Drain", self._pool.Drain, pool_pb.DrainRequest()).running

    def _call(self, name: str, method: grpc.UnaryUnaryMultiCallable[_Request, _Answer], message: _Request) -> _Answer:
        try:
            return method(message, timeout=self._timeout, metadata=self.connection.metadata)
        except grpc.RpcError as error:
            raise call_error(error, self.connection.target, name) from error


class JobHandle:
    """A job of a client."""

    def __init__(self, client: Client, job: Job, *, epoch: int, created: bool) -> None:
        self._client = client
        self.job = job
        """As it stood when it was last heard of."""
        self.epoch = epoch
        self.created = created
        """False: the key had this job already and the submit attached to it."""

    def __repr__(self) -> str:
        return f"<JobHandle {self.job_id} {self.job.state} {self.job.table}>"

    @property
    def job_id(self) -> str:
        """The worker's name for the job."""
        return self.job.job_id

    @property
    def receipt(self) -> Receipt | None:
        """What came of the job; None until it was seen to have succeeded."""
        return self.job.receipt

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

        from moulin import flight

        try:
            rows = flight.Rows(self.connection, self.job_id, on_dropped)
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
