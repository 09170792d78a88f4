"""What a server says of a call of a method, as statuses of HTTP, and what a client makes of them.

    200 the result · 401 who are you · 403 not for you · 404 no such service or method
    409 an exception of the contract · 410 taken before, its answer is not kept · 412 not in its order's turn
    422 the arguments don't fit, or are not those of its idempotency key · 425 the same request is still running
    429 at a limit · 500 an exception outside of the contract · 503 something that the server needs is down

Only 200, 409 and 500 say that this request ran; 410 and 425 that one like it did, or may. The field `placet-rpc` marks
an answer as one of ours: an error page of a proxy has none.
"""

from typing import Any

import msgspec

from placet_rpc.codecs.codec import Codec
from placet_rpc.contract import ServiceSpec
from placet_rpc.errors import (
    CallOngoing,
    CallRefused,
    CallRepeated,
    KeyReused,
    OutcomeLost,
    OutOfOrder,
    ProtocolViolation,
    RemoteFault,
    ReplyUnreadable,
    RpcError,
)
from placet_rpc.invocation import Invocation
from placet_rpc.transport import Reply

MARK = b"placet-rpc"
MARKED = {MARK: b"1"}

OK = 200
UNAUTHENTICATED = 401
FORBIDDEN = 403
NO_SUCH_METHOD = 404
RAISED = 409
TAKEN_BEFORE = 410
NOT_ITS_TURN = 412
UNFIT = 422
ONGOING = 425
AT_LIMIT = 429
FAULT = 500
UNAVAILABLE = 503


class Raised(msgspec.Struct, frozen=True, omit_defaults=True):
    """The body of any status but 200.

    Attributes:
        kind: class name of the exception, where there was one; else the reason, where the status leaves several.
        args: its `args`, if it is part of the contract.
        detail: words for a human.
        retry_after_ms: how long to wait before a repeat, where one makes sense.
    """

    kind: str = ""
    args: list[Any] = []
    detail: str = ""
    retry_after_ms: int = 0


def result_of(call: Invocation, codec: Codec, reply: Reply, endpoint: str) -> object:
    """Returns the result that a reply carries, or raises what it stands for.

    Raises:
        RpcError: there is no result.
        Exception: one of the contract's.
    """
    if reply.status == OK:
        try:
            return call.method.coding(codec).decode_result(reply.body)
        except ValueError as error:
            raise ReplyUnreadable(f"the result is not what the contract says: {error}", endpoint=endpoint) from None
    try:
        raised: Raised = codec.decoder(Raised)(reply.body)
    except ValueError:
        raised = Raised(detail="without a readable reason")
    if reply.status == RAISED:
        raise _exception(call.service, raised, endpoint)
    if reply.status == FAULT:
        message = f"{call.service.key}.{call.method.name} failed with {raised.kind}; the server's log says more"
        raise RemoteFault(message, kind=raised.kind, endpoint=endpoint)
    raise _refusal(reply.status, raised, endpoint)


NO_SUCH_METHOD_REASON = "no_such_method"
UNFIT_REASON = "arguments"

_NEVER = -1
_REASONS = {
    UNAUTHENTICATED: "unauthenticated",
    FORBIDDEN: "forbidden",
    NO_SUCH_METHOD: NO_SUCH_METHOD_REASON,
    NOT_ITS_TURN: "not_its_turn",
    UNFIT: UNFIT_REASON,
    AT_LIMIT: "overloaded",
    UNAVAILABLE: "unavailable",
}
_MAY_HELP_LATER = (NOT_ITS_TURN, AT_LIMIT, UNAVAILABLE)


def _refusal(status: int, raised: Raised, endpoint: str) -> RpcError:
    """Makes the error of a request that was not run."""
    detail, after_ms = raised.detail, raised.retry_after_ms
    match status, raised.kind:
        case (410, OutcomeLost.code):
            error: RpcError = OutcomeLost(detail, endpoint=endpoint)
        case (410, _):
            error = CallRepeated(detail, endpoint=endpoint)
        case (412, OutOfOrder.code):
            error = OutOfOrder(detail, push_back_ms=after_ms, endpoint=endpoint)
        case (422, KeyReused.code):
            error = KeyReused(detail, endpoint=endpoint)
        case (425, _):
            error = CallOngoing(detail, retry_after_ms=after_ms, endpoint=endpoint)
        case _ if status in _REASONS:
            reason = raised.kind or _REASONS[status]
            push_back_ms = after_ms if status in _MAY_HELP_LATER else _NEVER
            error = CallRefused(detail, reason=reason, push_back_ms=push_back_ms, endpoint=endpoint)
        case _:
            error = ProtocolViolation(f"no call of a method is answered with status {status}", endpoint=endpoint)
    return error


def _exception(service: ServiceSpec, raised: Raised, endpoint: str) -> Exception:
    """Makes the exception again, from the caller's own list of types: bytes never name a class to import."""
    for kind in service.options.raises:
        if kind.__name__ == raised.kind:
            try:
                return kind(*raised.args)
            except TypeError as error:
                return ReplyUnreadable(f"{raised.kind} can't be made from its args: {error}", endpoint=endpoint)
    message = f"the method raised {raised.kind}, which this side's contract does not name"
    fault = RemoteFault(message, kind=raised.kind, endpoint=endpoint)
    fault.told = tuple(raised.args)
    return fault
