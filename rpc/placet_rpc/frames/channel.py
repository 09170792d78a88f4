"""One side of a connection without its I/O: bytes in, frames out; messages in, bytes out.

HELLO is required first and only once, PING is answered, fragments are put together, long bodies are cut so that short
messages and control frames pass them. What a request means is not known here.
"""

from collections import deque

from placet_rpc.frames.decoder import FIRST_FRAME_BYTES_MAX, HEADER_BYTES_MAX, Assembler, DecodeError, FrameDecoder
from placet_rpc.frames.hello import Hello, decode_hello, encode_hello
from placet_rpc.frames.layout import HEAD, MAGIC, MORE_FRAGMENTS, VERSION, Frame, GoAway, Kind, encode_frame

FRAGMENT_BYTES = 256 * 1024
MAX_FRAGMENTED_MESSAGES = 16
WRITE_BYTES = 1024 * 1024
"""One `take` returns about this much of long bodies at most."""

_HELLO, _PING, _PONG, _CANCEL, _GOAWAY = (
    int(kind) for kind in (Kind.HELLO, Kind.PING, Kind.PONG, Kind.CANCEL, Kind.GOAWAY)
)


class _Long:
    """A message that is written in fragments."""

    __slots__ = ("at", "body", "codec", "header", "kind", "request_id", "time")

    def __init__(self, kind: int, request_id: int, time: int, codec: int, header: bytes, body: bytes) -> None:  # noqa: PLR0917 - as `send`
        self.kind, self.request_id, self.time, self.codec = kind, request_id, time, codec
        self.header, self.body = header, memoryview(body)
        self.at = 0

    def next(self) -> bytes:
        part = self.body[self.at : self.at + FRAGMENT_BYTES]
        header = b"" if self.at else self.header
        self.at += len(part)
        flags = 0 if self.is_whole else MORE_FRAGMENTS
        return encode_frame(
            self.kind, self.request_id, time=self.time, flags=flags, codec=self.codec, header=header, body=part
        )

    @property
    def is_whole(self) -> bool:
        return self.at >= len(self.body)


_NOTHING_LONG: deque[_Long] = deque(maxlen=0)
"""An empty deque has 760 bytes, and most connections are idle."""


