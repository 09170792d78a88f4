"""The maps of calls of methods over TCP, kept where they repeat.

Most calls of one method from one caller differ in their arguments alone: what names them is the same bytes each time.
"""

from placet_rpc.frames.call import CallHeader, decode_call, encode_call
from placet_rpc.invocation import Invocation
from placet_rpc.known_heads import KnownHeads

PLAIN_MAX = 1_024
"""Maps of calls without anything of their own that a side keeps; a client makes further ones each time."""
PLAIN_BYTES_MAX = 256
"""The longest one that a server keeps: what clients send must not fill its memory."""


def _is_plain(call: Invocation | CallHeader) -> bool:
    """True if a call says who calls what, and nothing else."""
    return not (call.key or call.idempotency_key or call.traceparent or call.xid or call.extra or call.attempt != 1)


class CallHeaders:
    """A client's half: encodes them."""

    __slots__ = ("_plain",)

    def __init__(self) -> None:
        self._plain: dict[tuple[str, str, str], bytes] = {}

    def encode(self, call: Invocation) -> bytes:
        """Returns the map of a call."""
        is_plain = _is_plain(call)
        name = (call.service.key, call.method.name, call.caller)
        encoded = self._plain.get(name) if is_plain else None
        if encoded is None:
            encoded = encode_call(
                CallHeader(
                    service=call.service.key,
                    operation=call.method.name,
                    caller=call.caller,
                    key=call.key,
                    idempotency_key=call.idempotency_key,
                    traceparent=call.traceparent,
                    xid=call.xid,
                    attempt=call.attempt,
                    extra=call.extra,
                )
            )
            if is_plain and len(self._plain) < PLAIN_MAX:
                self._plain[name] = encoded
        return encoded


class KnownHeaders:
    """A server's half: decodes them."""

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: KnownHeads[CallHeader] = KnownHeads(PLAIN_MAX, PLAIN_BYTES_MAX)

    def decode(self, encoded: bytes) -> CallHeader:
        """Returns the map of a call, which may be that of others too: it is not to be changed.

        Raises:
            ValueError: it is none.
        """
        header = self._known.get(encoded)
        if header is None:
            header = decode_call(encoded)
            if _is_plain(header):
                self._known.keep(encoded, header)
        return header
