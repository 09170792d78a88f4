"""The frame: 20 bytes of fixed header, a small map, a body. All integers are big-endian.

     0        2       3      4       5       6            8            12       16         20
     | magic  | version | type | flags | codec | map length | request id | time | body length | map | body

`time` of a REQUEST or ONEWAY is the milliseconds left (0: none given). `time` of a RESPONSE holds the status in its
upper and a push-back in milliseconds in its lower half (0xFFFF: do not repeat); so a deadline that has passed, a
refusal and a push-back are read without decoding anything. `time` of a GOAWAY is its reason, its request id the last
one that will be served.
"""

import enum
import struct

import msgspec

MAGIC = 0x504C
VERSION = 1
HEAD = struct.Struct(">HBBBBHIII")
HEAD_BYTES = HEAD.size
REQUEST_ID_MAX = 0xFFFF_FFFF
TIME_MAX = 0xFFFF_FFFF
PUSH_BACK_MAX_MS = 0xFFFE
DO_NOT_REPEAT = 0xFFFF


class Kind(enum.IntEnum):
    """What a frame is."""

    HELLO = 1
    REQUEST = 2
    RESPONSE = 3
    ONEWAY = 4
    CANCEL = 5
    PING = 6
    PONG = 7
    GOAWAY = 8


KINDS = frozenset(int(kind) for kind in Kind)
CARRIES_A_BODY = frozenset((int(Kind.HELLO), int(Kind.REQUEST), int(Kind.RESPONSE), int(Kind.ONEWAY)))
MAY_BE_FRAGMENTED = frozenset((int(Kind.REQUEST), int(Kind.RESPONSE), int(Kind.ONEWAY)))

MORE_FRAGMENTS = 0x01
"""Another frame with the same request id carries the rest of the body; the map comes with the first one."""


class GoAway(enum.IntEnum):
    """Why no more requests are taken."""

    SHUTDOWN = 0
    AGE = 1


class Frame(msgspec.Struct, frozen=True, gc=False):
    """A frame as it came, or a message whose fragments were put together.

    Attributes:
        kind: see `Kind`.
        flags: see `MORE_FRAGMENTS`.
        codec: how map-free content is encoded, see `placet_rpc.codecs`; 0 for control frames.
        request_id: of the request that it belongs to.
        time: see the module's text.
        header: the encoded map, or nothing.
        body: the encoded body; empty if it was skipped.
        skipped_bytes: length of a body that was over the limit; it was not kept.
    """

    kind: int
    flags: int
    codec: int
    request_id: int
    time: int
    header: bytes
    body: bytes
    skipped_bytes: int = 0

    @property
    def status(self) -> int:
        """A RESPONSE's status."""
        return self.time >> 16

    @property
    def push_back_ms(self) -> int:
        """A RESPONSE's push-back: 0 none, `DO_NOT_REPEAT` for ever."""
        return self.time & 0xFFFF


def encode_frame(
    kind: int,
    request_id: int,
    *,
    time: int = 0,
    flags: int = 0,
    codec: int = 0,
    header: bytes = b"",
    body: bytes | memoryview = b"",
) -> bytes:
    """Encodes one frame; the caller keeps within the limits of the layout."""
    head = HEAD.pack(MAGIC, VERSION, kind, flags, codec, len(header), request_id, time, len(body))
    return b"".join((head, header, body))
