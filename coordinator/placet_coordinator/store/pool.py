"""A bounded pool of sessions with a server."""

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Final, Generic, Protocol, TypeVar

from placet_coordinator.ports.store import StoreUnavailable

QUEUE_LIMIT_S: Final = 5.0
"""How long a statement waits for a free session."""


class Closable(Protocol):
    """What a pool asks of a session."""

    def close(self) -> None:
        """End the session; the next use connects anew."""


_S = TypeVar("_S", bound=Closable)


class Pool(Generic[_S]):
    """Who finds no session free waits for one, in turn, for a limited time.

    Args:
        size: how many sessions there are.
        make: makes one; it connects when it is first used.
    """

    def __init__(self, size: int, make: Callable[[], _S]) -> None:
        self._free = [make() for _ in range(size)]
        self._all = tuple(self._free)
        self._waiting: deque[asyncio.Future[_S]] = deque()

    async def take(self) -> _S:
        """Return a free session, the last used first, to be given back.

        Raises:
            StoreUnavailable: none became free in time; nothing was sent.
        """
        if self._free:
            return self._free.pop()
        given: asyncio.Future[_S] = asyncio.get_running_loop().create_future()
        self._waiting.append(given)
        try:
            async with asyncio.timeout(QUEUE_LIMIT_S):
                return await given
        except BaseException as error:
            if not given.cancel() and not given.cancelled():
                self.give_back(given.result())  # it came in the very moment in which we gave up
            with suppress(ValueError):
                self._waiting.remove(given)
            if isinstance(error, TimeoutError):
                raise StoreUnavailable(
                    f"no database session became free within {QUEUE_LIMIT_S:g} s", wrote_nothing=True
                ) from None
            raise

    def give_back(self, session: _S) -> None:
        """Let others have the session: who waits longest has it at once, so nobody overtakes."""
        while self._waiting:
            given = self._waiting.popleft()
            if not given.done():
                given.set_result(session)
                return
        self._free.append(session)

    def close(self) -> None:
        """End all sessions."""
        for session in self._all:
            session.close()
