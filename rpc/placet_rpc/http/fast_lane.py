"""A fast lane inside uvicorn: a few hot routes are answered without an ASGI task, everything else as ever.

    uvicorn.Config(app, http=fast_lane(routes), access_log=False)

`routes(method, target)` returns a handler for a hot request, or None. Connections, keep-alive, pipelining order, flow
control, limits and graceful shutdown stay uvicorn's: a hot request takes the place of uvicorn's request-response
cycle on its connection. A request goes through ASGI whatever `routes` says if it has no plain body (chunked, over
`max_body_bytes`, `expect`), asks for an upgrade, is not HTTP/1.1, or meets the concurrency limit; with access logging
or a root path all requests do. Middleware of the app does not see hot requests.

The one module of this package that needs uvicorn (extra `server`); it follows the internals of
`uvicorn.protocols.http.httptools_impl`, so its tests run against each version before the bound in pyproject is moved.
"""

import asyncio
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, cast
from weakref import WeakKeyDictionary

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from placet_rpc.http.outbox import Outbox
from placet_rpc.known_heads import KnownHeads, head_end

if TYPE_CHECKING:
    from uvicorn._types import ASGI3Application
    from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

JSON = b"content-type: application/json\r\n"

HotHandler = Callable[["HotRequest"], None]
"""Answers by calling `respond` once, before or after it returns; it must neither block nor await.

If it raises before it has answered, the error is logged, and the answer is a bare 500.
"""

HotRoutes = Callable[[bytes, bytes], HotHandler | None]
"""From a method and a request target (path and query, as sent) to the handler, or None for ASGI."""

LATE_BYTES_MAX = 16_384
"""A longer answer is written at once."""
HEADS_MAX = 512
HEAD_BYTES_MAX = 2_048

_LINE = re.compile(rb"([A-Z]+) (/[!-~]*) HTTP/1\.1\r\n")
_NOT_PLAIN = frozenset((b"expect", b"transfer-encoding", b"upgrade"))


class _Head(NamedTuple):
    """What the parser made of the fields of a plain request that keeps its connection."""

    fields: list[tuple[bytes, bytes]]
    body_bytes: int


class _NobodyWaits:
    """Stands for the event by which uvicorn's connection wakes an ASGI application's `receive`."""

    def set(self) -> None:
        """Wakes nobody."""


_NOBODY_WAITS = _NobodyWaits()


class HotRequest:
    """A request of the fast lane, and the way to answer it.

    Attributes:
        method: such as `b"POST"`.
        target: path and query as sent, not decoded.
        headers: names in lower case; shared by requests, so they must not be changed.
        body: the whole body.
        disconnected: the client is gone; an answer would go nowhere.
    """

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
        connection: "FastLaneProtocol",
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
        """Returns the first value of a field by its name in lower case, or None."""
        for candidate, value in self.headers:
            if candidate == name:
                return value
        return None

    def respond(self, status: int, body: bytes, headers: bytes = JSON) -> None:
        """Answers, on the event loop's thread.

        Args:
            status: a final status that has a body.
            body: the whole body.
            headers: header lines, each with its CRLF, as `placet_rpc.header_block` makes them; content-length and
                the server's own fields are added.

        Raises:
            KeyError: there is no such status.
            RuntimeError: it was answered before.
        """
        if self.answered:
            raise RuntimeError("this request was answered before")
        self._connection.answer(self, status, body, headers)


