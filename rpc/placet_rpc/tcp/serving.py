"""One connection of a server: requests in, replies out in whatever order they are ready."""

import asyncio
import ipaddress
import random
from typing import TYPE_CHECKING, Protocol, cast

from placet_rpc.frames import REQUEST_ID_MAX, Channel, DecodeError, Fault, Frame, GoAway, Kind
from placet_rpc.frames.decoder import HEADER_BYTES_MAX
from placet_rpc.tcp.limits import SIGNS_MISSED
from placet_rpc.tcp.tls import identity_of
from placet_rpc.tcp.writing import WritingProtocol

if TYPE_CHECKING:
    from placet_rpc.tcp.server import TcpServer

_REQUEST, _RESPONSE, _ONEWAY, _CANCEL = (int(kind) for kind in (Kind.REQUEST, Kind.RESPONSE, Kind.ONEWAY, Kind.CANCEL))
_REQUESTS = frozenset((_REQUEST, _ONEWAY))


class Runner(Protocol):
    """Runs a request, and is told when nobody waits for its reply any more."""

    def leave(self, *, stop: bool) -> None:
        """Takes the news; `stop` says that the server is being closed and that the work must end."""
        ...


class IncomingCall:
    """A request, and the way to answer it.

    Attributes:
        connection: which it came by.
        request_id: on that connection.
        codec: of the body, and of the reply's.
        time: what the caller gave it, in ms; 0: without end.
        header: the encoded map. Whoever has decoded it may let go of it, and so with the body: a request may last.
        body: as it came.
        body_bytes: its length.
        is_oneway: nobody waits for a reply.
        received_at: the loop's time when it came.
        answered: a reply was given.
        gone: nobody waits any more; an answer goes nowhere.
        runner: set by whoever runs it, to be told.
    """

    __slots__ = (
        "answered",
        "body",
        "body_bytes",
        "codec",
        "connection",
        "gone",
        "header",
        "is_oneway",
        "received_at",
        "request_id",
        "runner",
        "time",
    )

    def __init__(self, connection: "ServerConnection", frame: Frame) -> None:
        self.connection = connection
        self.request_id, self.codec, self.time = frame.request_id, frame.codec, frame.time
        self.header, self.body = frame.header, frame.body
        self.body_bytes = len(frame.body)
        self.is_oneway = frame.kind == _ONEWAY
        self.received_at = connection.read_at
        self.answered = False
        self.gone = False
        self.runner: Runner | None = None

    @property
    def left_ms(self) -> int | None:
        """The caller's time left, measured from receipt; None if it gave none."""
        if not self.time:
            return None
        return self.time - int((self.connection.loop.time() - self.received_at) * 1000)

    def respond(self, status: int, header: bytes, body: bytes) -> None:
        """Answers, on the event loop's thread.

        Args:
            status: from 100 on.
            header: the encoded map (`frames.call.encode_reply`), or nothing.
            body: the whole body.

        Raises:
            RuntimeError: it was answered before.
        """
        if self.answered:
            raise RuntimeError("this request was answered before")
        self.answered = True
        self.connection.answer(self, status << 16, header, body)

    def refuse(self, fault: Fault, push_back_ms: int = 0) -> None:
        """Answers that there is no reply, and why."""
        self.answered = True
        self.connection.server.counters.refused[fault.name.lower()] += 1
        self.connection.answer(self, fault << 16 | push_back_ms, b"", b"")

    def leave(self, *, stop: bool) -> None:
        """Says that nobody waits any more."""
        self.gone = True
        if self.runner is not None:
            self.runner.leave(stop=stop)


