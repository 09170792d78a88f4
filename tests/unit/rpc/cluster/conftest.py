"""Cluster strategies in virtual time."""

import pytest

from unit.rpc.cluster.network import Network
from virtual_time import VirtualClock, VirtualLoop


def pytest_asyncio_loop_factories(config, item):
    """No test here waits for real."""
    return {"virtual": VirtualLoop}


@pytest.fixture
def clock() -> VirtualClock:
    """The virtual loop's time."""
    return VirtualClock()


@pytest.fixture
async def network(clock):
    """Three instances m0, m1, m2."""
    network = Network(clock)
    yield network
    await network.queue.aclose()
