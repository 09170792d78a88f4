"""The named limits of the HTTP client."""

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpLimits:
    """Limits of an `HttpClient`; every pool, queue and buffer of it has one.

    Attributes:
        max_connections: open connections per origin; calls beyond it wait.
        max_connections_total: open connections of the whole client; the coldest idle one makes room.
        max_idle_connections: idle connections kept per origin.
        max_waiting_calls: calls per origin that may wait for a connection; beyond it `LimitReached`.
        max_head_bytes: status line and header fields of a reply, interim replies included.
        max_reply_bytes: body of a reply.
        idle_timeout: an idle connection is closed after it. Shorter than the keep-alive time of common servers
            (uvicorn and Node 5 s, nginx 75 s), because a request that meets the server's own close ends as UNKNOWN.
        connect_timeout: name lookup, TCP and TLS together.
    """

    max_connections: int = 256
    max_connections_total: int = 4_096
    max_idle_connections: int = 256
    max_waiting_calls: int = 4_096
    max_head_bytes: int = 64 * 1024
    max_reply_bytes: int = 1024 * 1024
    idle_timeout: timedelta = timedelta(seconds=4)
    connect_timeout: timedelta = timedelta(seconds=3)

    def __post_init__(self) -> None:
        for name in ("max_connections", "max_connections_total", "max_head_bytes", "max_reply_bytes"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1")
        for name in ("max_idle_connections", "max_waiting_calls"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative")
        for name in ("idle_timeout", "connect_timeout"):
            if getattr(self, name) <= timedelta():
                raise ValueError(f"{name} must be longer than nothing")
