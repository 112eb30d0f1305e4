"""The connection to a worker."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import BaseHook

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Connection
    from moulin.aio import AsyncClient
    from moulin.client import Client
    from moulin.pool import Worker

DEFAULT_PORT = 7070
CALL_TIMEOUT = 30.0
RECONNECT = 600.0


class MoulinHook(BaseHook):
    """Clients of the worker that a connection of type `moulin` names.

    Host and port say where it is; the password is a bearer token for a proxy in front of it; extras are `tls`,
    `timeout` (seconds for one call) and `reconnect` (seconds for which a job is followed although its worker
    does not answer, because it is restarted: longer than a restart takes, or the task fails while its job goes on).
    """

    conn_name_attr = "moulin_conn_id"
    default_conn_name = "moulin_default"
    conn_type = "moulin"
    hook_name = "Moulin worker"

    def __init__(self, moulin_conn_id: str = default_conn_name) -> None:
        super().__init__()
        self.moulin_conn_id = moulin_conn_id

    def get_conn(self) -> Client:
        """A client for ordinary code; the caller closes it (`with hook.get_conn() as client:`)."""
        from moulin.client import Client

        return Client(**client_arguments(self.get_connection(self.moulin_conn_id)))

    async def get_async_conn(self) -> AsyncClient:
        """A client for the running event loop; the caller closes it (`async with await hook.get_async_conn()`)."""
        from moulin.aio import AsyncClient

        return AsyncClient(**client_arguments(await self.aget_connection(self.moulin_conn_id)))

    def test_connection(self) -> tuple[bool, str]:
        """What the button "Test" shows: asks the worker whether its store, catalog and warehouse answer."""
        from moulin.errors import MoulinError

        try:
            with self.get_conn() as client:
                worker = client.describe(check=True)
        except (MoulinError, ValueError) as error:
            return False, str(error)
        return worker.healthy, describe(worker)


def client_arguments(connection: Connection) -> dict[str, Any]:
    """What an Airflow connection says, as the arguments of a client."""
    extra = connection.extra_dejson
    host = connection.host or "localhost"
    if ":" in host and not host.startswith("["):
        host = f"[{host}]"
    return {
        "target": f"{host}:{connection.port or DEFAULT_PORT}",
        "tls": _flag(extra.get("tls")),
        "token": connection.password or None,
        "timeout": float(extra.get("timeout") or CALL_TIMEOUT),
        "reconnect": float(extra.get("reconnect") or RECONNECT),
    }


def _flag(value: object) -> bool:
    """Connections from a form hold booleans, those from a URI hold texts."""
    return value.strip().lower() in ("1", "true", "yes", "on") if isinstance(value, str) else bool(value)


def describe(worker: Worker) -> str:
    """One text about a worker: what it is, and what is wrong with it or that all is well."""
    what = (
        f"moulin {worker.version} on worker {worker.worker_id}: {worker.running} of {worker.slots} slots busy"
        f"{', draining' if worker.draining else ''}; Polars {worker.polars_version} (reads plans of Python polars "
        f"{worker.python_polars_version}), DataFusion {worker.datafusion_version}"
    )
    checks = "; ".join(f"{check.name} {'ok' if check.ok else 'FAILED'}: {check.detail}" for check in worker.checks)
    return f"{what}. {checks}" if checks else what
