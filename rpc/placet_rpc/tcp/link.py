"""The way to one endpoint: one connection, shared by all calls, opened again when it is lost.

There is no task and no timer per call. One tick per link, while calls are under way, ends what is past its deadline
or given up by its caller, at most `TICK_SECONDS` late; it looks at `max_in_flight` calls at most.
"""

import asyncio
import random
from collections import deque
from typing import NamedTuple

from placet_rpc.errors import (
    CallTimeout,
    ClientClosed,
    ConnectFailed,
    LimitReached,
    ProtocolViolation,
    ReplyTooLarge,
    RpcError,
    Safety,
    TargetRefused,
)
from placet_rpc.frames import TIME_MAX, Channel, Hello
from placet_rpc.frames.decoder import HEADER_BYTES_MAX
from placet_rpc.http.connect import Connector
from placet_rpc.tcp.connection import Pending, TcpConnection
from placet_rpc.tcp.counters import TcpCounters
from placet_rpc.tcp.limits import SIGNS_MISSED, SLOW_CONNECT_SECONDS, TICK_SECONDS, TcpLimits
from placet_rpc.transport import Completion


class _Waiting(NamedTuple):
    codec: int
    header: bytes
    body: bytes
    pending: Pending


_NOBODY: deque[_Waiting] = deque(maxlen=0)
"""An empty deque has 760 bytes, and on most links nobody waits."""


