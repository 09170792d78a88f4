"""The connections to one origin: lent to one call at a time, the warmest first.

There is no task, timer or done-callback per call. One tick per pool, while calls are under way, ends what is past
its deadline or given up by its caller, at most `TICK_SECONDS` late.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from placet_rpc.errors import CallTimeout, ClientClosed, ConnectFailed, LimitReached, RpcError, Safety
from placet_rpc.http.connect import Connector
from placet_rpc.http.connection import Head, HttpConnection
from placet_rpc.http.counters import HttpCounters
from placet_rpc.http.limits import HttpLimits
from placet_rpc.http.outbox import Outbox
from placet_rpc.http.url import Origin
from placet_rpc.known_heads import KnownHeads
from placet_rpc.transport import Completion, Reply

TICK_SECONDS = 0.02
HEADS_MAX = 16
HEAD_BYTES_MAX = 2_048


class _Waiting(NamedTuple):
    message: bytes
    deadline_at: float
    completion: Completion


class Census:
    """The pools of one client that have a connection or a call, for what concerns all of them.

    Attributes:
        pools: those pools, each with its handle, so that the client finds it.
        outbox: what they write.
        is_closing: the client is being closed.
        all_closed: since then, the last connection has gone.
    """

    def __init__(self, limits: HttpLimits, counters: HttpCounters) -> None:
        self._limit = limits.max_connections_total
        self._counters = counters
        self.pools: dict[HttpPool, object] = {}
        self.outbox = Outbox()
        self.is_closing = False
        self.all_closed = asyncio.Event()

    def note_closed(self) -> None:
        """Looks whether the last connection of a client that is being closed has gone."""
        if self.is_closing and not self._counters.connections_open and not any(pool.size for pool in self.pools):
            self.all_closed.set()

    def has_room(self) -> bool:
        """True if one more connection may be opened; closes an idle connection of some pool to make room."""
        if sum(pool.size for pool in self.pools) < self._limit:
            return True
        return any(pool.close_coldest() for pool in self.pools)


class HttpPool:
    """A pool of one client. All methods run on the client's event loop.

    Args:
        handle: returns what the census holds as long as the pool has a connection or a call.
    """

    def __init__(
        self,
        origin: Origin,
        connector: Connector,
        limits: HttpLimits,
        counters: HttpCounters,
        census: Census,
        *,
        handle: Callable[[], object] = object,
    ) -> None:
        self._handle = handle
        self.endpoint = str(origin)
        self.plain = origin.scheme == "http"
        self.limits = limits
        self.heads: KnownHeads[Head] = KnownHeads(HEADS_MAX, HEAD_BYTES_MAX)  # of replies
        self._connector = connector
        self._counters = counters
        self._census = census
        self.outbox = census.outbox
        self._loop = asyncio.get_running_loop()
        self._idle_seconds = limits.idle_timeout.total_seconds()
        self._connections: set[HttpConnection] = set()
        self._idle: deque[HttpConnection] = deque()  # the coldest on the left
        self._waiting: deque[_Waiting] = deque()
        self._opening: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._ticking = False  # the timer is for calls, not for idle connections
        self._closed = False

    # -- the caller's side -------------------------------------------------------------------------------------

    def send(self, message: bytes, timeout_ms: int, completion: Completion) -> None:
        """Sends a request on an idle connection, or as soon as there is one."""
        counters = self._counters
        counters.calls += 1
        now = self._loop.time()
        deadline_at = now + timeout_ms * 0.001
        if not self._ticking:
            self._start_ticking()
        idle = self._idle
        if timeout_ms <= 0:
            self._end(completion, CallTimeout("no time left", safety=Safety.NOT_SENT, endpoint=self.endpoint))
            return
        while idle:
            connection = idle.pop()
            if connection.idle_since + self._idle_seconds > now and not connection.transport.is_closing():
                connection.begin(message, deadline_at, completion)
                return
            self.discard(connection)
        if self._closed:
            self._end(completion, self._closed_before_sent())
        elif len(self._waiting) >= self.limits.max_waiting_calls + self._places():
            self._end(completion, self._too_many_waiting())
        else:
            self._waiting.append(_Waiting(message, deadline_at, completion))
            self._open_for_waiting()

    @property
    def in_flight(self) -> int:
        """Calls that were written and have no outcome yet."""
        return len(self._connections) - len(self._idle)

    @property
    def size(self) -> int:
        """Connections, open or being opened."""
        return len(self._connections) + len(self._opening)

    def close(self) -> None:
        """Closes idle connections and fails waiting calls; calls under way go on."""
        self._closed = True
        while self.close_coldest():
            pass
        while self._waiting:
            self._end(self._waiting.popleft().completion, self._closed_before_sent())
        for task in self._opening:
            task.cancel()
        if self._timer is not None and not self.in_flight:
            self._timer.cancel()
            self._timer = None

    def abort(self) -> None:
        """Ends calls under way as UNKNOWN."""
        for connection in tuple(self._connections):
            error = ClientClosed("the client was closed during the call", safety=Safety.UNKNOWN, endpoint=self.endpoint)
            self.fail(connection, error)

    def close_coldest(self) -> bool:
        """Closes the connection that was idle longest; False if none is idle."""
        if not self._idle:
            return False
        self.discard(self._idle[0])
        return True

    # -- the connection's side ---------------------------------------------------------------------------------

    def finish(
        self, connection: HttpConnection, completion: Completion | None, reply: Reply, *, reusable: bool
    ) -> None:
        """Takes back a connection whose reply is whole, lends it on, and hands over the reply."""
        # A reply that comes before the request is written to its end leaves the rest of it in the way.
        if reusable and not self._closed and not connection.transport.get_write_buffer_size():
            self._lend(connection)
        else:
            self.discard(connection)
        if completion is None or completion.done():
            self._counters.cancelled += 1
            return
        self._counters.replies += 1
        try:
            completion.set_result(reply)
        except Exception as fault:  # noqa: BLE001 - a caller's fault must not cost another call its connection
            self._report(fault)

    def fail(self, connection: HttpConnection, error: RpcError) -> None:
        """Ends the call under way on a connection, if any, and the connection."""
        completion = connection.take_completion()
        self.discard(connection)
        if completion is not None:
            self._end(completion, error)

    def discard(self, connection: HttpConnection) -> None:
        """Closes a connection, at once and for good."""
        connection.transport.abort()
        if connection not in self._connections:
            return
        self._connections.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)
        if self._waiting:
            self._open_for_waiting()

    def made(self) -> None:
        """A connection is open."""
        self._counters.connections_open += 1

    def lost(self, connection: HttpConnection) -> None:
        """A connection is closed, by whichever side."""
        self.discard(connection)
        self._counters.connections_open -= 1
        self._census.note_closed()

    # -- opening -----------------------------------------------------------------------------------------------

    def _places(self) -> int:
        """Connections that may still be opened or are being opened: calls that wait for those do not queue."""
        return self.limits.max_connections - len(self._connections)

    def _open_for_waiting(self) -> None:
        """Opens a connection for each waiting call that none is being opened for, within the limits."""
        while (
            len(self._opening) < len(self._waiting)
            and len(self._opening) < self._places()
            and not self._closed
            and self._census.has_room()
        ):
            task = self._loop.create_task(self._open())
            self._opening.add(task)
            task.add_done_callback(self._opened)

    async def _open(self) -> None:
        connection = await self._connector.open(lambda: HttpConnection(self))
        if connection.transport.is_closing():
            raise ConnectFailed("the peer closed the connection as soon as it was open", endpoint=self.endpoint)
        if self._closed:
            connection.transport.abort()
            return
        self._counters.connections_opened += 1
        self._connections.add(connection)
        self._lend(connection)

    def _opened(self, task: asyncio.Task[None]) -> None:
        self._opening.discard(task)
        error = None if task.cancelled() else task.exception()
        # One failed attempt ends one call, the oldest, unless the attempts still under way suffice for all: so every
        # further attempt has a call of its own, and nothing connects for ever.
        if error is not None and len(self._waiting) > len(self._opening):
            if not isinstance(error, RpcError):
                self._report(error)
                error = ConnectFailed(f"{type(error).__name__}: {error}", endpoint=self.endpoint)
            self._end(self._waiting.popleft().completion, error)
        self._open_for_waiting()
        self._census.note_closed()

    # -- lending and time --------------------------------------------------------------------------------------

    def _lend(self, connection: HttpConnection) -> None:
        """Gives a free connection to the oldest waiting call, or keeps it for the next."""
        now = self._loop.time()
        while self._waiting:
            waiting = self._waiting.popleft()
            if waiting.completion.done():
                self._counters.cancelled += 1
            elif waiting.deadline_at <= now:
                self._end(waiting.completion, self._waited_too_long())
            else:
                connection.begin(waiting.message, waiting.deadline_at, waiting.completion)
                return
        connection.idle_since = now
        self._idle.append(connection)
        if len(self._idle) > self.limits.max_idle_connections:
            self.close_coldest()

    def _start_ticking(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._ticking = True
        self._census.pools[self] = self._handle()
        self._timer = self._loop.call_later(TICK_SECONDS, self._tick)

    def _tick(self) -> None:
        now = self._loop.time()
        for connection in tuple(self._connections):
            completion = connection.completion
            if completion is None:
                continue
            if completion.done():
                self._counters.cancelled += 1
                connection.take_completion()
                self.discard(connection)  # its reply may still come
            elif connection.deadline_at <= now:
                error = CallTimeout("no whole reply in time", safety=Safety.UNKNOWN, endpoint=self.endpoint)
                self.fail(connection, error)
        if self._waiting:
            self._tick_waiting(now)
        while self._idle and self._idle[0].idle_since + self._idle_seconds <= now:
            self.close_coldest()
        self._schedule_tick(now)

    def _tick_waiting(self, now: float) -> None:
        """Ends waiting calls whose time is up or whose caller left, and opens connections if there is room again."""
        still: deque[_Waiting] = deque()
        expired: list[Completion] = []
        for waiting in self._waiting:
            if waiting.completion.done():
                self._counters.cancelled += 1
            elif waiting.deadline_at <= now:
                expired.append(waiting.completion)
            else:
                still.append(waiting)
        self._waiting = still
        for completion in expired:
            self._end(completion, self._waited_too_long())
        self._open_for_waiting()

    def _schedule_tick(self, now: float) -> None:
        """Ticks on while there are calls; else wakes for the next idle connection to close; else rests."""
        self._ticking = bool(self._waiting or self._opening or self.in_flight)
        if self._ticking:
            self._timer = self._loop.call_later(TICK_SECONDS, self._tick)
        elif self._idle:
            idle_until = self._idle[0].idle_since + self._idle_seconds
            self._timer = self._loop.call_later(max(idle_until - now, TICK_SECONDS), self._tick)
        else:
            self._timer = None
            self._census.pools.pop(self, None)

    # -- outcomes ----------------------------------------------------------------------------------------------

    def _waited_too_long(self) -> CallTimeout:
        limit = self.limits.max_connections
        message = f"no connection was free in time: {self.in_flight} calls under way, max_connections is {limit}"
        return CallTimeout(message, safety=Safety.NOT_SENT, endpoint=self.endpoint)

    def _too_many_waiting(self) -> LimitReached:
        limit = self.limits.max_waiting_calls
        message = f"max_waiting_calls ({limit}) calls wait for a connection: call less, or raise max_connections"
        return LimitReached(message, limit="max_waiting_calls", endpoint=self.endpoint)

    def _closed_before_sent(self) -> ClientClosed:
        message = "the client was closed before the call was sent"
        return ClientClosed(message, safety=Safety.NOT_SENT, endpoint=self.endpoint)

    def _end(self, completion: Completion, error: RpcError) -> None:
        """Hands over a failure."""
        if completion.done():
            self._counters.cancelled += 1
            return
        self._counters.failures[error.code] += 1
        try:
            completion.set_exception(error)
        except Exception as fault:  # noqa: BLE001 - as in finish
            self._report(fault)

    def _report(self, error: BaseException) -> None:
        self._loop.call_exception_handler({"message": f"a call to {self.endpoint}", "exception": error})
