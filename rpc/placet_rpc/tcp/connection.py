"""One connection of a client: requests out, replies back to whoever waits for them."""

import asyncio
from typing import TYPE_CHECKING

import msgspec

from placet_rpc.errors import CallRefused, ConnectFailed, ConnectionLost, RpcError, Safety
from placet_rpc.frames import FIRST_REPLY_STATUS, REQUEST_ID_MAX, Channel, Frame, GoAway, Kind, fault_error
from placet_rpc.frames.call import decode_reply
from placet_rpc.tcp.writing import WritingProtocol
from placet_rpc.transport import Completion, Reply

if TYPE_CHECKING:
    from placet_rpc.tcp.link import TcpLink

_REQUEST, _RESPONSE, _GOAWAY = int(Kind.REQUEST), int(Kind.RESPONSE), int(Kind.GOAWAY)
_LAST_ID = REQUEST_ID_MAX - 1


class Pending(msgspec.Struct, frozen=True, gc=False):
    """A call that was queued on a connection."""

    completion: Completion
    deadline_at: float


class TcpConnection(WritingProtocol):
    """A connection of a link.

    Attributes:
        pending: calls without an outcome, by request id. Ids only grow, so none comes twice on a connection.
        max_in_flight: what both sides allow; 0 until the server has said HELLO.
        retiring: no new call goes here; it closes when the last one has ended.
        draining: the server says that it will go; calls still go here while there is no other way.
        heard: something came since the link last looked.
    """

    __slots__ = (
        "_is_lost",
        "_last_id",
        "_written_id",
        "asked",
        "busy_at",
        "draining",
        "greeted",
        "heard",
        "heard_at",
        "link",
        "max_body_bytes",
        "max_in_flight",
        "pending",
        "retiring",
    )

    def __init__(self, link: "TcpLink", channel: Channel) -> None:
        super().__init__(channel, link.loop)
        self.link = link
        self.pending: dict[int, Pending] = {}
        self.max_in_flight = 0
        self.max_body_bytes = 0
        self.retiring = False
        self.draining = False
        self.heard = True
        self.heard_at = self.busy_at = link.loop.time()
        self.asked = False  # for a sign of life
        self.greeted: asyncio.Future[None] = link.loop.create_future()
        self._last_id = 0
        self._written_id = 0
        self._is_lost = False

    # -- the link's side ---------------------------------------------------------------------------------------

    @property
    def has_room(self) -> bool:
        """True if a call may be sent now."""
        return len(self.pending) < self.max_in_flight and not self.write_paused and not self.retiring

    def begin(self, codec: int, header: bytes, body: bytes, time_ms: int, pending: Pending) -> None:
        """Queues a request."""
        self._last_id = request_id = self._last_id + 1
        self.pending[request_id] = pending
        self.queue(_REQUEST, request_id, time_ms, codec, header, body)
        if request_id == _LAST_ID:
            self.retire()

    def give_up(self, request_id: int) -> Safety:
        """Forgets a call, tells the server, and says what is known of it."""
        del self.pending[request_id]
        self.channel.cancel(request_id)
        self.flush_soon()
        return Safety.UNKNOWN if request_id <= self._written_id else Safety.NOT_SENT

    def retire(self) -> None:
        """Takes no new call, and closes when the last one has ended."""
        self.retiring = True
        if not self.pending and not self._is_lost:
            self.transport.close()

    # -- the event loop's side ---------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Takes the transport and says HELLO."""
        self.link.counters.connections_open += 1
        super().connection_made(transport)
        self.channel.open()
        self.flush()

    def data_received(self, data: bytes) -> None:
        """Hands over what came; what that brings about is written at the end."""
        self.heard = True
        self._flush_is_due = True
        channel = self.channel
        pending = self.pending
        for frame in channel.feed(data):
            if frame.kind == _RESPONSE:
                call = pending.pop(frame.request_id, None)
                if call is None:
                    self.link.counters.late_replies += 1
                else:
                    self._finish(call.completion, frame)
            elif frame.kind == _GOAWAY:
                self._go_away(frame)
        if channel.error is not None:
            self.lose(f"the server broke the protocol: {channel.error}")
            return
        if not self.max_in_flight and channel.peer is not None:
            self._greet()
        if self.link.waiting:
            self.link.lend()
        if self.retiring and not pending:
            self.transport.close()
        self.flush()

    def resume_writing(self) -> None:
        """The server reads again: calls that wait may go."""
        super().resume_writing()
        self.link.lend()

    def before_write(self) -> None:
        """From here on nobody knows what becomes of the requests queued so far."""
        self._written_id = self._last_id

    def connection_lost(self, exc: Exception | None) -> None:
        """Ends the calls under way."""
        self.link.counters.connections_open -= 1
        self.lose(f"{type(exc).__name__}: {exc}" if exc is not None else "closed by the server")
        self.link.gone(self)

    def lose(self, cause: str) -> None:
        """Ends the connection and all its calls, now."""
        if self._is_lost:
            return
        self._is_lost = True
        self.retiring = True
        self.transport.abort()
        endpoint = self.link.endpoint
        if not self.greeted.done():
            self.greeted.set_exception(ConnectFailed(f"connection lost before HELLO: {cause}", endpoint=endpoint))
            self.greeted.exception()  # nobody may be left to ask
        calls = list(self.pending.items())
        self.pending.clear()
        self.link.dropped(self)
        for request_id, call in calls:
            if request_id <= self._written_id:
                error: RpcError = ConnectionLost(f"connection lost before the reply: {cause}", endpoint=endpoint)
            else:
                error = ConnectFailed(f"connection lost before the request was written: {cause}", endpoint=endpoint)
            self.link.end(call.completion, error)

    # -- inside ------------------------------------------------------------------------------------------------

    def _finish(self, completion: Completion, frame: Frame) -> None:
        link = self.link
        if completion.done():
            link.counters.cancelled += 1
            return
        status = frame.time >> 16
        if status < FIRST_REPLY_STATUS:
            link.end(completion, fault_error(frame, link.endpoint))
            return
        if frame.skipped_bytes:
            link.end(completion, link.reply_too_large(frame.skipped_bytes))
            return
        try:
            fields = decode_reply(frame.header).fields if frame.header else {}
        except ValueError as error:
            link.end(completion, link.violation(f"the map of the reply: {error}"))
            return
        link.counters.replies += 1
        try:
            completion.set_result(Reply(status, fields, frame.body))
        except Exception as fault:  # noqa: BLE001 - a caller's fault must not cost others their replies
            link.report(fault)

    def _greet(self) -> None:
        peer = self.channel.peer
        assert peer is not None  # noqa: S101 - the caller looked
        if self.greeted.done():
            return
        if peer.refusal:
            error = ConnectFailed(f"the server refuses this client: {peer.refusal}", endpoint=self.link.endpoint)
            self.greeted.set_exception(error)
            self.greeted.exception()
            return
        self.max_in_flight = min(self.link.limits.max_in_flight, peer.max_in_flight)
        self.max_body_bytes = peer.max_message_bytes
        self.greeted.set_result(None)

    def _go_away(self, frame: Frame) -> None:
        """First a warning (last id is the highest there is), later the last id that is served."""
        if frame.request_id == REQUEST_ID_MAX:
            if frame.time == GoAway.AGE:
                self.link.replace(self)
            else:
                self.draining = True
            return
        self.link.replace(self)
        for request_id in [number for number in self.pending if number > frame.request_id]:
            call = self.pending.pop(request_id)
            message = "the server is shutting down and did not take the request"
            error = CallRefused(message, reason="draining", endpoint=self.link.endpoint)
            self.link.end(call.completion, error)