class Channel:
    """The protocol's state of one side of a connection.

    Args:
        hello: sent first, by `open`; its limits hold for what is received.

    Attributes:
        peer: the other side's HELLO, once it came.
        error: what ended the channel; frames before it were still returned.
    """

    __slots__ = ("_assembler", "_control", "_decoder", "_long", "_out", "error", "hello", "peer")

    def __init__(self, hello: Hello) -> None:
        self.hello = hello
        self.peer: Hello | None = None
        self.error: DecodeError | None = None
        self._decoder = FrameDecoder(FIRST_FRAME_BYTES_MAX)
        self._decoder.one_by_one = True
        self._assembler = Assembler(hello.max_message_bytes, MAX_FRAGMENTED_MESSAGES)
        self._control: list[bytes] = []
        self._out: list[bytes] = []
        self._long = _NOTHING_LONG

    # -- reading -----------------------------------------------------------------------------------------------

    def feed(self, data: bytes) -> list[Frame]:
        """Takes bytes; returns REQUEST, ONEWAY, RESPONSE, CANCEL and GOAWAY messages. Look at `error` afterwards."""
        frames = self._decoder.feed(data) if self.error is None else []
        if self.peer is not None:
            for frame in frames:
                # Mostly every frame is a whole message: nothing is copied then.
                if (
                    frame.flags & MORE_FRAGMENTS
                    or frame.kind in _OWN
                    or frame.skipped_bytes
                    or (self._assembler.knows(frame.request_id) and frame.kind != _GOAWAY)
                ):
                    frames = self._sort(frames)
                    break
        elif frames:
            frames = self._meet(frames[0])
        if self.error is None:
            self.error = self._decoder.error
        return frames

    def _meet(self, first: Frame) -> list[Frame]:
        """Takes the first frame, which must be HELLO, and then what came with it."""
        if first.kind != _HELLO:
            self.error = DecodeError(f"the first frame is of type {first.kind}, not HELLO")
            return []
        try:
            self.peer = decode_hello(first.body)
        except ValueError as error:
            self.error = DecodeError(f"not a HELLO: {error}")
            return []
        self._decoder.max_body_bytes = self.hello.max_message_bytes
        self._decoder.one_by_one = False
        return self._sort(self._decoder.feed(b""))

    def _sort(self, frames: list[Frame]) -> list[Frame]:
        messages: list[Frame] = []
        assembler = self._assembler
        for frame in frames:
            kind = frame.kind
            if kind == _PING:
                self._control.append(encode_frame(_PONG, frame.request_id))
            elif kind == _HELLO:
                self.error = DecodeError("a second HELLO")
                break
            elif kind == _CANCEL:
                assembler.drop(frame.request_id)
                messages.append(frame)
            elif kind == _GOAWAY:
                messages.append(frame)
            elif kind != _PONG:
                if not frame.flags & MORE_FRAGMENTS and not assembler.knows(frame.request_id):
                    messages.append(frame)
                    continue
                message = assembler.take(frame)
                if assembler.error is not None:
                    self.error = assembler.error
                    break
                if message is not None:
                    messages.append(message)
        return messages

    @property
    def is_assembling(self) -> bool:
        """True if a part of some message has come and the rest has not."""
        return self._assembler.is_busy

    # -- writing -----------------------------------------------------------------------------------------------

    def open(self, refusal: str = "") -> None:
        """Says HELLO, or why the other side is not served."""
        hello = self.hello if not refusal else Hello(refusal=refusal)
        self._control.append(encode_frame(_HELLO, 0, body=encode_hello(hello)))

    def send(self, kind: int, request_id: int, time: int, codec: int, header: bytes, body: bytes) -> None:  # noqa: PLR0917 - by position: names cost half as much as the work
        """Queues a message; the caller has looked at `header_fits` and the peer's `max_message_bytes`."""
        size = len(body)
        if size > FRAGMENT_BYTES:
            if self._long is _NOTHING_LONG:
                self._long = deque()
            self._long.append(_Long(kind, request_id, time, codec, header, body))
            return
        out = self._out
        out.append(HEAD.pack(MAGIC, VERSION, kind, 0, codec, len(header), request_id, time, size))
        if header:
            out.append(header)
        if size:
            out.append(body)

    def ping(self, number: int) -> None:
        """Asks for a sign of life."""
        self._control.append(encode_frame(_PING, number))

    def cancel(self, request_id: int) -> None:
        """Says that nobody waits for a reply any more; what is unsent of the request is dropped."""
        for message in self._long:
            if message.request_id == request_id:
                self._long.remove(message)
                break
        # In line with the requests: a CANCEL that passed its request would cancel nothing.
        self._out.append(encode_frame(_CANCEL, request_id))

    def go_away(self, last_id: int, reason: GoAway) -> None:
        """Says which request is the last to be served."""
        self._control.append(encode_frame(_GOAWAY, last_id, time=reason))

    @property
    def has_output(self) -> bool:
        """True if `take` would return something."""
        return bool(self._out or self._control or self._long)

    def take(self) -> bytes:
        """Returns what is to be written now: control frames first, short messages, then a share of each long one."""
        parts = self._control
        parts += self._out
        self._control, self._out = [], []
        written = 0
        while self._long and written < WRITE_BYTES:
            message = self._long.popleft()
            parts.append(message.next())
            written += len(parts[-1])
            if not message.is_whole:
                self._long.append(message)
            elif not self._long:
                self._long = _NOTHING_LONG
        return b"".join(parts)


_OWN = frozenset((_HELLO, _PING, _PONG, _CANCEL))


def header_fits(header: bytes) -> bool:
    """True if the map may be sent."""
    return len(header) <= HEADER_BYTES_MAX
