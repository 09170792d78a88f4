"""Requests in virtual time."""

import pytest

from placet_rpc.idempotency.memory import MemoryRequests
from placet_rpc.idempotency.store import RequestsUnavailable
from virtual_time import VirtualClock, VirtualLoop


def pytest_asyncio_loop_factories(config, item):
    """Timers fire in their order, without waiting."""
    return {"virtual": VirtualLoop}


class FlakyRequests(MemoryRequests):
    """A store that may be down.

    Attributes:
        is_down: it answers nothing.
    """

    is_down = False

    async def begin(self, request, **options):
        self._check()
        return await super().begin(request, **options)

    async def finish(self, request, answer):
        self._check()
        await super().finish(request, answer)

    async def keep(self, runner, *, running_ms):
        self._check()
        await super().keep(runner, running_ms=running_ms)

    def _check(self):
        if self.is_down:
            raise RequestsUnavailable("down")


@pytest.fixture
def clock():
    """The loop's time."""
    return VirtualClock()


@pytest.fixture
def store(clock):
    """The store."""
    return FlakyRequests(clock)
