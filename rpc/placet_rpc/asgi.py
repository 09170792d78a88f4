"""Exposed services as an ASGI application: `POST /{service}/{version}/{method}`, JSON in, JSON out.

app.mount("/rpc", asgi_app(server))
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any, NamedTuple

import msgspec

from placet_rpc.codecs import JSON
from placet_rpc.context import CallContext
from placet_rpc.outcome import MARK, Raised
from placet_rpc.routes import EXTRA_FIELD, FIELD_NAMES, TIMEOUT_FIELD
from placet_rpc.server import Server

MAX_BODY_BYTES = 8 * 1024 * 1024
TIME_LEFT_MAX_MS = 86_400_000
TOO_LARGE = 413
CALLER_LEFT = 499
"""Sent to nobody: for logs, as in nginx."""

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
HttpFields = Iterable[tuple[bytes, bytes]]

_CONTENT_TYPE = (b"content-type", b"application/json")
_MARKED = (MARK, b"1")
MARKED_JSON = [_CONTENT_TYPE, _MARKED]


class HttpAnswer(NamedTuple):
    """What is sent back."""

    status: int
    fields: list[tuple[bytes, bytes]]
    body: bytes


async def answer_http(
    server: Server, service: str, method: str, *, fields: HttpFields, body: bytes, receive: Receive
) -> HttpAnswer:
    """Runs one call that came over HTTP; one whose caller closes the connection is stopped, unless it is detached."""
    operation = server.operations.find(service, method)
    if operation is None:
        answer = server.operations.missing(JSON, service, method)
        return HttpAnswer(answer.status, MARKED_JSON, answer.body)
    work = asyncio.create_task(operation.answer(JSON, body or b"{}", _context(fields)))
    if operation.method.options.detached:
        answer = await asyncio.shield(work)
        return HttpAnswer(answer.status, MARKED_JSON, answer.body)
    leaving = asyncio.create_task(_left(receive))
    try:
        await asyncio.wait((work, leaving), return_when=asyncio.FIRST_COMPLETED)
        if not work.done():
            return HttpAnswer(CALLER_LEFT, [_MARKED], b"")
        answer = work.result()
        return HttpAnswer(answer.status, MARKED_JSON, answer.body)
    finally:
        for task in (work, leaving):
            task.cancel()


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _context(fields: HttpFields) -> CallContext:
    found = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in fields}
    left = found.get(TIMEOUT_FIELD, "")
    attempt = found.get("placet-attempt", "")
    left_ms = min(int(left), TIME_LEFT_MAX_MS) if left.isdecimal() and len(left) < len(str(2**63)) else None
    return CallContext(
        deadline_at=None if left_ms is None else time.monotonic() + left_ms / 1000,
        attempt=int(attempt) if attempt.isdecimal() and len(attempt) < len(str(2**31)) else 1,
        extra=_extra(found.get(EXTRA_FIELD, "")),
        **{name: found[field] for name, field in FIELD_NAMES.items() if field in found},  # type: ignore[arg-type]  # all of them texts
    )


def _extra(text: str) -> dict[str, str]:
    """Reads what filters sent; what can't be read is as if it were not there, and whoever needs it will say so."""
    try:
        return _decode_extra(text) if text else {}
    except ValueError:
        return {}


_decode_extra = msgspec.json.Decoder(dict[str, str]).decode


class MethodApp:
    """The application.

    Args:
        server: whose services are offered; those exposed later too.
        max_body_bytes: of a request.
    """

    def __init__(self, server: Server, max_body_bytes: int = MAX_BODY_BYTES) -> None:
        self._server = server
        self._max_body_bytes = max_body_bytes

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Answers one request."""
        if scope["type"] != "http":
            return
        path = scope["path"].removeprefix(scope.get("root_path", "")).strip("/")
        service, _, method = path.rpartition("/")
        body = await read_bounded(receive, self._max_body_bytes)
        if body is None:
            answer = too_large(self._max_body_bytes)
        elif scope["method"] != "POST":
            detail = b'{"detail":"methods of services are called with POST"}'
            answer = HttpAnswer(405, [_CONTENT_TYPE, _MARKED, (b"allow", b"POST")], detail)
        else:
            answer = await answer_http(
                self._server, service, method, fields=scope["headers"], body=body, receive=receive
            )
        length = (b"content-length", b"%d" % len(answer.body))
        await send({"type": "http.response.start", "status": answer.status, "headers": [*answer.fields, length]})
        await send({"type": "http.response.body", "body": answer.body})


async def read_bounded(receive: Receive, max_bytes: int) -> bytes | None:
    """Reads a request's body; None if it is too long, or its sender has left."""
    parts: list[bytes] = []
    size, more = 0, True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            return None
        part = message.get("body", b"")
        size += len(part)
        if size > max_bytes:
            return None
        parts.append(part)
        more = message.get("more_body", False)
    return b"".join(parts)


def too_large(max_bytes: int) -> HttpAnswer:
    """Returns the answer to a body over the limit."""
    body = msgspec.json.encode(Raised(detail=f"a request may have {max_bytes} bytes"))
    return HttpAnswer(TOO_LARGE, MARKED_JSON, body)


def asgi_app(server: Server, *, max_body_bytes: int = MAX_BODY_BYTES) -> MethodApp:
    """Makes an ASGI application of a server's services; start and drain stay the server's."""
    return MethodApp(server, max_body_bytes)
