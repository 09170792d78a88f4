"""What a TCP client and a TCP server count: plain integers, read by whoever exports metrics."""

from collections import Counter


class TcpCounters:
    """Counts since the client was made; only `connections_open` goes down.

    Attributes:
        calls: calls asked for. Each ends as one of the next three.
        replies: calls that got a whole reply, whatever its status.
        failures: calls that failed, by `RpcError.code`.
        cancelled: calls given up by their caller.
        late_replies: replies to calls that had ended before.
        connections_opened: connections that got as far as HELLO.
        connections_open: connections open now.
    """

    __slots__ = ("calls", "cancelled", "connections_open", "connections_opened", "failures", "late_replies", "replies")

    def __init__(self) -> None:
        self.calls = 0
        self.replies = 0
        self.failures: Counter[str] = Counter()
        self.cancelled = 0
        self.late_replies = 0
        self.connections_opened = 0
        self.connections_open = 0


class TcpServerCounters:
    """Counts since the server was made; only the last two go down.

    Attributes:
        requests: requests that came, refused ones included.
        refused: requests refused without being run, by the name of the fault.
        connections_refused: connections refused.
        connections_open: connections open now.
        in_flight: requests being run now.
    """

    __slots__ = ("connections_open", "connections_refused", "in_flight", "refused", "requests")

    def __init__(self) -> None:
        self.requests = 0
        self.refused: Counter[str] = Counter()
        self.connections_refused = 0
        self.connections_open = 0
        self.in_flight = 0
