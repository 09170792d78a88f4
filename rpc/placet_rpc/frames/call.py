"""The maps of a request and of a reply: one-letter names, absent members left out, unknown ones ignored."""

import msgspec


class CallHeader(msgspec.Struct, omit_defaults=True, gc=False):
    """The map of a REQUEST or ONEWAY: an HTTP request (method, target, fields) or a method of a service.

    Attributes:
        http_method: such as `POST`.
        target: path and query as they would stand in a request line.
        fields: header lines, each with its CRLF.
        service: with its version, such as `stock/1`.
        operation: the method's name.
        caller: the calling application.
        key: calls with one ordering key run one after the other.
        idempotency_key: under which the request has one effect.
        traceparent: W3C trace context.
        xid: the global transaction that the call belongs to.
        attempt: counted from 1 by whoever repeats.
        extra: of filters and policies.
    """

    http_method: bytes = msgspec.field(default=b"", name="m")
    target: bytes = msgspec.field(default=b"", name="t")
    fields: bytes = msgspec.field(default=b"", name="h")
    service: str = msgspec.field(default="", name="s")
    operation: str = msgspec.field(default="", name="o")
    caller: str = msgspec.field(default="", name="c")
    key: str = msgspec.field(default="", name="k")
    idempotency_key: str = msgspec.field(default="", name="i")
    traceparent: str = msgspec.field(default="", name="p")
    xid: str = msgspec.field(default="", name="x")
    attempt: int = msgspec.field(default=1, name="a")
    extra: dict[str, str] = msgspec.field(default_factory=dict, name="e")


class ReplyHeader(msgspec.Struct, omit_defaults=True, gc=False):
    """The map of a RESPONSE.

    Attributes:
        fields: header fields by name.
    """

    fields: dict[bytes, bytes] = msgspec.field(default_factory=dict, name="h")


encode_call = msgspec.msgpack.Encoder().encode
decode_call = msgspec.msgpack.Decoder(CallHeader).decode
encode_reply = msgspec.msgpack.Encoder().encode
decode_reply = msgspec.msgpack.Decoder(ReplyHeader).decode


class HttpCallTemplate:
    """The map of an HTTP request of which only some fields differ from call to call.

    Args:
        http_method: such as `POST`.
        target: path and query.
        fields: header lines that all calls have.
    """

    __slots__ = ("_common", "_common_bytes", "_prefix")

    def __init__(self, http_method: str, target: str, fields: bytes) -> None:
        constant = msgspec.msgpack.encode({"m": http_method.encode(), "t": target.encode()})
        # 0x80 | n: a map of n members; 0xa1 and a letter: its name; 0xc5 and two bytes: a byte string's length.
        self._prefix = b"\x83" + constant[1:] + b"\xa1h\xc5"
        self._common = fields
        self._common_bytes = len(fields)

    def fill(self, fields: bytes) -> bytes:
        """Returns the map with the header lines of one call; longer than two bytes can say it is no map at all."""
        size = self._common_bytes + len(fields)
        return b"%b%b%b%b" % (self._prefix, (size & 0xFFFF).to_bytes(2, "big"), self._common, fields)
