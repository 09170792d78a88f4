"""Time that stands still while there is work, and jumps when all wait: minutes of backoff in a millisecond.

A test in a folder whose conftest names `VirtualLoop` as its loop factory runs in virtual time: timers, sleeps and
timeouts of asyncio fire in their order, with no real waiting in between. It may not use sockets or threads.
"""

import asyncio
import selectors


class _Idle(selectors.SelectSelector):
    """Tells the loop that owns it how long it would have waited."""

    loop = None

    def select(self, timeout=None):
        ready = super().select(0)
        if not ready and timeout:
            self.loop.pass_time(timeout)
        elif not ready and timeout is None:
            raise RuntimeError("nothing is left to happen, and something still waits")
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop with a time of its own."""

    def __init__(self):
        selector = _Idle()
        super().__init__(selector)
        selector.loop = self
        self._now = 1000.0

    def time(self):
        """The virtual time in seconds."""
        return self._now

    def pass_time(self, seconds):
        """Goes on to the next timer."""
        self._now += seconds


class VirtualClock:
    """A `placet_rpc.clock.Clock` that is turned by hand, or by the running virtual loop if there is one."""

    def __init__(self, now=1000.0):
        self._by_hand = now

    def monotonic(self):
        loop = asyncio._get_running_loop()
        return loop.time() if isinstance(loop, VirtualLoop) else self._by_hand

    def wall(self):
        return 1_700_000_000.0 + self.monotonic()

    async def sleep(self, seconds):
        await asyncio.sleep(seconds)

    def turn(self, seconds):
        """Lets time pass, outside of a loop."""
        self._by_hand += seconds
