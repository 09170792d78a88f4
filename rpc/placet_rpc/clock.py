"""Time as the parts of the RPC ask for it, so that tests can turn it."""

import asyncio
import time
from typing import Protocol


class Clock(Protocol):
    """Where time comes from."""

    def monotonic(self) -> float:
        """Returns seconds that only grow, from an unknown beginning."""
        ...

    def wall(self) -> float:
        """Returns seconds since the epoch, as this machine believes."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Returns when the time has passed."""
        ...


class SystemClock:
    """The machine's own clocks."""

    monotonic = staticmethod(time.monotonic)
    wall = staticmethod(time.time)
    sleep = staticmethod(asyncio.sleep)


SYSTEM_CLOCK: Clock = SystemClock()
