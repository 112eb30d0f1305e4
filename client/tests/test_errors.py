"""From a failed call to the exception that says what to do."""

from __future__ import annotations

import pickle
from typing import Any

import grpc
import pytest

import moulin
from moulin.connection import Connection
from moulin.errors import error_of
from moulin.status import call_error, is_lost
from moulin.v1 import error_pb2, rpc_status_pb2
from moulin.watching import Patience

Code = grpc.StatusCode


class Failed(grpc.RpcError):
    """A failed call as gRPC raises it."""

    def __init__(self, code: Code, said: str = "", trailers: tuple[tuple[str, Any], ...] = ()) -> None:
        self._parts = (code, said, trailers)

    def code(self) -> Code:
        return self._parts[0]

    def details(self) -> str:
        return self._parts[1]

    def trailing_metadata(self) -> Any:
        return self._parts[2]


def at(target: str) -> Connection:
    return Connection.of(target, False, None, None)


def failed_with(code: Code, fault: error_pb2.Fault) -> Failed:
    status = rpc_status_pb2.RpcStatus(code=code.value[0], message=fault.message)
    status.details.add(type_url="type.googleapis.com/moulin.v1.Fault", value=fault.SerializeToString())
    return Failed(code, fault.message, (("grpc-status-details-bin", status.SerializeToString()),))


def test_the_workers_fault_is_raised_with_all_it_says() -> None:
    fault = error_pb2.Fault(
        kind=error_pb2.FAULT_KIND_BAD_ROW,
        message="`x` is not an int (a.csv, line 3, byte 20)",
        hint="correct the file",
        causes=["one", "two"],
        place=error_pb2.Place(uri="a.csv", record=2, line=3, byte_offset=20, column="n"),
    )
    error = call_error(failed_with(Code.INVALID_ARGUMENT, fault), at("w:1"), "Submit")
    assert type(error) is moulin.BadInput
    assert error.fault.place == moulin.Place("a.csv", 2, 3, 20, "n")
    assert str(error.fault.place) == "a.csv, line 3, byte 20"
    assert str(error).splitlines() == [
        "`x` is not an int (a.csv, line 3, byte 20)",
        "  because: one",
        "  because: two",
        "  what to do: correct the file",
    ]


@pytest.mark.parametrize(
    ("code", "said", "kind", "retryable"),
    [
        (Code.UNAVAILABLE, "connection refused", moulin.Unavailable, True),
        (Code.DEADLINE_EXCEEDED, "", moulin.CallTimeout, True),
        (Code.UNAUTHENTICATED, "no token", moulin.PermissionDenied, False),
        (Code.RESOURCE_EXHAUSTED, "Sent message larger than max (5 vs. 4)", moulin.ResourceExhausted, False),
        (Code.RESOURCE_EXHAUSTED, "no more", moulin.ResourceExhausted, True),
        (Code.UNIMPLEMENTED, "", moulin.MoulinError, False),
        (Code.INTERNAL, "", moulin.MoulinError, False),
    ],
)
def test_a_failure_without_a_fault_names_the_worker(
    code: Code, said: str, kind: type[moulin.MoulinError], retryable: bool
) -> None:
    error = call_error(Failed(code, said), at("worker:7070"), "Plan")
    assert type(error) is kind
    assert "worker:7070" in error.message
    assert said in error.message
    assert error.hint
    assert error.retryable is retryable


@pytest.mark.parametrize("details", [b"\xff\xff\xff", b"", rpc_status_pb2.RpcStatus(code=3).SerializeToString()])
def test_details_of_somebody_else_do_not_hide_the_status(details: bytes) -> None:
    failed = Failed(Code.UNAVAILABLE, "upstream", (("grpc-status-details-bin", details),))
    assert isinstance(call_error(failed, at("w:1"), "Get"), moulin.Unavailable)


def test_only_a_broken_connection_is_asked_again() -> None:
    assert is_lost(Failed(Code.UNAVAILABLE))
    assert is_lost(Failed(Code.UNKNOWN, "h2 protocol error"))
    assert not is_lost(Failed(Code.UNIMPLEMENTED))
    assert not is_lost(failed_with(Code.UNKNOWN, error_pb2.Fault(kind=error_pb2.FAULT_KIND_INTERNAL)))
    down = error_pb2.Fault(kind=error_pb2.FAULT_KIND_UNAVAILABLE, retryable=True)
    assert is_lost(failed_with(Code.UNAVAILABLE, down))


def test_every_kind_has_an_exception_that_can_be_pickled() -> None:
    for kind in moulin.FaultKind:
        error = error_of(moulin.Fault(kind, "m", "h", True, ("c",)))
        again = pickle.loads(pickle.dumps(error))
        assert (type(again), again.fault) == (type(error), error.fault)


def test_a_fault_survives_json() -> None:
    fault = moulin.Fault(moulin.FaultKind.BAD_ROW, "m", "h", False, ("c",), moulin.Place("a", 1, 2, 3, "n"))
    assert moulin.Fault.from_dict(fault.to_dict()) == fault
    assert moulin.Fault.from_dict({"kind": "of tomorrow", "message": "m"}).kind is moulin.FaultKind.UNKNOWN


def test_patience_ends_at_its_bound_and_begins_anew_when_something_is_heard() -> None:
    now = 0.0
    patience = Patience(10.0, clock=lambda: now)
    lost = moulin.Unavailable(moulin.Fault(moulin.FaultKind.UNAVAILABLE, "gone"))

    def silence() -> list[float]:
        nonlocal now
        pauses = []
        try:
            while True:
                pauses.append(patience.pause(lost))
                now += pauses[-1]
        except moulin.Unavailable:
            return pauses

    first = silence()
    assert sum(first) == pytest.approx(10.0)
    assert 0.1 <= first[0] <= 0.2
    assert max(first) <= 5.0
    patience.heard()
    assert sum(silence()) == pytest.approx(10.0)


@pytest.mark.parametrize("target", ["localhost", ":7070", "http://localhost:7070", "localhost:port"])
def test_a_wrong_target_says_what_is_expected(target: str) -> None:
    with pytest.raises(ValueError, match="expected host:port"):
        moulin.Client(target)


def test_secrets_do_not_print() -> None:
    tls = moulin.TLSConfig(client_key=b"hunter3", client_certificate=b"public")
    connection = Connection.of("localhost:1", tls, "hunter2", {"X-Team": "hunter4"})
    assert connection.metadata == (("x-team", "hunter4"), ("authorization", "Bearer hunter2"))
    assert "hunter" not in repr(connection)


def test_a_key_without_its_certificate_is_refused() -> None:
    with pytest.raises(ValueError, match="go together"):
        moulin.TLSConfig(client_key=b"key")
