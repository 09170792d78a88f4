"""HELLO: the first frame of each side, and what both agree on."""

import msgspec

CODEC_HTTP = 1
"""The map holds an HTTP method, target and fields; the body is what its content-type says."""
CODEC_MSGPACK = 2
CODEC_JSON = 3
CODEC_PROTOBUF = 4

MAX_IN_FLIGHT = 1_024
MAX_MESSAGE_BYTES = 8 * 1024 * 1024
PING_INTERVAL_MS = 5_000


class Hello(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a side is and takes. Unknown members are ignored, so a later version may add some.

    Attributes:
        codecs: names of the codecs that this side takes, the preferred first.
        instance_id: of this process; stable over its life.
        app: the application's name.
        token: proof of identity, where the server asks for one; never logged.
        max_in_flight: requests that this side takes at a time on this connection.
        max_message_bytes: the longest body that this side takes.
        ping_interval_ms: how often this side sends at least something; three times that without anything is death.
        contracts: hash of the contract per service; for diagnosis only.
        refusal: the other side is not served, in words; the connection ends.
    """

    codecs: list[str] = []
    instance_id: str = ""
    app: str = ""
    token: str = ""
    max_in_flight: int = MAX_IN_FLIGHT
    max_message_bytes: int = MAX_MESSAGE_BYTES
    ping_interval_ms: int = PING_INTERVAL_MS
    contracts: dict[str, str] = {}
    refusal: str = ""

    def __repr__(self) -> str:
        return f"Hello(app={self.app!r}, instance_id={self.instance_id!r}, codecs={self.codecs})"


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Hello).decode


def encode_hello(hello: Hello) -> bytes:
    """Encodes the body of a HELLO."""
    return _encode(hello)


def decode_hello(body: bytes) -> Hello:
    """Decodes the body of a HELLO.

    Raises:
        ValueError: it is none.
    """
    hello = _decode(body)
    if hello.max_in_flight < 1 or hello.max_message_bytes < 1 or hello.ping_interval_ms < 1:
        raise ValueError("a HELLO with a limit below 1")
    return hello
