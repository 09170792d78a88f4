"""Clients in virtual time, whose instances do what a test says."""

import pytest

from placet_rpc.chain import Chains
from placet_rpc.client import Client
from placet_rpc.filters import Seams
from placet_rpc.policies.ejection import EjectionLimits
from placet_rpc.settings import Settings
from unit.rpc.cluster.conftest import clock, network, pytest_asyncio_loop_factories

__all__ = ["clock", "network", "pytest_asyncio_loop_factories"]


@pytest.fixture
async def make_client(network):
    """Makes clients whose calls go to these instances, and not into a network."""
    clients = []

    def make(*, settings=None, seams=None, degraded=None, timeout=None):
        client = Client("tcp://127.0.0.1:1", app="order", clock=network.clock, chance=network.chance)
        client.chains = Chains(
            network,
            network.connect,
            clock=network.clock,
            chance=network.chance,
            failback=network.queue,
            seams=seams or Seams(),
            settings=settings or Settings(),
            ejection=EjectionLimits(),
            degraded=degraded,
        )
        clients.append(client)
        return client

    yield make
    for client in clients:
        await client.aclose()
