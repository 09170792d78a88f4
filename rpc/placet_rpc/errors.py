"""Why a call failed, and what that says about the other side.

    RpcError                       one call without a usable reply
    ├── ConnectFailed              NOT_SENT             no connection could be opened
    │   └── TargetRefused          NOT_SENT             our own policy forbids the address that the name resolved to
    ├── LimitReached               NOT_SENT             a named limit of this client is reached; `limit` says which
    ├── NoInstance                 NOT_SENT             no instance of the service is known, or all are drained
    ├── BreakerOpen                NOT_SENT             the method failed too often; it is left alone for a while
    ├── ClientClosed               NOT_SENT | UNKNOWN   the client was closed before | after the request was written
    ├── CallTimeout                NOT_SENT | UNKNOWN   time was up before | after the request was written
    ├── ConnectionLost             UNKNOWN              the connection ended before the reply was whole
    ├── CallRefused                NOT_EXECUTED         the server says that it did not run it; `reason` says why
    │   ├── KeyReused              NOT_EXECUTED         another request was made under this idempotency key
    │   └── OutOfOrder             NOT_EXECUTED         an earlier call of its ordering key has not come
    ├── CallOngoing                UNKNOWN              an earlier request with this idempotency key is still running
    ├── OutcomeLost                UNKNOWN              the same, but nobody will ever know how it ended
    ├── CallRepeated               EXECUTED             a call with this place in the order was taken before
    ├── CallCancelled              UNKNOWN              the server ended it before it was done
    ├── ReplyTooLarge              UNKNOWN | EXECUTED   the reply passed a size limit; EXECUTED if the server says so
    ├── RemoteFault                EXECUTED             the method raised what its contract does not name
    ├── BroadcastFailed            the gravest of all   a call to all instances failed on too many of them
    ├── ReplyUnreadable            EXECUTED             it ran, and its result is not what the contract says
    └── ProtocolViolation          UNKNOWN              what came back is not a reply of the protocol

A reply with an error status is a reply, not an `RpcError`: only the caller knows what the status means.
"""

import enum


class Safety(enum.Enum):
    """What is known of the request at the other side; it alone decides whether a repeat is safe."""

    NOT_SENT = "not_sent"
    """No byte of it left this process: a repeat is always safe."""

    NOT_EXECUTED = "not_executed"
    """The other side says that it did not run it: a repeat is always safe."""

    UNKNOWN = "unknown"
    """It may have run, may run still, or never arrived: repeat only what is idempotent."""

    EXECUTED = "executed"
    """It ran, and its result is lost or unusable: never repeat for the effect."""

    @property
    def repeatable(self) -> bool:
        """True if even a request that is not idempotent may be sent again."""
        return self is Safety.NOT_SENT or self is Safety.NOT_EXECUTED

    @property
    def gravity(self) -> int:
        """What is known of several requests together is what is known of the gravest: the one with the highest."""
        return _GRAVITY[self]


_GRAVITY = {safety: place for place, safety in enumerate(Safety)}


class RpcError(Exception):
    """A call that ended without a usable reply.

    Args:
        message: the rule or event, and the remedy where there is one; never holds a payload or a header's value.
        safety: what is known of the request at the other side.
        endpoint: the origin that was called, such as `http://127.0.0.1:7001`.

    Attributes:
        code: a stable word for logs, metrics and comparison, one per class.
        attempts: how often the call was sent or tried to; more than one only behind a cluster strategy.
    """

    code = "rpc_error"
    attempts = 1

    def __init__(self, message: str, *, safety: Safety, endpoint: str = "") -> None:
        super().__init__(message, safety, endpoint)
        self.message = message
        self.safety = safety
        self.endpoint = endpoint

    def __str__(self) -> str:
        where = f"{self.endpoint}: " if self.endpoint else ""
        return f"{where}{self.message} [{self.code}, {self.safety.value}]"

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), self.args, self.__dict__)


