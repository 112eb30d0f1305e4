"""What gRPC says about a connection that was not made, as the part of the connection that is to be corrected."""

from __future__ import annotations

from moulin.fault import Fault, FaultKind

_NAME = ("Hostname Verification Check failed", "is not in peer certificate")
_NO_TLS = "WRONG_VERSION_NUMBER"
_UNTRUSTED = "SSL_ERROR_SSL"
_ALERT = "TSI_DATA_CORRUPTED"
_CLOSED = ("Socket closed", "Connection reset by peer", "Broken pipe")


def tls_fault(said: str, target: str) -> Fault | None:
    """The fault of a TLS handshake that cannot succeed however often it is tried; None: it is about something else."""
    if any(words in said for words in _NAME):
        return _refused(
            f"the certificate of the worker at {target} is for another name",
            "connect to a name that is in the certificate, or say which one is (`server_name`)",
            said,
        )
    if _NO_TLS in said:
        return _refused(
            f"the worker at {target} speaks no TLS",
            "connect without TLS, or set [tls] in the worker's configuration",
            said,
        )
    if _UNTRUSTED in said:
        return _refused(
            f"the certificate of the worker at {target} is not trusted",
            "give the client the certificate of the authority that signed it; `moulin doctor` at the worker says "
            "whether the certificate has expired",
            said,
        )
    if _ALERT in said:
        # The client's side of the handshake is over when the other side says that it does not like the certificate.
        return _refused(
            f"the worker at {target} refused the client's certificate",
            "does the worker trust it (`tls.client_ca` in its configuration), and has it not expired?",
            said,
        )
    return None


def closed_hint(said: str, *, encrypted: bool, certified: bool) -> str | None:
    """What may be wrong when the other side closes a connection before it was of use; None: nothing of TLS."""
    if not any(words in said for words in _CLOSED):
        return None
    if not encrypted:
        return "does the worker speak TLS? then the client has to as well (`tls=True`, field TLS of the connection)"
    return "does the worker trust the client's certificate (`tls.client_ca`)?" if certified else None


def _refused(message: str, hint: str, said: str) -> Fault:
    return Fault(FaultKind.PERMISSION_DENIED, message, hint, causes=(said,))
