"""Registries that tell an operator which services they know."""

from conformance.registry.announce import endpoint
from placet_rpc.registry.registry import ListsServices


async def test_services_are_listed_by_whoever_asks(kind, registry, opened):
    """By another client too, under the keys that they were announced by, and no keys of others."""
    assert isinstance(registry, ListsServices)
    services = {kind.service("stock/1"), kind.service("cart")}
    assert services.isdisjoint(await registry.services())
    for service in services:
        await registry.register(service, endpoint("a"))
    assert services <= set(await opened().services())
    assert await registry.services() == sorted(await registry.services())
