"""Which errors speak against a service or an instance; breakers and ejection count these alone.

An exception of the contract is an answer, and what this client or its caller did says nothing of the other side.
"""

from placet_rpc.errors import (
    CallCancelled,
    CallRefused,
    CallTimeout,
    ConnectFailed,
    ConnectionLost,
    NoInstance,
    ProtocolViolation,
    RemoteFault,
    TargetRefused,
)

_FAILURES = (CallCancelled, CallTimeout, ConnectFailed, ConnectionLost, NoInstance, ProtocolViolation, RemoteFault)


def speaks_against(error: BaseException | None) -> bool:
    """True for timeouts, failed connections, overload and faults of the server."""
    if isinstance(error, CallRefused):
        return error.reason == "overloaded"
    return isinstance(error, _FAILURES) and not isinstance(error, TargetRefused)
