"""Nodes in process on a SQLite file."""

import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from placet_coordinator.ports.store import Store
from placet_coordinator.store.factory import store_for
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

    async def make(*, recovers: bool = True, renews: bool = True, at: Any = store, **parts: Any) -> Node:
        node = Node(at, **parts)
        nodes.append(node)
        return await node.start(recovers=recovers, renews=renews)

    yield make
    for node in nodes:
        await node.stop()


@pytest.fixture
async def node(make_node: MakeNode) -> Node:
    """One node."""
    return await make_node()


@pytest.fixture
def execute(sqlite_url: str) -> Callable[..., None]:
    """Changes the database behind the nodes' backs."""

    def run(statement: str, *values: Any) -> None:
        connection = sqlite3.connect(sqlite_url.removeprefix("sqlite:///"))
        with connection:
            connection.execute(statement, values)
        connection.close()

    return run


@pytest.fixture
def change_row(execute: Callable[..., None]) -> Callable[..., None]:
    """Changes columns of a transaction's row."""

    def change(gid: str, **columns: Any) -> None:
        settings = ", ".join(f"{name} = ?" for name in columns)
        execute(f"update global_transaction set {settings} where gid = ?", *columns.values(), gid)

    return change
