"""The connection to a worker."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import BaseHook

from moulin_provider.hooks.connection import client_arguments

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    import pyarrow as pa
    from moulin.aio import AsyncClient
    from moulin.client import Client, JobHandle
    from moulin.job import Job, Receipt
    from moulin.pool import Worker


class MoulinHook(BaseHook):
    """Clients of the workers that a connection of type `moulin` names.

    Host and port say where they are: `a,b:7071` names several workers of one job store, of which one that does not
    answer is left for the next. The password is the bearer token that they ask for (`auth.tokens`). Extras are `tls`,
    `ca_certificate`, `client_certificate`, `private_key` (each a path or the PEM text itself), `server_name`, `timeout`
    (seconds for one call) and `reconnect` (seconds for which a job is followed although no worker answers, because it
    is restarted: longer than a restart takes, or the task fails while its job goes on).
    """

    conn_name_attr = "moulin_conn_id"
    default_conn_name = "moulin_default"
    conn_type = "moulin"
    hook_name = "Moulin worker"

    def __init__(self, moulin_conn_id: str = default_conn_name) -> None:
        super().__init__()
        self.moulin_conn_id = moulin_conn_id
        self._arguments: dict[str, Any] | None = None

    def get_conn(self, *, timeout: float | None = None) -> Client:
        """A client for ordinary code; the caller closes it (`with hook.get_conn() as client:`).

        `timeout` are the seconds for one call, when they are to be fewer than the connection says.
        """
        from moulin.client import Client

        self._arguments = arguments = client_arguments(self.get_connection(self.moulin_conn_id))
        if timeout is not None:
            arguments = {**arguments, "timeout": min(timeout, arguments["timeout"])}
        return Client(**arguments)

    def get_conn_of_each_host(self) -> list[Client]:
        """A client for each host, as the connection was when it was last asked for; the caller closes them.

        To ask for it again is a question to another process, which may be in the middle of the last one.
        """
        from moulin.client import Client

        arguments = self._arguments or client_arguments(self.get_connection(self.moulin_conn_id))
        return [Client(**{**arguments, "target": target}) for target in arguments["target"]]

    async def get_async_conn(self) -> AsyncClient:
        """A client for the running event loop; the caller closes it (`async with await hook.get_async_conn()`)."""
        from moulin.aio import AsyncClient

        return AsyncClient(**client_arguments(await self.aget_connection(self.moulin_conn_id)))

    @asynccontextmanager
    async def shared_async_conn(self) -> AsyncIterator[AsyncClient]:
        """A client that all who use this connection in this event loop share (`async with`); for triggers."""
        from moulin_provider.hooks.shared import shared_client

        async with shared_client(client_arguments(await self.aget_connection(self.moulin_conn_id))) as client:
            yield client

    def reader(
        self, job: str | Mapping[str, Any] | Job | Receipt, *, on_dropped: Callable[[int], object] | None = None
    ) -> pa.RecordBatchReader:
        """The rows of a job or a query over Arrow Flight, for a task downstream: `hook.reader(land.output)`.

        `job` is a job's id, or the XCom of a task that landed or asked. Of a job that is over these are exactly the
        rows it landed, a batch at a time; of one that runs, those that it makes from now on; of a query its result. The
        connection is closed at the end of the rows, or when the reader is forgotten. Needs pyarrow.

        Raises:
            NotFound: the worker knows no such job, or a snapshot that the query reads has expired.

        """
        import pyarrow as pa

        client = self.get_conn()
        try:
            ticket = ticket_of(job)
            reader = client.redeem(ticket) if ticket else client.job(id_of(job)).reader(on_dropped=on_dropped)
        except BaseException:
            client.close()
            raise
        return pa.RecordBatchReader.from_batches(reader.schema, _closing(client, reader))

    async def batches(
        self, job: str | Mapping[str, Any] | Job | Receipt, *, on_dropped: Callable[[int], object] | None = None
    ) -> AsyncIterator[pa.RecordBatch]:
        """The rows of a job or a query as `reader` gives them, for asyncio."""
        async with await self.get_async_conn() as client:
            ticket = ticket_of(job)
            rows = client.redeem(ticket) if ticket else (await client.job(id_of(job))).batches(on_dropped=on_dropped)
            async with aclosing(rows) as batches:  # type: ignore[type-var]
                async for batch in batches:
                    yield batch

    def rejects(self, job: str | Mapping[str, Any] | Job | Receipt) -> pa.RecordBatchReader:
        """The rows that a job with `on_bad_row="quarantine"` left out, with place, code, reason and bytes."""
        with self.get_conn() as client:
            return client.rejects(id_of(job))

    def test_connection(self) -> tuple[bool, str]:
        """What the button "Test" shows: asks every host whether its store, catalog and warehouse answer."""
        from moulin.client import Client
        from moulin.errors import MoulinError

        try:
            arguments = client_arguments(self.get_connection(self.moulin_conn_id))
        except ValueError as error:
            return False, str(error)
        well, said = True, []
        for target in arguments["target"]:
            try:
                with Client(**{**arguments, "target": target}) as client:
                    worker = client.describe(check=True)
                well, text = well and worker.healthy, describe(worker)
            except (MoulinError, ValueError, OSError) as error:
                well, text = False, str(error)
            said.append(text if len(arguments["target"]) == 1 else f"{target}: {text}")
        return well, " | ".join(said)


def id_of(job: str | Mapping[str, Any] | Job | Receipt | JobHandle) -> str:
    """The id of a job that is named, described, or stands in the XCom of the task that landed it."""
    if isinstance(job, str):
        return job
    found = job.get("job_id") if isinstance(job, Mapping) else getattr(job, "job_id", None)
    if not isinstance(found, str):
        raise TypeError(f"job: found {type(job).__name__}, expected a job's id or the XCom of a task that landed")
    return found


def ticket_of(job: object) -> str | None:
    """The ticket in the XCom of a query; None: it is about a job."""
    found = job.get("ticket") if isinstance(job, Mapping) else None
    return found if isinstance(found, str) else None


def _closing(client: Client, batches: pa.RecordBatchReader) -> Iterator[pa.RecordBatch]:
    with client:
        yield from batches


def describe(worker: Worker) -> str:
    """One text about a worker: what it is, and what is wrong with it or that all is well."""
    what = (
        f"moulin {worker.version} on worker {worker.worker_id}: {worker.running} of {worker.slots} slots busy"
        f"{', draining' if worker.draining else ''}; Polars {worker.polars_version} (reads plans of Python polars "
        f"{worker.python_polars_version}), DataFusion {worker.datafusion_version}"
    )
    checks = "; ".join(f"{check.name} {'ok' if check.ok else 'FAILED'}: {check.detail}" for check in worker.checks)
    return f"{what}. {checks}" if checks else what
