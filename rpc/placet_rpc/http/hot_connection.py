"""Hot requests of one server connection: known heads, the turn of a request, and its answer.

What every request passes through is here, apart from uvicorn's class, so that it can run compiled (decision 0017).
"""

import asyncio
import logging
import re
from collections.abc import Mapping
from typing import Any, Protocol
from weakref import WeakKeyDictionary

from placet_rpc.http.hot_request import JSON, HotHandler, HotRoutes, first_value
from placet_rpc.http.outbox import Outbox
from placet_rpc.known_heads import KnownHeads, head_end

LATE_BYTES_MAX = 16_384
"""A longer answer is written at once."""
HEADS_MAX = 512
HEAD_BYTES_MAX = 2_048

_LINE = re.compile(rb"([A-Z]+) (/[!-~]*) HTTP/1\.1\r\n")

_log = logging.getLogger("uvicorn.error")


class ServerConnection(Protocol):
    """What is used of uvicorn's connection.

    Attributes:
        cycle: the request that came last, a hot one or uvicorn's own.
        flow: whether the transport asked to pause writing, and reading is paused.
        pipeline: requests that wait for those before them.
        server_state: the server's own fields, and its count of requests.
    """

    cycle: Any
    flow: Any
    pipeline: Any
    server_state: Any

    def start_next(self) -> None:
        """Begins with the next pipelined request."""

    def watch_idle(self, seconds: float) -> asyncio.TimerHandle:
        """Has `close_if_idle` called."""


class _NobodyWaits:
    """Stands for the event by which uvicorn's connection wakes an ASGI application's `receive`."""

    def set(self) -> None:
        """Wakes nobody."""


_NOBODY_WAITS = _NobodyWaits()


class _Head:
    """What the parser made of the fields of a plain request that keeps its connection."""

    __slots__ = ("body_bytes", "fields")

    def __init__(self, fields: list[tuple[bytes, bytes]], body_bytes: int) -> None:
        self.fields = fields
        self.body_bytes = body_bytes


class HttpHotRequest:
    """A request of the fast lane over HTTP; satisfies `HotRequest`."""

    # The attributes from `response_complete` on are those that uvicorn's connection uses of its own cycles.
    __slots__ = (
        "_connection",
        "answered",
        "body",
        "disconnected",
        "handler",
        "headers",
        "keep_alive",
        "message_event",
        "method",
        "more_body",
        "response_complete",
        "started",
        "target",
    )

    def __init__(
        self,
        connection: "HotConnection",
        handler: HotHandler,
        method: bytes,
        target: bytes,
        headers: list[tuple[bytes, bytes]],
        *,
        keep_alive: bool,
    ) -> None:
        self._connection = connection
        self.handler: HotHandler | None = handler  # until it runs: it may hold the request, and cycles cost
        self.method = method
        self.target = target
        self.headers = headers
        self.body = b""
        self.answered = False
        self.started = False  # its turn on the connection has come
        self.keep_alive = keep_alive
        self.more_body = True
        self.response_complete = False
        self.disconnected = False
        self.message_event = _NOBODY_WAITS

    def header(self, name: bytes) -> bytes | None:
        """See `HotRequest`."""
        return first_value(self.headers, name)

    def respond(self, status: int, body: bytes, headers: bytes = JSON) -> None:
        """See `HotRequest`; content-length and the server's own fields are added."""
        if self.answered:
            raise RuntimeError("this request was answered before")
        self._connection.answer(self, status, body, headers)


class HotLane:
    """What the connections of one server share.

    Args:
        routes: finds the handler of a hot request.
        status_lines: the first line of an answer, by status.

    Attributes:
        heads: of requests, as they were parsed before.
    """

    __slots__ = ("_fields", "_lines", "_outboxes", "heads", "routes", "status_lines")

    def __init__(self, routes: HotRoutes, status_lines: Mapping[int, bytes]) -> None:
        self.routes = routes
        self.status_lines = status_lines
        self.heads: KnownHeads[_Head] = KnownHeads(HEADS_MAX, HEAD_BYTES_MAX)
        self._outboxes: WeakKeyDictionary[asyncio.AbstractEventLoop, Outbox] = WeakKeyDictionary()
        self._fields: list[tuple[bytes, bytes]] | None = None
        self._lines = b""

    def outbox(self, loop: asyncio.AbstractEventLoop) -> Outbox:
        """Returns where the loop's connections write their answers."""
        return self._outboxes.get(loop) or self._outboxes.setdefault(loop, Outbox())

    def lines(self, fields: list[tuple[bytes, bytes]]) -> bytes:
        """Returns the server's own fields (date, server) joined: uvicorn replaces their list once a second."""
        if self._fields is not fields:
            self._fields = fields
            self._lines = b"".join([b"%b: %b\r\n" % field for field in fields])
        return self._lines


