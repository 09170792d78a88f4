"""Locks in virtual time, on a store that a test can take away."""

import pytest

from placet_rpc.locks.lock import Locks
from placet_rpc.locks.memory import MemoryLocks
from placet_rpc.locks.store import LockUnavailable
from virtual_time import VirtualClock, VirtualLoop


def pytest_asyncio_loop_factories(config, item):
    """Timers fire in their order, without waiting."""
    return {"virtual": VirtualLoop}


class FlakyLocks(MemoryLocks):
    """A store that may be down, slow, or lose its answers.

    Attributes:
        is_down: it does nothing.
        loses_answers: it does what it is asked, and nobody hears of it.
        delay: of each answer.
    """

    def __init__(self, clock):
        super().__init__(clock)
        self.is_down = self.loses_answers = False
        self.delay = 0.0
        self.asked = []

    async def take(self, name, holder, ttl_ms):
        return await self._answer("take", super().take(name, holder, ttl_ms))

    async def extend(self, name, holder, token, ttl_ms):
        return await self._answer("extend", super().extend(name, holder, token, ttl_ms))

    async def give_back(self, name, holder, token):
        return await self._answer("give_back", super().give_back(name, holder, token))

    async def _answer(self, asked, work):
        self.asked.append(asked)
        if self.is_down:
            work.close()
            raise LockUnavailable("down")
        result = await work
        await self._clock.sleep(self.delay)
        if self.loses_answers:
            raise LockUnavailable("no answer")
        return result


@pytest.fixture
def clock():
    """The loop's time."""
    return VirtualClock()


@pytest.fixture
def store(clock):
    """The store."""
    return FlakyLocks(clock)


@pytest.fixture
def locks(store, clock):
    """Locks in it."""
    return Locks(store, who="me", clock=clock)
