"""Engines in process on real servers, whose answers a proxy may lose."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from conformance.store.conftest import open_store, served, server_url
from conformance.store.proxy import Proxy
from unit.engine.node import Node

__all__ = ["open_store", "served", "server_url"]

MakeNode = Callable[..., Awaitable[Node]]


@pytest.fixture
async def proxy(server_url: str) -> AsyncIterator[Proxy]:
    """A proxy in front of the server."""
    async with Proxy(server_url) as running:
        yield running


@pytest.fixture
async def make_node(server_url: str, open_store: Any, proxy: Proxy) -> AsyncIterator[MakeNode]:
    """Starts nodes, each with a store of its own on one database; they are stopped with the test."""
    nodes: list[Node] = []

    async def make(url: str = server_url, *, recovers: bool = True, renews: bool = True, **parts: Any) -> Node:
        node = Node(await open_store(url), **parts)
        nodes.append(node)
        return await node.start(recovers=recovers, renews=renews)

    yield make
    proxy.refuses = False
    for node in nodes:
        await node.stop()


@pytest.fixture
async def node(make_node: MakeNode) -> Node:
    """One node."""
    return await make_node()