def _rebuild(kind: type[RpcError], arguments: tuple[object, ...], state: dict[str, object]) -> RpcError:
    """Unpickles an error: keyword-only arguments are not carried by `BaseException`'s own protocol."""
    error = kind.__new__(kind, *arguments)
    error.__dict__.update(state)
    return error


class ConnectFailed(RpcError):
    """No connection could be opened: name not found, refused, unreachable, too slow, TLS not agreed. NOT_SENT."""

    code = "connect_failed"

    def __init__(self, message: str, *, endpoint: str = "") -> None:
        super().__init__(message, safety=Safety.NOT_SENT, endpoint=endpoint)


class TargetRefused(ConnectFailed):
    """The client's own policy forbids an address that the host resolved to. NOT_SENT."""

    code = "target_refused"


class LimitReached(RpcError):
    """A named limit of this client is reached. NOT_SENT.

    Attributes:
        limit: the limit's name in the client's settings.
    """

    code = "limit_reached"

    def __init__(self, message: str, *, limit: str, endpoint: str = "") -> None:
        super().__init__(message, safety=Safety.NOT_SENT, endpoint=endpoint)
        self.limit = limit


class NoInstance(RpcError):
    """No instance of the service is known, all of them are drained, or the wanted one is gone. NOT_SENT."""

    code = "no_instance"

    def __init__(self, message: str) -> None:
        super().__init__(message, safety=Safety.NOT_SENT)


class BreakerOpen(RpcError):
    """The method failed so often that it is left alone for a while. NOT_SENT.

    Attributes:
        retry_after_ms: when calls are let through again, to see how it is.
    """

    code = "breaker_open"

    def __init__(self, message: str, *, retry_after_ms: int) -> None:
        super().__init__(message, safety=Safety.NOT_SENT)
        self.retry_after_ms = retry_after_ms


class ClientClosed(RpcError):
    """The client was closed: NOT_SENT if the request had not been written yet, else UNKNOWN."""

    code = "client_closed"


class CallTimeout(RpcError):
    """The call's time was up: NOT_SENT while it still waited for a connection, else UNKNOWN."""

    code = "timeout"


class ConnectionLost(RpcError):
    """The connection ended before the reply was whole. UNKNOWN, on a reused connection too.

    A peer that closes an idle connection just as the request is written looks the same as one that ran the request
    and died, so nothing is resent here.
    """

    code = "connection_lost"

    def __init__(self, message: str, *, endpoint: str = "") -> None:
        super().__init__(message, safety=Safety.UNKNOWN, endpoint=endpoint)


class CallRefused(RpcError):
    """The server says that it did not run the request. NOT_EXECUTED.

    Attributes:
        reason: a stable word, such as `overloaded`, `draining` or `expired`.
        push_back_ms: how long the server asks to wait before a repeat; 0 if it does not say, -1 for ever.
    """

    code = "refused"

    def __init__(self, message: str, *, reason: str, push_back_ms: int = 0, endpoint: str = "") -> None:
        super().__init__(message, safety=Safety.NOT_EXECUTED, endpoint=endpoint)
        self.reason = reason
        self.push_back_ms = push_back_ms


class KeyReused(CallRefused):
    """Another request, with another method or other arguments, was made under this idempotency key. NOT_EXECUTED.

    The remedy is a key of its own for each effect that is wanted.
    """

    code = "key_reused"

    def __init__(self, message: str, *, endpoint: str = "") -> None:
        super().__init__(message, reason=self.code, push_back_ms=-1, endpoint=endpoint)


class OutOfOrder(CallRefused):
    """An earlier call of the same ordering key did not come in time. NOT_EXECUTED."""

    code = "out_of_order"

    def __init__(self, message: str, *, push_back_ms: int = 0, endpoint: str = "") -> None:
        super().__init__(message, reason=self.code, push_back_ms=push_back_ms, endpoint=endpoint)


