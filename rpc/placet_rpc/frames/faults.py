"""Statuses below 100: what a server says of a request instead of a reply. From 100 on they are HTTP's."""

import enum

from placet_rpc.errors import CallCancelled, CallRefused, ReplyTooLarge, RpcError
from placet_rpc.frames.layout import DO_NOT_REPEAT, Frame

FIRST_REPLY_STATUS = 100


class Fault(enum.IntEnum):
    """Why there is no reply."""

    OVERLOADED = 1
    DRAINING = 2
    EXPIRED = 3
    TOO_LARGE = 4
    UNKNOWN_CODEC = 5
    MALFORMED = 6
    REPLY_TOO_LARGE = 16
    CANCELLED = 17


_NOT_EXECUTED = {
    Fault.OVERLOADED: "the server is at its limit of requests",
    Fault.DRAINING: "the server is shutting down",
    Fault.EXPIRED: "the call's time was up before the server began it",
    Fault.TOO_LARGE: "the request is over the server's max_message_bytes",
    Fault.UNKNOWN_CODEC: "the server does not take this codec",
    Fault.MALFORMED: "the server could not read the request's map",
}


def fault_error(frame: Frame, endpoint: str) -> RpcError:
    """Returns the error that a RESPONSE with a status below 100 stands for."""
    status = frame.status
    if status == Fault.REPLY_TOO_LARGE:
        message = "the request was run, but its reply is over a limit: raise max_message_bytes on both sides"
        return ReplyTooLarge(message, limit="max_message_bytes", endpoint=endpoint, executed=True)
    if status == Fault.CANCELLED:
        return CallCancelled("the server ended the request before it was done", endpoint=endpoint)
    # A later version's refusals are below 16 too: what is not run may be repeated, whatever the cause.
    reason = _NOT_EXECUTED.get(status, f"fault {status}") if status < Fault.REPLY_TOO_LARGE else ""  # type: ignore[call-overload]  # an int finds its member
    if not reason:
        return CallCancelled(f"the server answered with fault {status}", endpoint=endpoint)
    push_back_ms = frame.push_back_ms
    if push_back_ms == DO_NOT_REPEAT:
        push_back_ms = -1
    name = Fault(status).name.lower() if status in _NOT_EXECUTED else "refused"
    return CallRefused(reason, reason=name, push_back_ms=push_back_ms, endpoint=endpoint)
