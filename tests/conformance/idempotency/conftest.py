"""Stores of requests, each on its real database."""

import pytest
from sqlalchemy import create_engine
from sqlalchemy.ext.asyncio import create_async_engine

from placet_rpc.idempotency.memory import MemoryRequests
from placet_rpc.idempotency.sql import SqlRequests, metadata

DRIVERS = {
    "sqlite": ("sqlite+aiosqlite", "sqlite_url"),
    "postgres": ("postgresql+asyncpg", "postgres_url"),
    "mariadb": ("mysql+asyncmy", "mariadb_url"),
    "sqlite-sync": ("sqlite", "sqlite_url"),
    "postgres-sync": ("postgresql+psycopg", "postgres_url"),
    "mariadb-sync": ("mysql+pymysql", "mariadb_url"),
}


@pytest.fixture(params=["memory", *DRIVERS])
async def two_stores(request):
    """A store, and the same as another process sees it."""
    if request.param == "memory":
        store = MemoryRequests()
        yield store, store
        return
    driver, server = DRIVERS[request.param]
    make = create_engine if request.param.endswith("-sync") else create_async_engine
    url = f"{driver}://{request.getfixturevalue(server).partition('://')[2]}"
    engines = [make(url), make(url)]
    stores = [SqlRequests(engine) for engine in engines]
    await stores[0].database.create_tables(metadata)
    yield stores
    for engine in engines:
        disposed = engine.dispose()
        if disposed is not None:
            await disposed


@pytest.fixture
def store(two_stores):
    """A store."""
    return two_stores[0]


@pytest.fixture
def other(two_stores):
    """The same, as another process sees it."""
    return two_stores[1]
