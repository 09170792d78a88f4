"""What an HTTP client counts: plain integers, read by whoever exports metrics."""

from collections import Counter


class HttpCounters:
    """Counts since the client was made; only `connections_open` goes down.

    Attributes:
        calls: calls asked for. Each ends as one of the next three.
        replies: calls that got a whole reply, whatever its status.
        failures: calls that failed, by `RpcError.code`.
        cancelled: calls given up by their caller.
        connections_opened: connections that were opened.
        connections_open: connections open now.
    """

    __slots__ = ("calls", "cancelled", "connections_open", "connections_opened", "failures", "replies")

    def __init__(self) -> None:
        self.calls = 0
        self.replies = 0
        self.failures: Counter[str] = Counter()
        self.cancelled = 0
        self.connections_opened = 0
        self.connections_open = 0
