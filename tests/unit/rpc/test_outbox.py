"""The outbox: what one turn writes goes out at its end, in order, whatever happens to one of the connections."""

import asyncio
from typing import Any

from placet_rpc.http.outbox import Outbox


class Transport:
    """Keeps what is written to it; may be closed, or broken."""

    def __init__(self, *, closing: bool = False, broken: bool = False) -> None:
        self.written: list[bytes] = []
        self.closing, self.broken = closing, broken

    def is_closing(self) -> bool:
        return self.closing

    def write(self, message: bytes) -> None:
        if self.broken:
            raise RuntimeError("the handler is closed")
        self.written.append(message)


async def test_messages_leave_at_the_end_of_the_turn_and_in_order() -> None:
    """Nothing is written while the turn lasts; then all is, to each its own in order."""
    outbox, one, two = Outbox(), Transport(), Transport()
    for transport, message in ((one, b"1"), (two, b"a"), (one, b"2")):
        outbox.write(transport, message)  # type: ignore[arg-type]
    assert (one.written, two.written) == ([], [])
    await asyncio.sleep(0)
    assert (one.written, two.written) == ([b"1", b"2"], [b"a"])


async def test_a_flush_writes_at_once_and_nothing_twice() -> None:
    """Whoever writes past the outbox, or closes, flushes it first."""
    outbox, transport = Outbox(), Transport()
    outbox.write(transport, b"1")  # type: ignore[arg-type]
    outbox.flush()
    assert transport.written == [b"1"]
    outbox.write(transport, b"2")  # type: ignore[arg-type]
    await asyncio.sleep(0)
    assert transport.written == [b"1", b"2"]


async def test_a_broken_or_closed_transport_costs_no_other_its_message() -> None:
    """The fault goes to the loop's exception handler; a closed one is passed over."""
    outbox, broken, closed, whole = Outbox(), Transport(broken=True), Transport(closing=True), Transport()
    told: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: told.append(context))
    for transport in (broken, closed, whole):
        outbox.write(transport, b"1")  # type: ignore[arg-type]
    await asyncio.sleep(0)
    assert (closed.written, whole.written) == ([], [b"1"])
    assert [context["transport"] for context in told] == [broken]
