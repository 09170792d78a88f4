"""Places where a handler waits until its test lets it go on, in a thread or in the event loop."""

import asyncio
import threading

LIMIT_SECONDS = 30.0


class Gate:
    """Closed until opened; tells its test when somebody has come."""

    def __init__(self) -> None:
        self._arrived = threading.Event()
        self._open = threading.Event()

    def open(self) -> None:
        """Let through whoever waits, and whoever comes."""
        self._open.set()

    async def arrived(self) -> None:
        """Return once somebody stands at the gate."""
        assert await asyncio.to_thread(self._arrived.wait, LIMIT_SECONDS), "nobody came to the gate"

    def pass_through(self) -> None:
        """Wait in this thread until it is opened."""
        self._arrived.set()
        assert self._open.wait(LIMIT_SECONDS), "the gate was never opened"

    async def pass_through_async(self) -> None:
        """Wait in the event loop until it is opened."""
        await asyncio.to_thread(self.pass_through)


class Gates(dict[str, Gate]):
    """Gates by name; asking for one makes it, closed."""

    def __missing__(self, name: str) -> Gate:
        gate = self[name] = Gate()
        return gate
