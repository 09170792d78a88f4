"""W3C trace context: one id for all calls that one request causes, one for each call, and who is whose parent.

After https://www.w3.org/TR/trace-context/ ; `tracestate` is not carried.
"""

import re
from typing import Any, Self

import msgspec

from placet_rpc.chance import Chance, new_chance
from placet_rpc.filters import Proceed
from placet_rpc.invocation import Invocation

SAMPLED = 0x01
_TRACE_BITS, _SPAN_BITS = 128, 64
_FORM = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_VERSION = "00"
_NO_VERSION = "ff"


class TraceContext(msgspec.Struct, frozen=True):
    """A place in a trace.

    Attributes:
        trace_id: 32 hexadecimal digits, the same for all that one request causes.
        span_id: 16 hexadecimal digits, of this call.
        flags: `SAMPLED` or 0.
    """

    trace_id: str
    span_id: str
    flags: int = 0

    @classmethod
    def parse(cls, traceparent: str) -> Self | None:
        """Reads the field; None if it is absent or not valid, and then the trace begins anew, as the standard says."""
        found = _FORM.fullmatch(traceparent)
        if found is None:
            return None
        version, trace_id, span_id, flags, more = found.groups()
        if version == _NO_VERSION or (version == _VERSION and more):
            return None
        if not int(trace_id, 16) or not int(span_id, 16):
            return None
        return cls(trace_id, span_id, int(flags, 16) & SAMPLED)

    @classmethod
    def begin(cls, chance: Chance, *, sampled: bool) -> Self:
        """Begins a trace."""
        return cls(f"{_drawn(chance, _TRACE_BITS):032x}", f"{_drawn(chance, _SPAN_BITS):016x}", int(sampled))

    def child(self, chance: Chance) -> Self:
        """Returns the place of a call made within this one."""
        return msgspec.structs.replace(self, span_id=f"{_drawn(chance, _SPAN_BITS):016x}")

    def __str__(self) -> str:
        return f"{_VERSION}-{self.trace_id}-{self.span_id}-{self.flags:02x}"


def _drawn(chance: Chance, bits: int) -> int:
    return chance.getrandbits(bits) or 1  # an id of zeros means that there is none


class Tracing:
    """Gives each call its own place in the trace of the one that is being served; a `ClientFilter`.

    Args:
        sampled: new traces ask to be recorded; whoever records decides.
        chance: where ids come from.
    """

    def __init__(self, *, sampled: bool = False, chance: Chance | None = None) -> None:
        self._sampled = sampled
        self._chance = chance or new_chance()

    async def invoke(self, call: Invocation, proceed: Proceed) -> Any:
        """Traces a call."""
        parent = TraceContext.parse(call.traceparent) if call.traceparent else None
        here = parent.child(self._chance) if parent else TraceContext.begin(self._chance, sampled=self._sampled)
        call.traceparent = str(here)
        return await proceed(call)
