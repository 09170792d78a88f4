"""A store on each database, its schema made by the migrations."""

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from placet_coordinator.ports.store import Store
from placet_coordinator.store.factory import store_for
from placet_coordinator.store.mysql.store import MysqlStore
from schema_copies import make_schema

OpenStore = Callable[[str], Awaitable[Store]]


@pytest.fixture
def served() -> set[str]:
    """The databases whose stores are opened as a server opens them."""
    return set()


@pytest.fixture
async def open_store(served: set[str]) -> AsyncIterator[OpenStore]:
    """Opens stores, which are closed after the test."""
    stores: list[Store] = []

    async def opened(url: str) -> Store:
        store = store_for(url, is_serving=url in served)
        stores.append(store)
        await store.open()
        return store

    yield opened
    for store in stores:
        await store.close()


@pytest.fixture(params=["sqlite", "sqlite with a process", "postgres", "mariadb"])
def url(request: pytest.FixtureRequest, served: set[str]) -> str:
    """A database with the schema, of each kind in turn; SQLite with and without a process of its own that writes."""
    kind, _, process = request.param.partition(" ")
    found: str = request.getfixturevalue(f"{kind}_url")
    make_schema(found)
    if process:
        served.add(found)
    return found


@pytest.fixture(params=["postgres", "mariadb"])
def server_url(request: pytest.FixtureRequest) -> str:
    """The same, of the kinds that several nodes may share."""
    found: str = request.getfixturevalue(f"{request.param}_url")
    make_schema(found)
    return found


@pytest.fixture
def mariadb_schema(mariadb_url: str) -> str:
    """The same, of MariaDB alone."""
    make_schema(mariadb_url)
    return mariadb_url


@pytest.fixture
async def mariadb_node(mariadb_schema: str, open_store: OpenStore) -> MysqlStore:
    """A store on it."""
    store = await open_store(mariadb_schema)
    assert isinstance(store, MysqlStore)
    return store


@pytest.fixture
async def store(url: str, open_store: OpenStore) -> Store:
    """An open store on an empty schema, of each kind in turn."""
    return await open_store(url)


@pytest.fixture
async def two_stores(server_url: str, open_store: OpenStore) -> tuple[Store, Store]:
    """Two nodes' stores on one server."""
    return await open_store(server_url), await open_store(server_url)


@pytest.fixture
async def two_writers(url: str, open_store: OpenStore) -> tuple[Store, Store]:
    """The same, and on SQLite, which serves one node, twice its only store."""
    store = await open_store(url)
    return store, store if url.startswith("sqlite") else await open_store(url)
