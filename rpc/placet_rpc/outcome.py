"""What a server says of a call of a method, as statuses of HTTP, and what a client makes of them.

    200 the result · 404 no such service or method · 409 an exception of the contract · 422 the arguments don't fit
    429 at a limit · 500 an exception outside of the contract

Only 200, 409 and 500 ran. The field `placet-rpc` marks an answer as one of ours: an error page of a proxy has none.
"""

from typing import Any

import msgspec

from placet_rpc.codecs.codec import Codec
from placet_rpc.contract import ServiceSpec
from placet_rpc.errors import CallRefused, ProtocolViolation, RemoteFault, ReplyUnreadable
from placet_rpc.invocation import Invocation
from placet_rpc.transport import Reply

MARK = b"placet-rpc"
MARKED = {MARK: b"1"}

OK = 200
NO_SUCH_METHOD = 404
RAISED = 409
UNFIT = 422
AT_LIMIT = 429
FAULT = 500


class Raised(msgspec.Struct, frozen=True, omit_defaults=True):
    """The body of any status but 200.

    Attributes:
        kind: class name of the exception, where there was one.
        args: its `args`, if it is part of the contract.
        detail: words for a human.
    """

    kind: str = ""
    args: list[Any] = []
    detail: str = ""


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
    if reply.status in _REFUSALS:
        reason = _REFUSALS[reply.status]
        push_back_ms = -1 if reply.status != AT_LIMIT else 0
        raise CallRefused(raised.detail, reason=reason, push_back_ms=push_back_ms, endpoint=endpoint)
    if reply.status == FAULT:
        message = f"{call.service.key}.{call.method.name} failed with {raised.kind}; the server's log says more"
        raise RemoteFault(message, kind=raised.kind, endpoint=endpoint)
    raise ProtocolViolation(f"no call of a method is answered with status {reply.status}", endpoint=endpoint)


_REFUSALS = {NO_SUCH_METHOD: "no_such_method", UNFIT: "arguments", AT_LIMIT: "overloaded"}


def _exception(service: ServiceSpec, raised: Raised, endpoint: str) -> Exception:
    """Makes the exception again, from the caller's own list of types: bytes never name a class to import."""
    for kind in service.options.raises:
        if kind.__name__ == raised.kind:
            try:
                return kind(*raised.args)
            except TypeError as error:
                return ReplyUnreadable(f"{raised.kind} can't be made from its args: {error}", endpoint=endpoint)
    message = f"the method raised {raised.kind}, which this side's contract does not name"
    return RemoteFault(message, kind=raised.kind, endpoint=endpoint)
