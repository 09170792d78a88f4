"""Ordering in virtual time."""

import pytest

from virtual_time import VirtualClock, VirtualLoop


def pytest_asyncio_loop_factories(config, item):
    """Timers fire in their order, without waiting."""
    return {"virtual": VirtualLoop}


@pytest.fixture
def clock():
    """The loop's time."""
    return VirtualClock()
