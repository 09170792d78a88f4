"""From bytes to frames, however the bytes were cut; without I/O."""

from placet_rpc.frames.layout import (
    CARRIES_A_BODY,
    HEAD,
    HEAD_BYTES,
    KINDS,
    MAGIC,
    MAY_BE_FRAGMENTED,
    MORE_FRAGMENTS,
    VERSION,
    Frame,
)

HEADER_BYTES_MAX = 16 * 1024
FIRST_FRAME_BYTES_MAX = 64 * 1024
"""Before HELLO is through, nobody has shown who they are: no frame may be larger."""


class DecodeError(ValueError):
    """What came is not of this protocol; the connection can't go on, for the start of the next frame is unknown."""


class FrameDecoder:
    """Cuts a stream of bytes into frames.

    A length is checked when its fixed header is there, before anything is kept for it. A REQUEST, RESPONSE or ONEWAY
    whose body is too long is reported with `skipped_bytes` and skipped over; everything else that is wrong ends the
    decoder.

    Args:
        max_body_bytes: of one frame.

    Attributes:
        max_body_bytes: may be raised when HELLO is through.
        one_by_one: `feed` returns at most one frame and keeps the rest, until it is called again.
        error: set once for all; frames before it are still returned.
    """

    __slots__ = ("_buffer", "_needed", "_skip", "error", "max_body_bytes", "one_by_one")

    def __init__(self, max_body_bytes: int = FIRST_FRAME_BYTES_MAX) -> None:
        self.max_body_bytes = max_body_bytes
        self.one_by_one = False
        self.error: DecodeError | None = None
        self._buffer = bytearray()
        self._needed = HEAD_BYTES
        self._skip = 0  # bytes still to come of a body that is not kept

    @property
    def buffered_bytes(self) -> int:
        """Bytes kept of a frame that is not whole."""
        return len(self._buffer)

    def feed(self, data: bytes) -> list[Frame]:  # noqa: C901 - one loop over one layout; a call per frame would double its cost
        """Takes the next bytes and returns the frames that became whole; look at `error` afterwards."""
        frames: list[Frame] = []
        if self.error is not None:
            return frames
        if self._buffer:
            self._buffer += data
            if len(self._buffer) < self._needed:
                return frames
            data = bytes(self._buffer)
            self._buffer.clear()
        size, at = len(data), 0
        if self._skip:
            at = min(self._skip, size)
            self._skip -= at
        self._needed = HEAD_BYTES
        while size - at >= HEAD_BYTES and not (frames and self.one_by_one):
            magic, version, kind, flags, codec, header_bytes, request_id, time, body_bytes = HEAD.unpack_from(data, at)
            if magic != MAGIC or version != VERSION or kind not in KINDS or header_bytes > HEADER_BYTES_MAX:
                self._refuse(magic, version, kind, header_bytes)
                return frames
            body_at = at + HEAD_BYTES + header_bytes
            end = body_at + body_bytes
            if body_bytes > self.max_body_bytes or (body_bytes and kind not in CARRIES_A_BODY):
                if kind not in MAY_BE_FRAGMENTED:
                    self.error = DecodeError(f"a frame of type {kind} with a body of {body_bytes} bytes")
                    return frames
                if body_at > size:
                    self._needed = body_at - at
                    break
                header = data[at + HEAD_BYTES : body_at]
                frames.append(Frame(kind, flags, codec, request_id, time, header, b"", body_bytes))
                self._skip = max(end - size, 0)
                at = min(end, size)
                continue
            if end > size:
                self._needed = end - at
                break
            header = data[at + HEAD_BYTES : body_at] if header_bytes else b""
            frames.append(Frame(kind, flags, codec, request_id, time, header, data[body_at:end]))
            at = end
        if at < size:
            self._buffer += data[at:] if at else data
        return frames

    def _refuse(self, magic: int, version: int, kind: int, header_bytes: int) -> None:
        if magic != MAGIC:
            self.error = DecodeError("no frame starts here: the peer does not speak this protocol (or wants TLS)")
        elif version != VERSION:
            self.error = DecodeError(f"frame version {version}, this side speaks {VERSION}")
        elif kind not in KINDS:
            self.error = DecodeError(f"no frame has type {kind}")
        else:
            self.error = DecodeError(f"a map of {header_bytes} bytes, the limit is {HEADER_BYTES_MAX}")


class Assembler:
    """Puts fragments of messages together; messages may interleave.

    Args:
        max_message_bytes: a message that grows beyond it is reported once, with `skipped_bytes`, and dropped.
        max_messages: messages under way at a time; more end the connection.
    """

    __slots__ = ("_partial", "error", "max_message_bytes", "max_messages")

    def __init__(self, max_message_bytes: int, max_messages: int) -> None:
        self.max_message_bytes = max_message_bytes
        self.max_messages = max_messages
        self.error: DecodeError | None = None
        self._partial: dict[int, tuple[Frame, list[bytes], int]] = {}

    def drop(self, request_id: int) -> None:
        """Forgets a message whose rest will not come."""
        self._partial.pop(request_id, None)

    def take(self, frame: Frame) -> Frame | None:
        """Takes a frame that is a fragment or ends a fragmented message; returns the whole message if it is that."""
        first, parts, size = self._partial.get(frame.request_id) or (frame, [], 0)
        size += len(frame.body) + frame.skipped_bytes
        more = frame.flags & MORE_FRAGMENTS
        if frame.kind != first.kind:
            self.error = DecodeError(f"fragments of request {frame.request_id} are of types {first.kind}, {frame.kind}")
            return None
        too_long = size > self.max_message_bytes or frame.skipped_bytes
        if too_long:
            parts.clear()
        else:
            parts.append(frame.body)
        if more:
            if frame is first and len(self._partial) >= self.max_messages:
                self.error = DecodeError(f"over {self.max_messages} messages in fragments at a time")
                return None
            # A message that is too long keeps its place, so that its further fragments are known for what they are.
            self._partial[frame.request_id] = (
                first,
                parts,
                max(size, self.max_message_bytes + 1) if too_long else size,
            )
            return None
        self._partial.pop(frame.request_id, None)
        flags = first.flags & ~MORE_FRAGMENTS
        body, skipped = (b"", size) if too_long else (b"".join(parts), 0)
        return Frame(first.kind, flags, first.codec, first.request_id, first.time, first.header, body, skipped)

    def knows(self, request_id: int) -> bool:
        """True if fragments of this message have come."""
        return request_id in self._partial

    @property
    def is_busy(self) -> bool:
        """True if some message is not whole."""
        return bool(self._partial)