class FastLaneProtocol(HttpToolsProtocol):
    """uvicorn's connection with a fast lane; made by `fast_lane`."""

    routes: ClassVar[HotRoutes]
    max_body_bytes: ClassVar[int]
    heads: ClassVar[KnownHeads[_Head]]
    outboxes: ClassVar["WeakKeyDictionary[asyncio.AbstractEventLoop, Outbox]"] = WeakKeyDictionary()

    # The server's own fields (date, server), joined when uvicorn replaces its list of them, once a second.
    shared_headers: ClassVar[list[tuple[bytes, bytes]] | None] = None
    shared_lines: ClassVar[bytes] = b""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._outbox = self.outboxes.get(self.loop) or self.outboxes.setdefault(self.loop, Outbox())
        self._usable = not self.access_log and not self.root_path
        self._plain = True
        self._length = 0
        self._is_between_messages = True
        self._begun = 0  # messages that began in what is being parsed
        self._held_back: tuple[HotRequest, bytes] | None = None
        self._idle_since: float | None = None
        self._idle_timer: asyncio.TimerHandle | None = None

    # -- the time between requests -----------------------------------------------------------------------------

    def _unset_keepalive_if_required(self) -> None:
        """Notes that the connection is in use; the timer runs on and finds that out when it fires."""
        self._idle_since = None

    def on_response_complete(self) -> None:
        """Goes on with a pipelined request, or begins to wait for the next.

        As uvicorn's own, but for one timer a connection in place of one set and cancelled with each request.
        """
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
            return
        self._idle_since = self.loop.time()
        if self._idle_timer is None:
            self._idle_timer = self.loop.call_later(self.timeout_keep_alive, self._close_if_idle)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stops the timer."""
        super().connection_lost(exc)
        if self._idle_timer is not None:
            self._idle_timer.cancel()

    def _close_if_idle(self) -> None:
        self._idle_timer = None
        if self._idle_since is None or self.transport.is_closing():
            return  # the next answer sets it again
        left = self._idle_since + self.timeout_keep_alive - self.loop.time()
        if left > 0:
            self._idle_timer = self.loop.call_later(left, self._close_if_idle)
        else:
            self.timeout_keep_alive_handler()

    # -- heads that were seen before ---------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Takes what came; a whole request whose head is known goes without the parser and its dozen callbacks.

        A client sends the same fields again and again. They were parsed once, strictly, and the same bytes after a
        request line of the same form mean the same.
        """
        if self._is_between_messages and self._run_known(data):
            return
        self._begun = 0
        super().data_received(data)
        if self._begun == 1 and self._is_between_messages and self._plain:
            self._learn(data)

    def _run_known(self, data: bytes) -> bool:
        line = _LINE.match(data)
        if line is None:
            return False
        start = line.end()
        end = head_end(data, start)
        head = self.heads.get(data[start:end])
        if head is None or len(data) - end != head.body_bytes:
            return False
        before = self.cycle
        if (before is not None and not before.response_complete) or self.transport.is_closing():
            return False
        method, target = line.groups()
        handler = type(self).routes(method, target)
        if handler is None:
            return False
        self._idle_since = None
        request = HotRequest(self, handler, method, target, head.fields, keep_alive=True)
        request.body = data[end:]
        request.more_body = False
        request.started = True
        self.cycle = cast("RequestResponseCycle", request)
        self._run(request)
        return True

    def _learn(self, data: bytes) -> None:
        """Keeps the head of the one message that was parsed, if it was hot and is all that came."""
        line, request = _LINE.match(data), cast("HotRequest | RequestResponseCycle", self.cycle)
        if line is None or not isinstance(request, HotRequest) or not request.keep_alive:
            return
        if self.limit_concurrency is not None:
            return  # each request has to be counted before it is admitted
        end = head_end(data, line.end())
        if end > line.end() and len(data) - end == self._length:
            self.heads.keep(data[line.end() : end], _Head(request.headers, self._length))

    # -- what must not overtake an answer that is on its way out ------------------------------------------------

    def eof_received(self) -> None:
        """Writes what is answered: the transport closes after this."""
        self._outbox.flush()

    def shutdown(self) -> None:
        """Writes what is answered, and begins to end the connection."""
        self._outbox.flush()
        super().shutdown()

    def send_400_response(self, msg: str) -> None:
        """Writes what is answered, then the refusal of what can't be parsed."""
        self._outbox.flush()
        super().send_400_response(msg)

    # -- parser callbacks --------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """Prepares for either lane; uvicorn's own preparation waits until it is needed."""
        self.url = b""
        self.headers = []
        self._plain = self._usable
        self._length = 0
        self._is_between_messages = False
        self._begun += 1

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keeps a field, and notes those that rule out the fast lane."""
        name = name.lower()
        if name == b"content-length":
            self._length = int(value)
        elif name in _NOT_PLAIN:
            self._plain = False
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        """Chooses the lane."""
        method = self.parser.get_method()
        handler = type(self).routes(method, self.url) if self._plain else None
        if handler is None or not self._admits():
            self._take_asgi_lane()
            return
        before = self.cycle
        request = HotRequest(
            self, handler, method, self.url, self.headers, keep_alive=bool(self.parser.should_keep_alive())
        )
        self.cycle = cast("RequestResponseCycle", request)
        if before is None or before.response_complete:
            # What follows an answer that ended the connection must not run (RFC 9112 9.6).
            request.started = not self.transport.is_closing()
        else:
            # A pipelined request waits for those before it, as in uvicorn's own lane.
            self.flow.pause_reading()
            self.pipeline.appendleft((self.cycle, self.app))

    def on_body(self, body: bytes) -> None:
        """Keeps a part of the body; a hot one is bounded by its content-length, so reading is never paused."""
        cycle = cast("HotRequest | RequestResponseCycle", self.cycle)
        if isinstance(cycle, HotRequest):
            cycle.body = cycle.body + body if cycle.body else body
        else:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """Runs a hot request whose turn it is."""
        self._is_between_messages = True
        cycle = cast("HotRequest | RequestResponseCycle", self.cycle)
        if isinstance(cycle, HotRequest):
            cycle.more_body = False
            if cycle.started:
                self._run(cycle)
        else:
            super().on_message_complete()

    # -- the turn of a request, and its answer -----------------------------------------------------------------

    def _start_asgi_task(self, cycle: "RequestResponseCycle", app: "ASGI3Application") -> None:
        request = cast("HotRequest | RequestResponseCycle", cycle)
        if isinstance(request, HotRequest):
            request.started = True
            if not request.more_body:
                self._run(request)
        else:
            super()._start_asgi_task(cycle, app)

    def answer(self, request: HotRequest, status: int, body: bytes, headers: bytes) -> None:
        """Writes an answer and gives the connection to the next request."""
        kind = type(self)
        if kind.shared_headers is not self.server_state.default_headers:
            kind.shared_headers = self.server_state.default_headers
            kind.shared_lines = b"".join(b"%b: %b\r\n" % field for field in kind.shared_headers)
        close = b"" if request.keep_alive else b"connection: close\r\n"
        lines = (STATUS_LINE[status], kind.shared_lines, close, headers, len(body), body)
        message = b"%b%b%b%bcontent-length: %d\r\n\r\n%b" % lines
        request.answered = True
        if self.flow.write_paused and not request.disconnected:
            # The client does not read: the requests behind wait too, so at most one answer is held back.
            self._held_back = (request, message)
        else:
            self._write(request, message)

    def resume_writing(self) -> None:
        """Writes the answer that was held back."""
        super().resume_writing()
        if self._held_back is not None:
            (request, message), self._held_back = self._held_back, None
            self._write(request, message)

    def _write(self, request: HotRequest, message: bytes) -> None:
        request.response_complete = True
        if request.disconnected:
            return
        if request.keep_alive and not self.pipeline and len(message) <= LATE_BYTES_MAX:
            self._outbox.write(self.transport, message)
        else:  # flow control and the close need to know what the transport holds
            self._outbox.flush()
            self.transport.write(message)
            if not request.keep_alive:
                self.transport.close()
        self.on_response_complete()

    # -- inside ------------------------------------------------------------------------------------------------

    def _admits(self) -> bool:
        limit = self.limit_concurrency
        return (
            self._length <= self.max_body_bytes
            and self.parser.get_http_version() == "1.1"
            and (limit is None or (len(self.connections) < limit and len(self.tasks) < limit))
        )

    def _take_asgi_lane(self) -> None:
        """Does what uvicorn would have done since the message began."""
        url, headers = self.url, self.headers
        super().on_message_begin()
        self.url = url
        for name, value in headers:
            super().on_header(name, value)
        super().on_headers_complete()

    def _run(self, request: HotRequest) -> None:
        handler, request.handler = request.handler, None
        assert handler is not None  # noqa: S101 - a request runs once
        try:
            handler(request)
        except Exception:
            self.logger.exception("Exception in the handler of a hot request")
            if not request.answered:
                request.keep_alive = False
                request.respond(500, b"Internal Server Error", b"content-type: text/plain; charset=utf-8\r\n")


def fast_lane(routes: HotRoutes, *, max_body_bytes: int = 1024 * 1024) -> type[FastLaneProtocol]:
    """Makes the protocol class for `uvicorn.Config(http=…)`.

    Args:
        routes: finds the handler of a hot request.
        max_body_bytes: requests that announce more go through ASGI, whose own limit answers them.
    """
    heads: KnownHeads[_Head] = KnownHeads(HEADS_MAX, HEAD_BYTES_MAX)
    own = {"routes": staticmethod(routes), "max_body_bytes": max_body_bytes, "heads": heads}
    return type("FastLane", (FastLaneProtocol,), own)
