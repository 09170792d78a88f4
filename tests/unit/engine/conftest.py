"""Nodes in process on a SQLite file."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from placet_coordinator.ports.store import Store
from placet_coordinator.store import store_for
from placet_migrations import upgrade
from unit.engine.node import Node

MakeNode = Callable[..., Awaitable[Node]]


@pytest.fixture
async def store(sqlite_url: str) -> AsyncIterator[Store]:
    """An open store on an empty schema."""
    upgrade(sqlite_url)
    opened = store_for(sqlite_url)
    await opened.open()
    yield opened
    await opened.close()


@pytest.fixture
async def make_node(store: Store) -> AsyncIterator[MakeNode]:
    """Starts nodes on the store; they are stopped with the test."""
    nodes: list[Node] = []

    async def make(*, recovers: bool = True, renews: bool = True, **parts: Any) -> Node:
        node = Node(store, **parts)
        nodes.append(node)
        return await node.start(recovers=recovers, renews=renews)

    yield make
    for node in nodes:
        await node.stop()


@pytest.fixture
async def node(make_node: MakeNode) -> Node:
    """One node."""
    return await make_node()