class HotConnection:
    """The hot requests of one connection.

    Args:
        connection: uvicorn's.
        lane: what it shares with the others.
        loop: the event loop.
        keep_alive_s: how long a connection may be idle.

    Attributes:
        outbox: where answers are written to.
        transport: the connection's, once it is made.
        is_between_messages: nothing is being parsed.
    """

    __slots__ = (
        "_connection",
        "_held_back",
        "_idle_since",
        "_idle_timer",
        "_keep_alive_s",
        "_lane",
        "_loop",
        "is_between_messages",
        "outbox",
        "transport",
    )

    def __init__(
        self, connection: ServerConnection, lane: HotLane, loop: asyncio.AbstractEventLoop, keep_alive_s: float
    ) -> None:
        self._connection: ServerConnection | None = connection
        self._lane, self._loop, self._keep_alive_s = lane, loop, keep_alive_s
        self.outbox = lane.outbox(loop)
        self.transport: asyncio.Transport
        self.is_between_messages = True
        self._held_back: tuple[HttpHotRequest, bytes] | None = None
        self._idle_since = 0.0  # 0: it is in use
        self._idle_timer: asyncio.TimerHandle | None = None

    # -- heads that were seen before ---------------------------------------------------------------------------

    def run_known(self, data: bytes) -> bool:
        """Runs a whole request whose head is known, without the parser and its dozen callbacks; False: parse it.

        A client sends the same fields again and again. They were parsed once, strictly, and the same bytes after a
        request line of the same form mean the same.
        """
        connection = self._connection
        line = _LINE.match(data)
        if line is None or connection is None or not self.is_between_messages:
            return False
        start = line.end()
        end = head_end(data, start)
        head = self._lane.heads.get(data[start:end])
        if head is None or len(data) - end != head.body_bytes:
            return False
        before = connection.cycle
        if (before is not None and not before.response_complete) or self.transport.is_closing():
            return False
        method, target = line.group(1, 2)
        handler = self._lane.routes(method, target)
        if handler is None:
            return False
        self._idle_since = 0.0
        request = HttpHotRequest(self, handler, method, target, head.fields, keep_alive=True)
        request.body = data[end:]
        request.more_body = False
        request.started = True
        connection.cycle = request
        self.run(request)
        return True

    def learn(self, data: bytes, body_bytes: int) -> None:
        """Keeps the head of the one message that was parsed, if it was hot and is all that came."""
        line = _LINE.match(data)
        if line is None or self._connection is None:
            return
        request = self._connection.cycle
        if not isinstance(request, HttpHotRequest) or not request.keep_alive:
            return
        end = head_end(data, line.end())
        if end > line.end() and len(data) - end == body_bytes:
            self._lane.heads.keep(data[line.end() : end], _Head(request.headers, body_bytes))

    # -- the turn of a request, and its answer -----------------------------------------------------------------

    def run(self, request: HttpHotRequest) -> None:
        """Runs a request whose turn it is."""
        handler, request.handler = request.handler, None
        assert handler is not None  # noqa: S101 - a request runs once
        try:
            handler(request)
        except Exception:  # noqa: BLE001 - one request's fault; the connection's others must not suffer
            _log.exception("Exception in the handler of a hot request")
            if not request.answered:
                request.keep_alive = False
                request.respond(500, b"Internal Server Error", b"content-type: text/plain; charset=utf-8\r\n")

    def answer(self, request: HttpHotRequest, status: int, body: bytes, headers: bytes) -> None:
        """Writes an answer and gives the connection to the next request."""
        lane, connection = self._lane, self._connection
        first = lane.status_lines[status]
        request.answered = True
        if connection is None or request.disconnected:
            request.response_complete = True
            return
        own = lane.lines(connection.server_state.default_headers)
        close = b"" if request.keep_alive else b"connection: close\r\n"
        message = b"%b%b%b%bcontent-length: %d\r\n\r\n%b" % (first, own, close, headers, len(body), body)
        if connection.flow.write_paused:
            # The client does not read: the requests behind wait too, so at most one answer is held back.
            self._held_back = (request, message)
        else:
            self._write(connection, request, message)

    def write_held_back(self) -> None:
        """Writes the answer that was held back: the client reads again."""
        held_back, self._held_back = self._held_back, None
        if held_back is None:
            return
        request, message = held_back
        if request.disconnected or self._connection is None:
            request.response_complete = True
        else:
            self._write(self._connection, request, message)

    def completed(self) -> None:
        """Goes on with a pipelined request, or begins to wait for the next.

        As uvicorn's own, but for one timer a connection in place of one set and cancelled with each request.
        """
        connection = self._connection
        if connection is None:
            return
        connection.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        flow = connection.flow
        if flow.read_paused:
            flow.resume_reading()
        if connection.pipeline:
            connection.start_next()
            return
        self._idle_since = self._loop.time()
        if self._idle_timer is None:
            self._idle_timer = connection.watch_idle(self._keep_alive_s)

    def _write(self, connection: ServerConnection, request: HttpHotRequest, message: bytes) -> None:
        request.response_complete = True
        if request.keep_alive and len(message) <= LATE_BYTES_MAX and not connection.pipeline:
            self.outbox.write(self.transport, message)
        else:  # flow control and the close need to know what the transport holds
            self.outbox.flush()
            self.transport.write(message)
            if not request.keep_alive:
                self.transport.close()
        self.completed()

    # -- the time between requests -----------------------------------------------------------------------------

    def in_use(self) -> None:
        """Notes that the connection is in use; the timer runs on and finds that out when it fires."""
        self._idle_since = 0.0

    def is_idle(self) -> bool:
        """Looks, when the timer fires, whether the connection was idle for too long; sets the timer again if not."""
        self._idle_timer = None
        connection = self._connection
        if connection is None or not self._idle_since or self.transport.is_closing():
            return False  # the next answer sets it again
        left = self._idle_since + self._keep_alive_s - self._loop.time()
        if left <= 0:
            return True
        self._idle_timer = connection.watch_idle(left)
        return False

    def lost(self) -> None:
        """Stops the timer, and lets go of what refers back to this object: uvicorn's connection, a held-back answer."""
        self._connection = self._held_back = None
        if self._idle_timer is not None:
            self._idle_timer.cancel()
