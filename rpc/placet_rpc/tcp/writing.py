"""A connection's way out: what is queued in one turn of the event loop is written at its end, or in a few shares.

One write for all of a turn is the fewest system calls, but then the two sides take turns: while one works through its
turn the other has nothing to do. So the first messages of a busy turn leave before the last are made.
"""

import asyncio
from typing import cast

from placet_rpc.frames import Channel
from placet_rpc.tcp.limits import WRITE_EARLY_MESSAGES, WRITE_HIGH_WATER_BYTES


class WritingProtocol(asyncio.Protocol):
    """The half that client and server share."""

    __slots__ = ("_flush_is_due", "_unwritten", "channel", "loop", "transport", "write_paused")

    def __init__(self, channel: Channel, loop: asyncio.AbstractEventLoop) -> None:
        self.channel = channel
        self.loop = loop
        self.transport: asyncio.Transport
        self.write_paused = False
        self._unwritten = 0  # messages queued since the last write
        self._flush_is_due = False  # also true while reading: what reading brings about is flushed at its end

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Takes the transport."""
        self.transport = cast("asyncio.Transport", transport)
        self.transport.set_write_buffer_limits(high=WRITE_HIGH_WATER_BYTES)

    def pause_writing(self) -> None:
        """The peer does not read: nothing more is given to the transport."""
        self.write_paused = True

    def resume_writing(self) -> None:
        """The peer reads again."""
        self.write_paused = False
        self.flush()

    def queue(self, kind: int, request_id: int, time: int, codec: int, header: bytes, body: bytes) -> None:  # noqa: PLR0917 - as `Channel.send`
        """Queues a message; it is written by the end of this turn of the loop."""
        self.channel.send(kind, request_id, time, codec, header, body)
        self._unwritten += 1
        if not self._flush_is_due:
            self._flush_is_due = True
            self.loop.call_soon(self.flush)
        if self._unwritten >= WRITE_EARLY_MESSAGES:
            self._write()

    def flush_soon(self) -> None:
        """Writes what is queued before the event loop waits again."""
        if not self._flush_is_due:
            self._flush_is_due = True
            self.loop.call_soon(self.flush)

    def flush(self) -> None:
        """Writes what is queued now, as far as the peer reads."""
        self._flush_is_due = False
        self._write()

    def _write(self) -> None:
        self._unwritten = 0
        channel = self.channel
        if self.write_paused or not channel.has_output or self.transport.is_closing():
            return
        self.before_write()
        self.transport.write(channel.take())
        if channel.has_output:  # long bodies: the next share in the next turn
            self.flush_soon()

    def before_write(self) -> None:
        """Called before queued requests leave the process."""
