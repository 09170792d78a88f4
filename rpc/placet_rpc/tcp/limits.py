"""The named limits of the TCP transport, of either side."""

from dataclasses import dataclass
from datetime import timedelta

from placet_rpc.frames.hello import MAX_IN_FLIGHT, MAX_MESSAGE_BYTES, PING_INTERVAL_MS

TICK_SECONDS = 0.02
"""How late a deadline or a call given up may be noticed."""
SLOW_CONNECT_SECONDS = 0.25
"""A connect that takes longer may be one to a machine that is gone: calls go elsewhere if they can."""
WRITE_HIGH_WATER_BYTES = 1024 * 1024
WRITE_EARLY_MESSAGES = 8
"""So many messages are written without waiting for the end of the turn: some 200 us of work of a typed side, and a
system call is then some 5 % of it. Half as many cost more calls than they win, with four times as many 64 callers are
two clumps that the sides pass to each other."""
SIGNS_MISSED = 3
"""A peer that was not heard for so many ping intervals is dead."""


def _check(limits: object, counts: tuple[str, ...], times: tuple[str, ...]) -> None:
    for name in counts:
        if getattr(limits, name) < 1:
            raise ValueError(f"{name} must be at least 1")
    for name in times:
        if getattr(limits, name) <= timedelta():
            raise ValueError(f"{name} must be longer than nothing")


@dataclass(frozen=True, slots=True, kw_only=True)
class TcpLimits:
    """Limits of a `TcpClient`.

    Attributes:
        max_in_flight: calls under way on one connection; the server may announce fewer. More calls wait.
        max_waiting_calls: calls per endpoint that may wait; beyond it `LimitReached`.
        max_message_bytes: the longest reply that is taken; announced to the server.
        connect_timeout: name lookup, TCP, TLS and HELLO together.
        reconnect_first: after a failed connect no other is tried for about this long; doubled by each further one.
        reconnect_cap: the longest such time.
        ping_interval: a connection that was silent for so long is asked for a sign of life.
        idle_timeout: a connection without calls is closed after it.
    """

    max_in_flight: int = MAX_IN_FLIGHT
    max_waiting_calls: int = 4_096
    max_message_bytes: int = MAX_MESSAGE_BYTES
    connect_timeout: timedelta = timedelta(seconds=3)
    reconnect_first: timedelta = timedelta(milliseconds=100)
    reconnect_cap: timedelta = timedelta(seconds=10)
    ping_interval: timedelta = timedelta(milliseconds=PING_INTERVAL_MS)
    idle_timeout: timedelta = timedelta(minutes=10)

    def __post_init__(self) -> None:
        _check(
            self,
            ("max_in_flight", "max_waiting_calls", "max_message_bytes"),
            ("connect_timeout", "reconnect_first", "reconnect_cap", "ping_interval", "idle_timeout"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TcpServerLimits:
    """Limits of a `TcpServer`.

    Attributes:
        max_connections: open at a time; further ones are told so and closed.
        max_in_flight: requests of one connection at a time; announced to the client. More are refused.
        max_in_flight_total: requests of all connections at a time; more are refused with a push-back.
        max_message_bytes: the longest request that is taken, and the longest reply that is sent.
        max_unanswered_bytes: bodies of one connection's unanswered requests; beyond it reading pauses.
        hello_timeout: a client that has not said HELLO by then is closed.
        push_back: how long a refused caller is asked to wait.
        max_age: a connection is drained after it (give or take a tenth), so that clients spread over new servers.
        age_grace: how long its calls may still take then.
    """

    max_connections: int = 4_096
    max_in_flight: int = MAX_IN_FLIGHT
    max_in_flight_total: int = 16_384
    max_message_bytes: int = MAX_MESSAGE_BYTES
    max_unanswered_bytes: int = 32 * 1024 * 1024
    hello_timeout: timedelta = timedelta(seconds=5)
    push_back: timedelta = timedelta(milliseconds=50)
    max_age: timedelta = timedelta(minutes=30)
    age_grace: timedelta = timedelta(seconds=30)

    def __post_init__(self) -> None:
        _check(
            self,
            ("max_connections", "max_in_flight", "max_in_flight_total", "max_message_bytes", "max_unanswered_bytes"),
            ("hello_timeout", "push_back", "max_age", "age_grace"),
        )
        if self.push_back > timedelta(minutes=1):
            raise ValueError("push_back may be one minute at most: it travels in 16 bits")
