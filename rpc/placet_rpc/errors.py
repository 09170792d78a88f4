"""Why a call failed, and what that says about the other side.

    RpcError                       one call without a usable reply
    ├── ConnectFailed              NOT_SENT             no connection could be opened
    │   └── TargetRefused          NOT_SENT             our own policy forbids the address that the name resolved to
    ├── LimitReached               NOT_SENT             a named limit of this client is reached; `limit` says which
    ├── ClientClosed               NOT_SENT | UNKNOWN   the client was closed before | after the request was written
    ├── CallTimeout                NOT_SENT | UNKNOWN   time was up before | after the request was written
    ├── ConnectionLost             UNKNOWN              the connection ended before the reply was whole
    ├── CallRefused                NOT_EXECUTED         the server says that it did not run it; `reason` says why
    ├── CallCancelled              UNKNOWN              the server ended it before it was done
    ├── ReplyTooLarge              UNKNOWN | EXECUTED   the reply passed a size limit; EXECUTED if the server says so
    ├── RemoteFault                EXECUTED             the method raised what its contract does not name
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


class RpcError(Exception):
    """A call that ended without a usable reply.

    Args:
        message: the rule or event, and the remedy where there is one; never holds a payload or a header's value.
        safety: what is known of the request at the other side.
        endpoint: the origin that was called, such as `http://127.0.0.1:7001`.

    Attributes:
        code: a stable word for logs, metrics and comparison, one per class.
    """

    code = "rpc_error"

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
    """

    code = "remote_fault"

    def __init__(self, message: str, *, kind: str = "", endpoint: str = "") -> None:
        super().__init__(message, safety=Safety.EXECUTED, endpoint=endpoint)
        self.kind = kind


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