class TcpLink:
    """A link of one client. All methods run on the client's event loop."""

    __slots__ = (
        "__weakref__",
        "_all_gone",
        "_closed",
        "_connection",
        "_connections",
        "_connector",
        "_failures",
        "_hello",
        "_last_failure",
        "_last_failure_kind",
        "_opening",
        "_opening_since",
        "_retry_at",
        "_ticking",
        "_timer",
        "counters",
        "endpoint",
        "limits",
        "loop",
        "waiting",
    )

    def __init__(
        self, endpoint: str, connector: Connector, limits: TcpLimits, counters: TcpCounters, hello: Hello
    ) -> None:
        self.endpoint = endpoint
        self.limits = limits
        self.counters = counters
        self.loop = asyncio.get_running_loop()
        self.waiting = _NOBODY
        self._connector = connector
        self._hello = hello
        self._connection: TcpConnection | None = None  # where new calls go
        self._connections: set[TcpConnection] = set()  # with those that only end what they have
        self._opening: asyncio.Task[None] | None = None
        self._opening_since = 0.0
        self._failures = 0  # connects failed in a row
        self._retry_at = 0.0
        self._last_failure = ""
        self._last_failure_kind: type[ConnectFailed] = ConnectFailed
        self._timer: asyncio.TimerHandle | None = None
        self._ticking = False  # the timer is for calls, not for signs of life
        self._closed = False
        self._all_gone: asyncio.Event | None = None  # made by whoever waits for it

    # -- the caller's side -------------------------------------------------------------------------------------

    def send(self, codec: int, header: bytes, body: bytes, timeout_ms: int, completion: Completion) -> None:
        """Sends a request, or as soon as there is a way."""
        self.counters.calls += 1
        pending = Pending(completion, self.loop.time() + timeout_ms * 0.001)
        if not self._ticking:
            self._start_ticking()
        connection = self._connection
        if (
            connection is not None
            and not self.waiting
            and 0 < timeout_ms <= TIME_MAX
            and len(header) <= HEADER_BYTES_MAX
            and len(body) <= connection.max_body_bytes
            and connection.has_room
        ):
            connection.begin(codec, header, body, timeout_ms, pending)
        else:
            self._wait(_Waiting(codec, header, body, pending), timeout_ms)

    @property
    def peer(self) -> Hello | None:
        """The HELLO of the server that new calls go to, None while there is no connection."""
        return self._connection.channel.peer if self._connection is not None else None

    async def meet(self, timeout_ms: int) -> Hello:
        """Connects if need be, and returns the server's HELLO.

        Raises:
            RpcError: there is no connection; NOT_SENT.
        """
        if self._closed:
            raise self._closed_before_sent()
        if self._connection is None and self._opening is None and self.loop.time() < self._retry_at:
            raise self._not_yet()
        if self._connection is None:
            self._open_soon()
        if self._opening is not None:
            opening = self._opening
            await asyncio.wait((opening,), timeout=max(timeout_ms, 0) / 1000)
            if not opening.done():
                raise self._waited_too_long()
        peer = self.peer
        if peer is None:
            raise self._not_yet()
        return peer

    @property
    def in_flight(self) -> int:
        """Calls that were queued on a connection and have no outcome yet."""
        return sum(len(connection.pending) for connection in self._connections)

    @property
    def is_available(self) -> bool:
        """False while the server drains, can't be reached, or lets a connect wait for long.

        A server that could not be reached is tried again when its time has come, beside the calls and not by them:
        whoever goes by this property has no call wait for a connect that may fail.
        """
        if self._connection is not None:
            return not self._connection.draining
        now = self.loop.time()
        if self._opening is not None:
            return not self._failures and now - self._opening_since < SLOW_CONNECT_SECONDS
        if self._failures and now >= self._retry_at:
            self._open_soon()
        return not self._failures

    def close(self) -> None:
        """Fails waiting calls; calls under way go on, then the connections close."""
        self._closed = True
        while self.waiting:
            self.end(self.waiting.popleft().pending.completion, self._closed_before_sent())
        if self._opening is not None:
            self._opening.cancel()
        for connection in tuple(self._connections):
            connection.retire()
        self._note_gone()

    def abort(self) -> None:
        """Ends calls under way."""
        for connection in tuple(self._connections):
            for request_id, call in tuple(connection.pending.items()):
                safety = connection.give_up(request_id)
                message = "the client was closed during the call"
                self.end(call.completion, ClientClosed(message, safety=safety, endpoint=self.endpoint))
            connection.flush()
            connection.transport.abort()

    async def all_gone(self) -> None:
        """Waits, after `close`, until the last connection has gone."""
        if self._all_gone is None:
            self._all_gone = asyncio.Event()
            self._note_gone()
        await self._all_gone.wait()

    # -- the connection's side ---------------------------------------------------------------------------------

    def lend(self) -> None:
        """Sends waiting calls, as many as there is room for."""
        while self.waiting and (connection := self._connection) is not None and connection.has_room:
            waiting = self.waiting.popleft()
            completion = waiting.pending.completion
            left_ms = int((waiting.pending.deadline_at - self.loop.time()) * 1000)
            if completion.done():
                self.counters.cancelled += 1
            elif left_ms <= 0:
                self.end(completion, self._waited_too_long())
            elif len(waiting.body) > connection.max_body_bytes:
                self.end(completion, self._too_large(connection.max_body_bytes, "max_message_bytes"))
            else:
                connection.begin(waiting.codec, waiting.header, waiting.body, min(left_ms, TIME_MAX), waiting.pending)

    def replace(self, connection: TcpConnection) -> None:
        """Sends no new call on a connection that the server wants to end."""
        if self._connection is connection:
            self._connection = None
        connection.retiring = True

    def dropped(self, connection: TcpConnection) -> None:
        """A connection is lost; its calls are about to be told."""
        if self._connection is connection:
            self._connection = None

    def gone(self, connection: TcpConnection) -> None:
        """A connection is closed, by whichever side."""
        self._connections.discard(connection)
        if self.waiting and self._connection is None:
            self._open_soon()
        self._note_gone()

    # -- opening -----------------------------------------------------------------------------------------------

    def _wait(self, waiting: _Waiting, timeout_ms: int) -> None:
        completion = waiting.pending.completion
        connection = self._connection
        limit = connection.max_body_bytes if connection is not None else len(waiting.body)
        if timeout_ms <= 0:
            self.end(completion, CallTimeout("no time left", safety=Safety.NOT_SENT, endpoint=self.endpoint))
        elif self._closed:
            self.end(completion, self._closed_before_sent())
        elif len(waiting.header) > HEADER_BYTES_MAX:
            self.end(completion, self._too_large(HEADER_BYTES_MAX, "header_bytes"))
        elif len(waiting.body) > limit:
            self.end(completion, self._too_large(limit, "max_message_bytes"))
        elif len(self.waiting) >= self.limits.max_waiting_calls:
            limit = self.limits.max_waiting_calls
            message = f"max_waiting_calls ({limit}) calls wait for {self.endpoint}: call less, or call more servers"
            self.end(completion, LimitReached(message, limit="max_waiting_calls", endpoint=self.endpoint))
        elif connection is None and self._opening is None and self.loop.time() < self._retry_at:
            self.end(completion, self._not_yet())
        else:
            if self.waiting is _NOBODY:
                self.waiting = deque()
            self.waiting.append(waiting)
            if connection is None:
                self._open_soon()

    def _open_soon(self) -> None:
        if self._opening is None and not self._closed:
            self._opening_since = self.loop.time()
            self._opening = self.loop.create_task(self._open())
            self._opening.add_done_callback(self._opened)

    async def _open(self) -> None:
        deadline_at = self.loop.time() + self.limits.connect_timeout.total_seconds()
        connection = await self._connector.open(lambda: TcpConnection(self, Channel(self._hello)))
        self._connections.add(connection)
        try:
            async with asyncio.timeout_at(deadline_at):
                await connection.greeted
        except BaseException as error:
            connection.lose("no HELLO")
            if isinstance(error, TimeoutError):
                raise ConnectFailed("connected, but no HELLO in time", endpoint=self.endpoint) from None
            raise
        if connection.retiring:
            raise ConnectFailed("the server closed the connection after HELLO", endpoint=self.endpoint)
        self.counters.connections_opened += 1
        self._connection = connection

    def _opened(self, task: asyncio.Task[None]) -> None:
        self._opening = None
        error = None if task.cancelled() else task.exception()
        if error is None:
            self._failures, self._retry_at = 0, 0.0
            self.lend()
            self._note_gone()
            return
        if not isinstance(error, RpcError):
            self.report(error)
            error = ConnectFailed(f"{type(error).__name__}: {error}", endpoint=self.endpoint)
        self._back_off(error)
        # All of them waited for this connect; each may know another endpoint.
        waited, self.waiting = self.waiting, _NOBODY
        for waiting in waited:
            failure = type(error).__new__(type(error), *error.args)
            failure.__dict__.update(error.__dict__)
            self.end(waiting.pending.completion, failure)
        self._note_gone()

    def _back_off(self, error: RpcError) -> None:
        longest = min(
            self.limits.reconnect_first.total_seconds() * 1.6**self._failures,
            self.limits.reconnect_cap.total_seconds(),
        )
        self._failures = min(self._failures + 1, 32)
        self._retry_at = self.loop.time() + longest * random.uniform(0.8, 1.2)  # noqa: S311 - spreads, hides nothing
        self._last_failure = error.message
        self._last_failure_kind = TargetRefused if isinstance(error, TargetRefused) else ConnectFailed

    # -- time --------------------------------------------------------------------------------------------------

    def _start_ticking(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._ticking = True
        self._timer = self.loop.call_later(TICK_SECONDS, self._tick)

    def _tick(self) -> None:
        now = self.loop.time()
        for connection in tuple(self._connections):
            self._tick_calls(connection, now)
            self._tick_life(connection, now)
        if self.waiting:
            self._tick_waiting(now)
        self._ticking = bool(self.waiting or self._opening or self.in_flight)
        if self._ticking:
            self._timer = self.loop.call_later(TICK_SECONDS, self._tick)
        elif self._connections:
            self._timer = self.loop.call_later(self.limits.ping_interval.total_seconds() / 2, self._tick)
        else:
            self._timer = None

    def _tick_calls(self, connection: TcpConnection, now: float) -> None:
        ended = [
            number for number, call in connection.pending.items() if call.deadline_at <= now or call.completion.done()
        ]
        for number in ended:
            call = connection.pending.get(number)
            if call is None:
                continue  # an outcome told just now has ended it
            safety = connection.give_up(number)
            message = "no reply in time"
            self.end(call.completion, CallTimeout(message, safety=safety, endpoint=self.endpoint))
        if ended:
            self.lend()
            if connection.retiring and not connection.pending:
                connection.flush()
                connection.transport.close()

    def _tick_life(self, connection: TcpConnection, now: float) -> None:
        """Asks a silent server for a sign of life, and believes it dead after some more silence."""
        interval = self.limits.ping_interval.total_seconds()
        if connection.pending:
            connection.busy_at = now
        elif connection.busy_at + self.limits.idle_timeout.total_seconds() <= now:
            self.replace(connection)
            connection.retire()
            return
        if connection.heard:
            connection.heard, connection.asked = False, False
            connection.heard_at = now
        elif connection.heard_at + SIGNS_MISSED * interval <= now:
            connection.lose(f"no sign of life for {SIGNS_MISSED * interval:g} s")
        elif connection.heard_at + interval <= now and not connection.asked:
            connection.asked = True
            connection.channel.ping(0)
            connection.flush_soon()

    def _tick_waiting(self, now: float) -> None:
        """Ends waiting calls whose time is up or whose caller left."""
        still: deque[_Waiting] = deque()
        expired: list[Completion] = []
        for waiting in self.waiting:
            if waiting.pending.completion.done():
                self.counters.cancelled += 1
            elif waiting.pending.deadline_at <= now:
                expired.append(waiting.pending.completion)
            else:
                still.append(waiting)
        self.waiting = still or _NOBODY
        for completion in expired:
            self.end(completion, self._waited_too_long())
        if self.waiting and self._connection is None:
            self._open_soon()

    # -- outcomes ----------------------------------------------------------------------------------------------

    def end(self, completion: Completion, error: RpcError) -> None:
        """Hands over a failure."""
        if completion.done():
            self.counters.cancelled += 1
            return
        self.counters.failures[error.code] += 1
        try:
            completion.set_exception(error)
        except Exception as fault:  # noqa: BLE001 - as for a reply
            self.report(fault)

    def report(self, error: BaseException) -> None:
        """Tells the loop's exception handler of a fault that no caller can be told of."""
        self.loop.call_exception_handler({"message": f"a call to {self.endpoint}", "exception": error})

    def reply_too_large(self, size: int) -> ReplyTooLarge:
        """Returns the error for a reply that was skipped."""
        message = f"a reply of at least {size} bytes is over max_message_bytes ({self.limits.max_message_bytes})"
        return ReplyTooLarge(message, limit="max_message_bytes", endpoint=self.endpoint, executed=True)

    def violation(self, message: str) -> ProtocolViolation:
        """Returns the error for a reply that is none."""
        return ProtocolViolation(message, endpoint=self.endpoint)

    def _too_large(self, size: int, limit: str) -> LimitReached:
        message = f"the request is over {limit} ({size}) of the endpoint: send less in one call"
        return LimitReached(message, limit=limit, endpoint=self.endpoint)

    def _waited_too_long(self) -> CallTimeout:
        message = f"no way to the endpoint was free in time: {self.in_flight} calls under way, {len(self.waiting)} wait"
        return CallTimeout(message, safety=Safety.NOT_SENT, endpoint=self.endpoint)

    def _not_yet(self) -> ConnectFailed:
        left_ms = max(self._retry_at - self.loop.time(), 0) * 1000
        message = f"the next connect is tried in {left_ms:.0f} ms; the last one failed: {self._last_failure}"
        # What our own policy forbids stays that: no other attempt of the call can help.
        return self._last_failure_kind(message, endpoint=self.endpoint)

    def _closed_before_sent(self) -> ClientClosed:
        message = "the client was closed before the call was sent"
        return ClientClosed(message, safety=Safety.NOT_SENT, endpoint=self.endpoint)

    def _note_gone(self) -> None:
        if self._closed and not self._connections and self._opening is None:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            if self._all_gone is not None:
                self._all_gone.set()
