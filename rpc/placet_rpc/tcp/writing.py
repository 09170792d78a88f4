"""A connection's way out: what is queued in one turn of the event loop is written at once."""

import asyncio
from typing import cast

from placet_rpc.frames import Channel
from placet_rpc.tcp.limits import WRITE_HIGH_WATER_BYTES


class WritingProtocol(asyncio.Protocol):
    """The half that client and server share."""

    __slots__ = ("_flush_is_due", "channel", "loop", "transport", "write_paused")

    def __init__(self, channel: Channel, loop: asyncio.AbstractEventLoop) -> None:
        self.channel = channel
        self.loop = loop
        self.transport: asyncio.Transport
        self.write_paused = False
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

    def flush_soon(self) -> None:
        """Writes what is queued before the event loop waits again."""
        if not self._flush_is_due:
            self._flush_is_due = True
            self.loop.call_soon(self.flush)

    def flush(self) -> None:
        """Writes what is queued now, as far as the peer reads."""
        self._flush_is_due = False
        channel = self.channel
        if self.write_paused or not channel.has_output or self.transport.is_closing():
            return
        self.before_write()
        self.transport.write(channel.take())
        if channel.has_output:  # long bodies: the next share in the next turn
            self.flush_soon()

    def before_write(self) -> None:
        """Called before queued requests leave the process."""
