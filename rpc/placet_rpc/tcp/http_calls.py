"""HTTP requests that came over TCP: answered by hot handlers, or by an ASGI application's routes in this process.

    TcpServer({CODEC_HTTP: HttpCalls(app, routes=hot.routes)})

The application sees the request it would have seen over HTTP; the reply has the same status, fields and body. The
hot handlers are those of `placet_rpc.http.fast_lane`.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, MutableMapping
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from placet_rpc.frames import Fault
from placet_rpc.frames.call import CallHeader, ReplyHeader, decode_call, encode_reply
from placet_rpc.http.hot_request import JSON, first_value
from placet_rpc.known_heads import KnownHeads
from placet_rpc.tcp.serving import IncomingCall

if TYPE_CHECKING:
    from placet_rpc.http.hot_request import HotHandler, HotRoutes

_MAPS_MAX = 64
_BLOCKS_MAX = 512
_BLOCK_BYTES_MAX = 2_048

Message = MutableMapping[str, Any]
AsgiApp = Callable[
    [MutableMapping[str, Any], Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Awaitable[None]
]

_FRAMING = frozenset((b"content-length", b"transfer-encoding", b"connection", b"keep-alive"))
_log = logging.getLogger("placet_rpc.tcp")


def _fields(block: bytes) -> list[tuple[bytes, bytes]]:
    fields = []
    for line in block.split(b"\r\n"):
        name, colon, value = line.partition(b":")
        if colon:
            fields.append((name.lower(), value.strip()))
    return fields


_known_blocks: KnownHeads[list[tuple[bytes, bytes]]] = KnownHeads(_BLOCKS_MAX, _BLOCK_BYTES_MAX)


def _hot_fields(block: bytes) -> list[tuple[bytes, bytes]]:
    fields = _known_blocks.get(block)
    if fields is None:
        fields = _fields(block)
        _known_blocks.keep(block, fields)
    return fields


class TcpHotRequest:
    """A request for a hot handler; satisfies `placet_rpc.http.hot_request.HotRequest`.

    Attributes:
        method: such as `b"POST"`.
        target: path and query as sent, not decoded.
        headers: names in lower case; shared by requests, so they must not be changed.
        body: the whole body.
    """

    __slots__ = ("_call", "_maps", "body", "headers", "method", "target")

    def __init__(self, call: IncomingCall, header: CallHeader, maps: dict[bytes, bytes]) -> None:
        self._call = call
        self._maps = maps
        self.method = header.http_method
        self.target = header.target
        self.headers = _hot_fields(header.fields)
        self.body = call.body

    @property
    def answered(self) -> bool:
        """True once `respond` was called."""
        return self._call.answered

    @property
    def disconnected(self) -> bool:
        """True if nobody waits any more; an answer would go nowhere."""
        return self._call.gone

    def header(self, name: bytes) -> bytes | None:
        """Returns the first value of a field by its name in lower case, or None."""
        return first_value(self.headers, name)

    def respond(self, status: int, body: bytes, headers: bytes = JSON) -> None:
        """Answers, on the event loop's thread.

        Args:
            status: an HTTP status.
            body: the whole body.
            headers: header lines, each with its CRLF.

        Raises:
            RuntimeError: it was answered before.
        """
        maps = self._maps
        header = maps.get(headers)
        if header is None:
            header = encode_reply(ReplyHeader(dict(_fields(headers))))
            if len(maps) < _MAPS_MAX:
                maps[headers] = header
        self._call.respond(status, header, body)


class HttpCalls:
    """The handler of `CODEC_HTTP`.

    Args:
        app: answers what no hot handler takes; None: that is 404.
        routes: from method and target to the handler of a hot request.
    """

    def __init__(self, app: AsgiApp | None = None, *, routes: "HotRoutes | None" = None) -> None:
        self._app = app
        self._routes = routes
        self._tasks: set[asyncio.Task[None]] = set()
        self._maps: dict[bytes, bytes] = {}

    def __call__(self, call: IncomingCall) -> None:
        """Runs a request."""
        try:
            header = decode_call(call.header)
        except ValueError:
            call.refuse(Fault.MALFORMED)
            return
        handler = self._routes(header.http_method, header.target) if self._routes is not None else None
        if handler is not None:
            self._run_hot(handler, call, header)
        elif self._app is None:
            call.respond(404, b"", b"")
        else:
            task = call.connection.loop.create_task(AsgiCall(self._app, call, header).run())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _run_hot(self, handler: "HotHandler", call: IncomingCall, header: CallHeader) -> None:
        request = TcpHotRequest(call, header, self._maps)
        try:
            handler(request)
        except Exception:  # noqa: BLE001 - as over HTTP, the fault is logged and answered with 500
            _log.exception("Exception in the handler of a hot request")
            if not call.answered:
                request.respond(500, b"Internal Server Error", b"content-type: text/plain; charset=utf-8\r\n")


class AsgiCall:
    """One request run by an ASGI application."""

    __slots__ = ("_app", "_body_was_read", "_call", "_gone", "_header", "_parts", "_reply_fields", "_status", "_task")

    def __init__(self, app: AsgiApp, call: IncomingCall, header: CallHeader) -> None:
        self._app, self._call, self._header = app, call, header
        self._body_was_read = False
        self._gone: asyncio.Event | None = None  # made when the application waits for it
        self._status = 0
        self._reply_fields: dict[bytes, bytes] = {}
        self._parts: list[bytes] = []
        self._task: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Runs the application to its end."""
        call = self._call
        left_ms = call.left_ms
        if left_ms is not None and left_ms <= 0:
            call.refuse(Fault.EXPIRED)
            return
        self._task = asyncio.current_task()
        call.runner = self
        try:
            await self._app(self._scope(), self._receive, self._send)
        except Exception:  # noqa: BLE001 - as over HTTP, the fault is logged and answered with 500
            _log.exception("Exception in ASGI application")
        if not call.answered:
            fields = encode_reply(ReplyHeader({b"content-type": b"text/plain; charset=utf-8"}))
            call.respond(500, fields, b"Internal Server Error")

    def leave(self, *, stop: bool) -> None:
        """As over HTTP, an application whose caller has left hears of it and goes on; only a shutdown ends it."""
        if self._gone is not None:
            self._gone.set()
        if stop and self._task is not None:
            self._task.cancel()

    def _scope(self) -> MutableMapping[str, Any]:
        header, connection = self._header, self._call.connection
        raw_path, _, query = header.target.partition(b"?")
        path = raw_path.decode("latin-1")
        fields = _fields(header.fields)
        fields.append((b"host", connection.host))
        fields.append((b"content-length", b"%d" % self._call.body_bytes))
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": header.http_method.decode("latin-1"),
            "scheme": "https" if connection.is_secure else "http",
            "path": unquote(path) if "%" in path else path,
            "raw_path": raw_path,
            "query_string": query,
            "root_path": "",
            "headers": fields,
            "client": connection.client_address,
            "server": connection.server_address,
            "state": {},
            "extensions": {"placet.tcp": {"identity": connection.identity}},
        }

    async def _receive(self) -> Message:
        if not self._body_was_read:
            self._body_was_read = True
            return {"type": "http.request", "body": self._call.body, "more_body": False}
        if not self._call.gone and not self._call.answered:
            self._gone = asyncio.Event()
            await self._gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        kind = message["type"]
        if kind == "http.response.start":
            self._status = message["status"]
            fields = message.get("headers", ())
            self._reply_fields = {name.lower(): value for name, value in fields if name.lower() not in _FRAMING}
        elif kind == "http.response.body":
            if not self._status or self._call.answered:
                raise RuntimeError("a body before its start, or after its end")
            self._parts.append(message.get("body", b""))
            if not message.get("more_body", False):
                body = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
                self._call.respond(self._status, encode_reply(ReplyHeader(self._reply_fields)), body)
                if self._gone is not None:
                    self._gone.set()
