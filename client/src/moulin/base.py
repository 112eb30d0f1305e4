"""What the clients for ordinary code and for asyncio share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from moulin.connection import Connection, TLSConfig
from moulin.hosts import Hosts
from moulin.job import Job, Receipt
from moulin.watching import Following


class BaseClient(ABC):
    """A connection to a worker; what is done with it stands in `Client` and `AsyncClient`."""

    def __init__(
        self,
        target: str | Sequence[str] = "localhost:7070",
        *,
        tls: bool | TLSConfig = False,
        token: str | None = None,
        metadata: Mapping[str, str] | None = None,
        timeout: float = 60.0,
        reconnect: float = 120.0,
    ) -> None:
        self._hosts = Hosts(Connection.several(target, tls, token, metadata), self._grpc())
        self._timeout = timeout
        self._reconnect = reconnect

    @abstractmethod
    def _grpc(self) -> Any:
        """The module that opens channels: `grpc` or `grpc.aio`."""

    @property
    def connection(self) -> Connection:
        """The connection in use: of several hosts the one that answered last."""
        return self._hosts.connection

    def _following(self, job_id: str, timeout: float | None) -> Following:
        return Following(self._hosts, self._reconnect, job_id, timeout)


class BaseJobHandle:
    """A job of a client, as it was last heard of."""

    def __init__(self, job: Job, *, epoch: int, created: bool) -> None:
        self.job = job
        """As it stood when it was last heard of."""
        self.epoch = epoch
        self.created = created
        """False: the key had this job already and the submit attached to it."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.job_id} {self.job.state} {self.job.table}>"

    @property
    def job_id(self) -> str:
        """The worker's name for the job."""
        return self.job.job_id

    @property
    def receipt(self) -> Receipt | None:
        """What came of the job; None until it was seen to have succeeded."""
        return self.job.receipt


def id_of(job: str | Job | BaseJobHandle) -> str:
    """The id of a job that is named, described or held."""
    return job if isinstance(job, str) else job.job_id