class CallOngoing(RpcError):
    """An earlier request with the same idempotency key is still running. UNKNOWN: this one was not run, that one may.

    Asking again with the same key is safe, and brings that one's answer in the end.

    Attributes:
        retry_after_ms: how long the server asks to wait before that.
    """

    code = "ongoing"

    def __init__(self, message: str, *, retry_after_ms: int = 0, endpoint: str = "") -> None:
        super().__init__(message, safety=Safety.UNKNOWN, endpoint=endpoint)
        self.retry_after_ms = retry_after_ms


class OutcomeLost(RpcError):
    """Whoever ran the request with this idempotency key was stopped before it could keep the answer. UNKNOWN for good.

    Only the effect itself can tell: look for it, then go on with another key.
    """

    code = "outcome_lost"

    def __init__(self, message: str, *, endpoint: str = "") -> None:
        super().__init__(message, safety=Safety.UNKNOWN, endpoint=endpoint)


class CallRepeated(RpcError):
    """The server took a call with this sequence number of its ordering key before, and keeps no answers. EXECUTED.

    Callers that want the answer of a call whose reply was lost give it an idempotency key.
    """

    code = "repeated"

    def __init__(self, message: str, *, endpoint: str = "") -> None:
        super().__init__(message, safety=Safety.EXECUTED, endpoint=endpoint)


class CallCancelled(RpcError):
    """The server ended the request before it was done, as when it is shut down. UNKNOWN."""

    code = "cancelled"

    def __init__(self, message: str, *, endpoint: str = "") -> None:
        super().__init__(message, safety=Safety.UNKNOWN, endpoint=endpoint)


class ReplyTooLarge(RpcError):
    """The reply passed a size limit and was not kept. UNKNOWN, or EXECUTED where the server says so.

    Attributes:
        limit: the limit's name in the client's settings.
    """

    code = "reply_too_large"

    def __init__(self, message: str, *, limit: str, endpoint: str = "", executed: bool = False) -> None:
        super().__init__(message, safety=Safety.EXECUTED if executed else Safety.UNKNOWN, endpoint=endpoint)
        self.limit = limit


class RemoteFault(RpcError):
    """The remote method raised something that is not part of its contract. EXECUTED: what it did before is unknown.

    Attributes:
        kind: the class name of what it raised; the message stays in the server's log, for it may hold secrets.
        told: what an exception of the server's contract says, which this side's contract does not name; else empty.
    """

    told: tuple[object, ...] = ()

    code = "remote_fault"

    def __init__(self, message: str, *, kind: str = "", endpoint: str = "") -> None:
        super().__init__(message, safety=Safety.EXECUTED, endpoint=endpoint)
        self.kind = kind


class BroadcastFailed(RpcError):
    """A call to all instances failed on more of them than its policy allows. EXECUTED if it ran on any of them.

    Attributes:
        failures: by instance id, what it raised.
        succeeded: ids of the instances that answered.
    """

    code = "broadcast_failed"

    def __init__(self, message: str, *, failures: dict[str, Exception], succeeded: tuple[str, ...]) -> None:
        known = [error.safety if isinstance(error, RpcError) else Safety.EXECUTED for error in failures.values()]
        known += [Safety.EXECUTED for _ in succeeded[:1]]
        super().__init__(message, safety=max(known, key=lambda safety: safety.gravity))
        self.failures = failures
        self.succeeded = succeeded


class ReplyUnreadable(RpcError):
    """The method ran, and its result is not of the type that this side's contract says. EXECUTED."""

    code = "reply_unreadable"

    def __init__(self, message: str, *, endpoint: str = "") -> None:
        super().__init__(message, safety=Safety.EXECUTED, endpoint=endpoint)


class ProtocolViolation(RpcError):
    """What came back is not a reply of the protocol. UNKNOWN: the request was sent."""

    code = "protocol_violation"

    def __init__(self, message: str, *, endpoint: str = "") -> None:
        super().__init__(message, safety=Safety.UNKNOWN, endpoint=endpoint)
