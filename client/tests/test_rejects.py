"""Reading the rows that a job left out, from a server that speaks only Flight."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import flight

import moulin

REJECTS = pa.table({"line": [3, 9], "code": ["type.int", "csv.field_count"]})


class Server(flight.FlightServerBase):  # type: ignore[misc]
    """Has the rejects of the job `j1`, and no other."""

    def get_flight_info(self, context: Any, descriptor: Any) -> flight.FlightInfo:
        path = [part.decode() for part in descriptor.path]
        if path != ["job", "j1", "rejects"]:
            raise KeyError(f"no rows at {path}")
        endpoint = flight.FlightEndpoint("j1", [])
        return flight.FlightInfo(REJECTS.schema, descriptor, [endpoint], -1, -1)

    def do_get(self, context: Any, ticket: Any) -> flight.RecordBatchStream:
        return flight.RecordBatchStream(REJECTS)


@pytest.fixture
def server() -> Iterator[str]:
    with Server("grpc://127.0.0.1:0") as server:
        yield f"127.0.0.1:{server.port}"


def test_rejects_are_read_as_arrow(server: str) -> None:
    with moulin.Client(server) as client:
        assert client.rejects("j1").read_all() == REJECTS


def test_a_job_without_rejects_is_named(server: str) -> None:
    with moulin.Client(server) as client, pytest.raises(moulin.NotFound, match="the rejects of job j2 cannot be read"):
        client.rejects("j2")


async def test_rejects_are_read_in_asyncio(server: str) -> None:
    async with moulin.AsyncClient(server) as client:
        batches = [batch async for batch in client.rejects("j1")]
    assert pa.Table.from_batches(batches) == REJECTS
