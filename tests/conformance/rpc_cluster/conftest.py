"""Every strategy in virtual time, with the same instances as in the unit tests."""

import pytest

from placet_rpc.cluster import BUILTIN_CLUSTERS
from unit.rpc.cluster.conftest import clock, network, pytest_asyncio_loop_factories

__all__ = ["clock", "network", "pytest_asyncio_loop_factories"]


@pytest.fixture(params=BUILTIN_CLUSTERS)
def name(request):
    """Of the strategy."""
    return request.param


@pytest.fixture
async def strategy(name, network):
    """The strategy as it is without options."""
    return network.strategy(name)
