"""What one turn of the event loop writes, written together at its end.

A write wakes the process at the other end. Woken by the first of thirty answers, it takes one, sleeps again, and costs
both sides a switch for each of the others; woken once, it takes all thirty. At 64 callers on two cores that is an
eighth of the throughput (docs/reference/figures.md).
"""

import asyncio


class Outbox:
    """Writes to many connections, kept until the turn ends."""

    __slots__ = ("_writes",)

    def __init__(self) -> None:
        self._writes: list[tuple[asyncio.Transport, bytes]] = []

    def write(self, transport: asyncio.Transport, message: bytes) -> None:
        """Writes soon; messages to one transport stay in order. What is closed by then is not written to."""
        if not self._writes:
            asyncio.get_running_loop().call_soon(self.flush)
        self._writes.append((transport, message))

    def flush(self) -> None:
        """Writes now: for whoever is about to write past this outbox, or to close."""
        writes, self._writes = self._writes, []
        for transport, message in writes:
            try:
                if not transport.is_closing():
                    transport.write(message)
            except Exception as fault:  # noqa: BLE001 - a transport's fault must not cost the others their messages
                context = {"message": "a message could not be written", "exception": fault, "transport": transport}
                asyncio.get_running_loop().call_exception_handler(context)
