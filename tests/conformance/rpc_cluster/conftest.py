"""Every strategy in virtual time."""

import pytest

from placet_rpc.cluster import BUILTIN_CLUSTERS
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


@pytest.fixture(params=BUILTIN_CLUSTERS)
def name(request):
    """Of the strategy."""
    return request.param


@pytest.fixture
async def strategy(name, network):
    """The strategy as it is without options."""
    return network.strategy(name)