class ServerConnection(WritingProtocol):
    """A connection of a server.

    Attributes:
        active: requests that are being run, by id.
        read_at: the loop's time of the last read.
        reading_paused: the client must wait until replies are read or requests answered.
        last_served_id: requests after it are refused; set when the drain ends.
    """

    __slots__ = (
        "_last_id",
        "_max_reply_bytes",
        "_met",
        "_unanswered_bytes",
        "active",
        "client_address",
        "host",
        "identity",
        "is_local",
        "is_secure",
        "last_served_id",
        "made_at",
        "max_age_seconds",
        "read_at",
        "reading_paused",
        "server",
        "server_address",
        "silent_seconds",
        "warned_at",
    )

    def __init__(self, server: "TcpServer") -> None:
        super().__init__(Channel(server.hello), server.loop)
        self.server = server
        self.active: dict[int, IncomingCall] = {}
        self.made_at = self.read_at = server.loop.time()
        self.silent_seconds = server.limits.hello_timeout.total_seconds()
        self.max_age_seconds = server.limits.max_age.total_seconds() * random.uniform(0.9, 1.1)  # noqa: S311 - spreads
        self.warned_at: float | None = None
        self.last_served_id = REQUEST_ID_MAX
        self.identity: tuple[str, ...] = ()
        self.client_address: tuple[str, int] | None = None
        self.server_address: tuple[str, int] | None = None
        self.host = b""
        self.is_secure = False
        self.is_local = False
        self._met = False
        self._max_reply_bytes = 0
        self._last_id = 0
        self._unanswered_bytes = 0
        self.reading_paused = False

    # -- the event loop's side ---------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Takes the connection; HELLO waits for the client's."""
        self.transport = cast("asyncio.Transport", transport)
        self.client_address = _address(transport.get_extra_info("peername"))
        self.server_address = _address(transport.get_extra_info("sockname"))
        self.host = b"%b:%d" % (self.server_address[0].encode(), self.server_address[1]) if self.server_address else b""
        self.is_secure = transport.get_extra_info("ssl_object") is not None
        self.is_local = self.client_address is not None and ipaddress.ip_address(self.client_address[0]).is_loopback
        self.identity = identity_of(transport.get_extra_info("peercert"))
        self.server.connections.add(self)
        super().connection_made(transport)

    def data_received(self, data: bytes) -> None:
        """Runs what came; the answers given meanwhile are written at the end."""
        self.read_at = self.loop.time()
        self._flush_is_due = True
        channel = self.channel
        frames = channel.feed(data)
        if not self._met and channel.peer is not None and not self._meet():
            return
        for frame in frames:
            kind = frame.kind
            if kind in _REQUESTS:
                self._take(frame)
            elif kind == _CANCEL:
                call = self.active.get(frame.request_id)
                if call is not None:
                    call.leave(stop=False)
        if channel.error is not None:
            self.transport.abort()
            return
        if self._unanswered_bytes > self.server.limits.max_unanswered_bytes:
            self._pause_reading()
        self.flush()

    def pause_writing(self) -> None:
        """A client that does not read its replies may not send more requests."""
        super().pause_writing()
        self._pause_reading()

    def resume_writing(self) -> None:
        """The client reads again."""
        super().resume_writing()
        self._resume_reading()
        if self._is_done:
            self.finish()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """Tells those who run requests that nobody waits."""
        self.server.forget(self)
        for call in tuple(self.active.values()):
            call.leave(stop=False)

    # -- answers -----------------------------------------------------------------------------------------------

    def answer(self, call: IncomingCall, time: int, header: bytes, body: bytes) -> None:
        """Queues a reply; one that is too long becomes a fault of its own. Nobody waits for a ONEWAY's."""
        if self.active.pop(call.request_id, None) is not None:
            self.server.counters.in_flight -= 1
            self._unanswered_bytes -= call.body_bytes
            if self.reading_paused:
                self._resume_reading()
        if self.transport.is_closing():
            return
        if not call.is_oneway:
            if len(body) > self._max_reply_bytes or len(header) > HEADER_BYTES_MAX:
                time, header, body = Fault.REPLY_TOO_LARGE << 16, b"", b""
            self.queue(_RESPONSE, call.request_id, time, call.codec, header, body)
        if self.last_served_id != REQUEST_ID_MAX and self._is_done:
            self.finish()

    # -- the drain ---------------------------------------------------------------------------------------------

    def warn(self, reason: GoAway) -> None:
        """Tells the client to go elsewhere; requests are still taken."""
        self.warned_at = self.loop.time()
        self.channel.go_away(REQUEST_ID_MAX, reason)
        self.flush_soon()

    def stop_taking(self, reason: GoAway) -> None:
        """Tells the client which request is the last one served; closes once they are answered."""
        self.last_served_id = self._last_id
        self.channel.go_away(self._last_id, reason)
        self.flush_soon()
        if self._is_done:
            self.finish()

    def finish(self) -> None:
        """Writes what is left and closes, at once or when the client has read."""
        self.flush()
        if not self.channel.has_output:
            self.transport.close()

    def stop_calls(self) -> None:
        """Ends what is still being run."""
        for call in tuple(self.active.values()):
            call.leave(stop=True)
            if not call.answered:
                call.refuse(Fault.CANCELLED)

    @property
    def is_taking(self) -> bool:
        """True until the last request to be served is fixed."""
        return self.last_served_id == REQUEST_ID_MAX

    @property
    def _is_done(self) -> bool:
        return not self.is_taking and not self.active and not self.channel.is_assembling

    # -- inside ------------------------------------------------------------------------------------------------

    def _meet(self) -> bool:
        """Answers the client's HELLO, once."""
        peer = self.channel.peer
        assert peer is not None  # noqa: S101 - the caller looked
        self._met = True
        limits = self.server.limits
        self._max_reply_bytes = min(limits.max_message_bytes, peer.max_message_bytes)
        self.silent_seconds = SIGNS_MISSED * peer.ping_interval_ms / 1000
        refusal = self.server.refusal_of(self, peer)
        self.channel.open(refusal)
        if refusal:
            self.server.counters.connections_refused += 1
            self.flush()
            self.transport.close()
        elif self.server.is_draining:
            self.warn(GoAway.SHUTDOWN)
        return not refusal

    def _take(self, frame: Frame) -> None:
        server = self.server
        counters = server.counters
        counters.requests += 1
        call = IncomingCall(self, frame)
        request_id = frame.request_id
        if request_id in self.active:  # first: an answer to it would be taken for the other one's
            self.channel.error = DecodeError(f"request id {request_id} is in use")
        elif request_id > self.last_served_id:
            call.refuse(Fault.DRAINING)
        elif frame.skipped_bytes:
            call.refuse(Fault.TOO_LARGE)
        elif len(self.active) >= server.limits.max_in_flight or counters.in_flight >= server.limits.max_in_flight_total:
            call.refuse(Fault.OVERLOADED, server.push_back_ms)
        else:
            self._last_id = max(self._last_id, request_id)
            self._run(call)

    def _run(self, call: IncomingCall) -> None:
        handler = self.server.handlers.get(call.codec)
        if handler is None:
            call.refuse(Fault.UNKNOWN_CODEC)
            return
        self.active[call.request_id] = call
        self.server.counters.in_flight += 1
        self._unanswered_bytes += call.body_bytes
        try:
            handler(call)
        except Exception as error:  # noqa: BLE001 - a handler's fault must not cost other callers the connection
            self.loop.call_exception_handler({"message": "a handler of TCP requests failed", "exception": error})
            if not call.answered:
                call.respond(500, b"", b"")

    def _pause_reading(self) -> None:
        if not self.reading_paused and not self.transport.is_closing():
            self.reading_paused = True
            self.transport.pause_reading()

    def _resume_reading(self) -> None:
        enough = self._unanswered_bytes <= self.server.limits.max_unanswered_bytes // 2
        if self.reading_paused and enough and not self.write_paused and not self.transport.is_closing():
            self.reading_paused = False
            self.transport.resume_reading()


def _address(name: object) -> tuple[str, int] | None:
    return (str(name[0]), int(name[1])) if isinstance(name, tuple) else None
