"""The stores of locks that the suite runs on, each on its real server."""

from typing import ClassVar
from uuid import uuid4

from kazoo.client import KazooClient
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from sqlalchemy import create_engine
from sqlalchemy.ext.asyncio import create_async_engine

from placet_rpc.locks.memory import MemoryLocks
from placet_rpc.locks.redis import RedisLocks
from placet_rpc.locks.sql import SqlLocks, metadata
from placet_rpc.locks.zookeeper import ZooKeeperLocks
from placet_rpc.sql_database import Database
from placet_rpc.zookeeper_session import ZooKeeperSession


class Kind:
    """One kind of store, with a space of its own on the server for one test.

    Attributes:
        survives: what it holds is there after its server was killed and started again.
    """

    survives = True

    def __init__(self, url: str):
        self.url = url
        self.space = f"t{uuid4().hex}"

    async def prepare(self):
        """Makes the space."""

    async def open(self):
        """Opens the store by connections of its own, as another process would."""
        raise NotImplementedError

    async def close(self, store):
        """Closes what `open` opened."""

    async def clear(self):
        """Leaves nothing on the server."""


class Memory(Kind):
    """Within this process."""

    def __init__(self, _url):
        self.store = MemoryLocks()

    async def open(self):
        return self.store


class Sql(Kind):
    """In an empty database of the test's own."""

    drivers: ClassVar[dict[str, str]]

    def engine(self):
        """An engine with a small pool."""
        scheme, _, rest = self.url.partition("://")
        return self.make_engine(f"{self.drivers[scheme]}://{rest}")

    async def prepare(self):
        engine = self.engine()
        await Database(engine).create_tables(metadata)
        await self.dispose(engine)

    async def open(self):
        store = SqlLocks(self.engine())
        store.engine = store.database._engine
        return store

    async def close(self, store):
        await self.dispose(store.engine)


class AsyncSql(Sql):
    """By an asynchronous driver."""

    drivers: ClassVar = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+asyncpg", "mysql": "mysql+asyncmy"}
    make_engine = staticmethod(create_async_engine)

    async def dispose(self, engine):
        await engine.dispose()


class SyncSql(Sql):
    """By a blocking driver, in threads."""

    drivers: ClassVar = {"sqlite": "sqlite", "postgresql": "postgresql+psycopg", "mysql": "mysql+pymysql"}
    make_engine = staticmethod(create_engine)

    async def dispose(self, engine):
        engine.dispose()


class RedisKind(Kind):
    """On Redis, under a prefix."""

    survives = False
    longest_ms = 60_000

    def client(self):
        return Redis.from_url(self.url, retry=Retry(NoBackoff(), 0), socket_timeout=2, socket_connect_timeout=2)

    async def open(self):
        store = RedisLocks(self.client(), prefix=self.space)
        store.client = store._client
        return store

    async def close(self, store):
        await store.client.aclose()

    async def clear(self):
        client = self.client()
        async for key in client.scan_iter(f"{self.space}:*"):
            await client.delete(key)
        await client.aclose()


class ZooKeeperKind(Kind):
    """On ZooKeeper, below a node."""

    async def open(self):
        store = ZooKeeperLocks(ZooKeeperSession(self.url), prefix=f"/{self.space}")
        store.session = store._session
        return store

    async def close(self, store):
        await store.session.aclose()

    async def clear(self):
        client = KazooClient(self.url)
        client.start()
        client.delete(f"/{self.space}", recursive=True)
        client.stop()
        client.close()


KINDS = {
    "memory": (Memory, ""),
    "sqlite": (AsyncSql, "sqlite_url"),
    "postgres": (AsyncSql, "postgres_url"),
    "mariadb": (AsyncSql, "mariadb_url"),
    "sqlite-sync": (SyncSql, "sqlite_url"),
    "postgres-sync": (SyncSql, "postgres_url"),
    "mariadb-sync": (SyncSql, "mariadb_url"),
    "redis": (RedisKind, "redis_server"),
    "zookeeper": (ZooKeeperKind, "zookeeper_servers"),
}
"""From name to kind, and to the fixture that says where its server is."""

SHARED = {name: kind for name, kind in KINDS.items() if name != "memory" and not name.endswith("-sync")}
"""Those that another process can reach, each once."""
