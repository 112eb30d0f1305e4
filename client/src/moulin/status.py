"""From a failed gRPC call to the exception that says what happened and what to do."""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

import grpc
from google.protobuf.message import DecodeError

from moulin.connection import Connection
from moulin.errors import MoulinError, error_of
from moulin.fault import Fault, FaultKind
from moulin.tls_errors import closed_hint, tls_fault
from moulin.v1 import error_pb2, rpc_status_pb2
from moulin.wire import decode_fault

_DETAILS = "grpc-status-details-bin"

# What a connection that broke looks like; a status with a fault in it is the worker's own word instead.
_LOST = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED, grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN)


def call_error(error: grpc.RpcError, connection: Connection, call: str, asked: str = "") -> MoulinError:
    """The exception of a failed call: the worker's fault, or words about the connection.

    `asked` names all the workers that were asked, when it was more than the one of the connection.
    """
    return error_of(_sent_fault(error) or _transport_fault(error, connection, asked or connection.target, call))


def is_lost(error: grpc.RpcError) -> bool:
    """Whether the connection broke, or the worker says it cannot be used just now, so that asking again is right."""
    fault = _sent_fault(error)
    if fault is not None:
        return fault.kind is FaultKind.UNAVAILABLE and fault.retryable
    return cast("grpc.Call", error).code() in _LOST


def may_be_answered_elsewhere(error: grpc.RpcError) -> bool:
    """Whether another worker of the same store may answer: this one is gone, drains, is full or says nothing.

    Every call may be made twice: a submit is known by its key, and the others change nothing a second time.
    """
    fault = _sent_fault(error)
    if fault is not None:
        return fault.retryable and fault.kind in (FaultKind.UNAVAILABLE, FaultKind.RESOURCE_EXHAUSTED)
    code = cast("grpc.Call", error).code()
    return code is grpc.StatusCode.DEADLINE_EXCEEDED or (code in _LOST and code is not grpc.StatusCode.CANCELLED)


def _sent_fault(error: grpc.RpcError) -> Fault | None:
    trailers: Iterable[tuple[str, str | bytes]] = cast("grpc.Call", error).trailing_metadata() or ()
    for name, value in trailers:
        if name == _DETAILS and isinstance(value, bytes):
            return _fault_in(value)
    return None


def _fault_in(details: bytes) -> Fault | None:
    try:
        for one in rpc_status_pb2.RpcStatus.FromString(details).details:
            fault = error_pb2.Fault()
            if one.Unpack(fault):
                return decode_fault(fault)
    except DecodeError:
        # Somebody else's details, e.g. of a proxy: the status code still says what happened.
        return None
    return None


def _transport_fault(error: grpc.RpcError, connection: Connection, target: str, call: str) -> Fault:
    status = cast("grpc.Call", error)
    code, said = status.code(), status.details() or "no details"
    match code:
        case grpc.StatusCode.UNAVAILABLE | grpc.StatusCode.CANCELLED:
            if refused := tls_fault(said, connection.target):
                return refused
            message = f"no answer from a moulin worker at {target}: {said}"
            hint = "start one with `moulin serve`, or correct the address; it must be reachable from here"
            if closed := closed_hint(said, encrypted=connection.encrypted, certified=connection.certified):
                hint = closed
            return Fault(FaultKind.UNAVAILABLE, message, hint, retryable=True)
        case grpc.StatusCode.DEADLINE_EXCEEDED:
            message = f"the worker at {target} did not answer {call} in time"
            hint = "try again; give the client a longer timeout when the source has very many files"
            return Fault(FaultKind.DEADLINE_EXCEEDED, message, hint, retryable=True)
        case grpc.StatusCode.UNAUTHENTICATED | grpc.StatusCode.PERMISSION_DENIED:
            message = f"{target} refused {call}: {said}"
            return Fault(FaultKind.PERMISSION_DENIED, message, "give the client a valid token or certificate")
        case grpc.StatusCode.RESOURCE_EXHAUSTED:
            # gRPC says so itself when a message is over the limit, and that stays so.
            fits = "larger than max" not in said
            hint = "try again later" if fits else "make the job's description or the page smaller"
            return Fault(FaultKind.RESOURCE_EXHAUSTED, f"{call} at {target}: {said}", hint, retryable=fits)
        case grpc.StatusCode.UNIMPLEMENTED:
            message = f"{target} does not know {call}: {said}"
            hint = "check that the address is that of a moulin worker and not older than this client"
            return Fault(FaultKind.INTERNAL, message, hint)
        case _:
            message = f"{call} at {target} failed with {code.name}: {said}"
            return Fault(FaultKind.INTERNAL, message, "look into the worker's log")
