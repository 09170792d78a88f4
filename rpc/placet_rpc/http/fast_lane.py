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
from typing import TYPE_CHECKING, Any, ClassVar, cast

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from placet_rpc.http.hot_connection import HotConnection, HotLane, HttpHotRequest
from placet_rpc.http.hot_request import HotRoutes

if TYPE_CHECKING:
    from uvicorn._types import ASGI3Application
    from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

_NOT_PLAIN = frozenset((b"expect", b"transfer-encoding", b"upgrade"))


class FastLaneProtocol(HttpToolsProtocol):
    """uvicorn's connection with a fast lane; made by `fast_lane`."""

    lane: ClassVar[HotLane]
    max_body_bytes: ClassVar[int]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._hot = HotConnection(self, self.lane, self.loop, self.timeout_keep_alive)
        self._usable = not self.access_log and not self.root_path
        self._plain = True
        self._length = 0
        self._begun = 0  # messages that began in what is being parsed

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn's own
        """Takes the transport."""
        super().connection_made(transport)
        self._hot.transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        """Stops the timer."""
        super().connection_lost(exc)
        self._hot.lost()

    # -- the time between requests -----------------------------------------------------------------------------

    def _unset_keepalive_if_required(self) -> None:
        self._hot.in_use()

    def on_response_complete(self) -> None:
        """Goes on with a pipelined request, or begins to wait for the next."""
        self._hot.completed()

    def start_next(self) -> None:
        """Begins with the next pipelined request."""
        self._start_asgi_task(*self.pipeline.pop())

    def watch_idle(self, seconds: float) -> asyncio.TimerHandle:
        """Looks after so long whether the connection was idle."""
        return self.loop.call_later(seconds, self._close_if_idle)

    def _close_if_idle(self) -> None:
        if self._hot.is_idle():
            self.timeout_keep_alive_handler()

    # -- heads that were seen before ---------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Takes what came: a whole request whose head is known, or whatever the parser makes of it."""
        hot = self._hot
        if hot.run_known(data):
            return
        self._begun = 0
        super().data_received(data)
        # With a limit of concurrency each request has to be counted before it is admitted.
        if self._begun == 1 and hot.is_between_messages and self._plain and self.limit_concurrency is None:
            hot.learn(data, self._length)

    # -- what must not overtake an answer that is on its way out ------------------------------------------------

    def eof_received(self) -> None:
        """Writes what is answered: the transport closes after this."""
        self._hot.outbox.flush()

    def shutdown(self) -> None:
        """Writes what is answered, and begins to end the connection."""
        self._hot.outbox.flush()
        super().shutdown()

    def send_400_response(self, msg: str) -> None:
        """Writes what is answered, then the refusal of what can't be parsed."""
        self._hot.outbox.flush()
        super().send_400_response(msg)

    # -- parser callbacks --------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """Prepares for either lane; uvicorn's own preparation waits until it is needed."""
        self.url = b""
        self.headers = []
        self._plain = self._usable
        self._length = 0
        self._hot.is_between_messages = False
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
        handler = self.lane.routes(method, self.url) if self._plain else None
        if handler is None or not self._admits():
            self._take_asgi_lane()
            return
        before = self.cycle
        request = HttpHotRequest(
            self._hot, handler, method, self.url, self.headers, keep_alive=bool(self.parser.should_keep_alive())
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
        cycle = cast("HttpHotRequest | RequestResponseCycle", self.cycle)
        if isinstance(cycle, HttpHotRequest):
            cycle.body = cycle.body + body if cycle.body else body
        else:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """Runs a hot request whose turn it is."""
        self._hot.is_between_messages = True
        cycle = cast("HttpHotRequest | RequestResponseCycle", self.cycle)
        if isinstance(cycle, HttpHotRequest):
            cycle.more_body = False
            if cycle.started:
                self._hot.run(cycle)
        else:
            super().on_message_complete()

    # -- the turn of a request, and its answer -----------------------------------------------------------------

    def _start_asgi_task(self, cycle: "RequestResponseCycle", app: "ASGI3Application") -> None:
        request = cast("HttpHotRequest | RequestResponseCycle", cycle)
        if isinstance(request, HttpHotRequest):
            request.started = True
            if not request.more_body:
                self._hot.run(request)
        else:
            super()._start_asgi_task(cycle, app)

    def resume_writing(self) -> None:
        """Writes the answer that was held back."""
        super().resume_writing()
        self._hot.write_held_back()

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


def fast_lane(routes: HotRoutes, *, max_body_bytes: int = 1024 * 1024) -> type[FastLaneProtocol]:
    """Makes the protocol class for `uvicorn.Config(http=…)`.

    Args:
        routes: finds the handler of a hot request.
        max_body_bytes: requests that announce more go through ASGI, whose own limit answers them.
    """
    own = {"lane": HotLane(routes, STATUS_LINE), "max_body_bytes": max_body_bytes}
    return type("FastLane", (FastLaneProtocol,), own)
