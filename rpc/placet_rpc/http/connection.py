"""One HTTP/1.1 connection of the client: writes a request, reads its reply, one at a time.

Parsing is llhttp's (through httptools), with its strict defaults. Framing rules: RFC 9112 section 6.
"""

import asyncio
from typing import TYPE_CHECKING, cast

import httptools

from placet_rpc.errors import ConnectionLost, ProtocolViolation, ReplyTooLarge, RpcError
from placet_rpc.known_heads import head_end
from placet_rpc.transport import Completion, Reply

if TYPE_CHECKING:
    from placet_rpc.http.pool import HttpPool

FIRST_FINAL_STATUS = 200
SWITCHING_PROTOCOLS = 101
NOT_MODIFIED = 304  # its content-length is that of another reply (RFC 9110 8.6)
# A chunk of one byte takes six on the wire; this bounds what chunk framing and trailers may add to a body.
MAX_WIRE_BYTES_PER_BODY_BYTE = 6


class Head:
    """What the parser made of the head of a reply that keeps its connection."""

    __slots__ = ("body_bytes", "fields", "status")

    def __init__(self, status: int, fields: dict[bytes, bytes], body_bytes: int) -> None:
        self.status = status
        self.fields = fields
        self.body_bytes = body_bytes


class HttpConnection:
    """A connection of a pool. Busy while `completion` is set; the pool lends it to one call at a time.

    An `asyncio.Protocol` in all but its base: compiled (decision 0017), a class can't derive from an interpreted one.
    """

    __deletable__ = ("_parser",)  # mypyc's word: a compiled class keeps its attributes otherwise
    __slots__ = (
        "_body",
        "_body_bytes",
        "_failure",
        "_fields",
        "_head",
        "_keep_alive",
        "_parser",
        "_read_bytes",
        "_reply",
        "_surplus",
        "calls",
        "completion",
        "deadline_at",
        "idle_since",
        "on_header",
        "pool",
        "transport",
    )

    def __init__(self, pool: "HttpPool") -> None:
        self.pool = pool
        self.transport: asyncio.Transport
        self.completion: Completion | None = None
        self.deadline_at = 0.0
        self.idle_since = 0.0
        self.calls = 0
        self._fields: dict[bytes, bytes] = {}
        self.on_header = self._fields.__setitem__  # called by the parser: a C function, no Python frame per field
        self._head: dict[bytes, bytes] | None = None  # the final reply's fields, once its head is whole
        self._body: list[bytes] = []
        self._body_bytes = 0
        self._read_bytes = 0  # of this reply, as long as it is not whole
        self._reply: Reply | None = None
        self._keep_alive = False
        self._surplus = False
        self._failure: RpcError | None = None
        self._parser = httptools.HttpResponseParser(self)

    # -- the pool's side ---------------------------------------------------------------------------------------

    def begin(self, message: bytes, deadline_at: float, completion: Completion) -> None:
        """Writes a request, at the end of this turn. From here on a failure is UNKNOWN."""
        self.completion = completion
        self.deadline_at = deadline_at
        self.calls += 1
        self.pool.outbox.write(self.transport, message)

    def take_completion(self) -> Completion | None:
        """Ends the call that is under way, if any, and returns where its outcome belongs."""
        completion, self.completion = self.completion, None
        return completion

    # -- the event loop's side ---------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Takes the transport."""
        self.transport = cast("asyncio.Transport", transport)
        self.pool.made()

    def data_received(self, data: bytes) -> None:
        """Parses what came; ends the call when the reply is whole or can't become one."""
        if self.completion is None:
            # An idle connection that talks is out of step (a late or doubled reply): its next reply could be
            # another call's.
            self.pool.discard(self)
            return
        is_first = not self._read_bytes
        if is_first and (reply := self._known(data)) is not None:
            completion, self.completion = self.completion, None
            self.pool.finish(self, completion, reply, reusable=True)
            return
        problem = ""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            problem = "the peer switched protocols"
        except httptools.HttpParserError as error:
            problem = str(error) or type(error).__name__
        reply = self._reply
        if reply is not None:
            # What follows a whole reply belongs to no call: the reply counts, the connection doesn't.
            reusable = self._keep_alive and not problem and not self._surplus
            if reusable and is_first:
                self._learn(data, reply)
            self._finish(reply, reusable=reusable)
        elif self._failure is not None:
            self.pool.fail(self, self._failure)
        elif problem:
            self.pool.fail(self, ProtocolViolation(f"not an HTTP/1.1 reply: {problem}", endpoint=self.pool.endpoint))
        else:
            self._read_bytes += len(data)
            self._check_read_bytes()

    def connection_lost(self, exc: Exception | None) -> None:
        """Ends the call that is under way: a body that the close delimits is whole now, anything else is lost."""
        if self.completion is not None:
            head = self._head
            if exc is None and head is not None and self.pool.plain and _delimited_by_close(head):
                self._finish(Reply(self._parser.get_status_code(), head, b"".join(self._body)), reusable=False)
            else:
                self.pool.fail(self, self._lost(exc))
        self.pool.lost(self)
        del self._parser  # it refers back to this object: without the cycle both go at once

    def eof_received(self) -> None:
        """Lets the transport close: `connection_lost` follows."""

    def pause_writing(self) -> None:
        """Nothing: one request at a time is written, and the pool looks whether it is out."""

    def resume_writing(self) -> None:
        """Nothing, as above."""

    # -- the parser's side -------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """A reply begins; one that begins after a whole one is surplus."""
        if self._reply is not None:
            self._surplus = True

    def on_headers_complete(self) -> None:
        """Keeps the head as it is now, so that trailers can't change it (RFC 9110 6.5.1)."""
        if self._parser.get_status_code() >= FIRST_FINAL_STATUS:
            self._head = self._fields.copy()

    def on_body(self, part: bytes) -> None:
        """Keeps a part of the body, up to the limit."""
        self._body_bytes += len(part)
        limit = self.pool.limits.max_reply_bytes
        if self._body_bytes <= limit:
            self._body.append(part)
        elif self._failure is None and self._reply is None:
            self._failure = ReplyTooLarge(
                f"the reply's body is over max_reply_bytes ({limit})",
                limit="max_reply_bytes",
                endpoint=self.pool.endpoint,
            )

    def on_message_complete(self) -> None:
        """A reply is whole; interim ones (1xx) are skipped."""
        if self._reply is not None or self._failure is not None:
            return
        status = self._parser.get_status_code()
        if self._head is not None:
            body = self._body
            # Asked here, for the parser forgets it with the message.
            self._keep_alive = self._parser.should_keep_alive()
            self._reply = Reply(status, self._head, body[0] if len(body) == 1 else b"".join(body))
        elif status == SWITCHING_PROTOCOLS:
            self._failure = ProtocolViolation("the peer switched protocols", endpoint=self.pool.endpoint)
        self._fields.clear()

    # -- heads that were seen before ---------------------------------------------------------------------------

    def _known(self, data: bytes) -> Reply | None:
        """Returns the reply if it is whole and its head is one that was parsed before, strictly, byte for byte."""
        end = head_end(data)
        head = self.pool.heads.get(data[:end])
        if head is None or len(data) - end != head.body_bytes:
            return None
        return Reply(head.status, head.fields, data[end:])

    def _learn(self, data: bytes, reply: Reply) -> None:
        """Keeps the head of a reply that came whole, in one piece, framed by its content-length."""
        end = head_end(data)
        is_framed = any(name.lower() == b"content-length" for name in reply.headers)
        if is_framed and reply.status != NOT_MODIFIED and len(data) - end == len(reply.body):
            self.pool.heads.keep(data[:end], Head(reply.status, reply.headers, len(reply.body)))

    # -- inside ------------------------------------------------------------------------------------------------

    def _finish(self, reply: Reply, *, reusable: bool) -> None:
        completion = self.completion
        self.completion = self._reply = self._head = None
        self._read_bytes = self._body_bytes = 0
        self._body.clear()
        self.pool.finish(self, completion, reply, reusable=reusable)

    def _check_read_bytes(self) -> None:
        limits = self.pool.limits
        if self._head is None:
            if self._read_bytes > limits.max_head_bytes:
                message = f"the reply's head is over max_head_bytes ({limits.max_head_bytes})"
                self.pool.fail(self, ReplyTooLarge(message, limit="max_head_bytes", endpoint=self.pool.endpoint))
        elif self._read_bytes > limits.max_head_bytes + MAX_WIRE_BYTES_PER_BODY_BYTE * limits.max_reply_bytes:
            message = f"chunk framing or trailers out of proportion to max_reply_bytes ({limits.max_reply_bytes})"
            self.pool.fail(self, ReplyTooLarge(message, limit="max_reply_bytes", endpoint=self.pool.endpoint))

    def _lost(self, exc: Exception | None) -> ConnectionLost:
        how = f"{type(exc).__name__}: {exc}" if exc is not None else "closed by the peer"
        if self._read_bytes:
            when = f"after {self._read_bytes} bytes of the reply"
        else:
            when = f"before any byte of the reply, as call number {self.calls} on this connection"
        return ConnectionLost(f"connection lost {when}: {how}", endpoint=self.pool.endpoint)


def _delimited_by_close(head: dict[bytes, bytes]) -> bool:
    """True if only the end of the connection can end the body (RFC 9112 6.3, rule 8).

    Not over TLS: asyncio doesn't tell a clean TLS end from a cut one, so there the reply counts as lost.
    """
    return not {name.lower() for name in head} & {b"content-length", b"transfer-encoding"}
