"""The sources that the suite runs on, each on its real server."""

from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import ClassVar
from uuid import uuid4

from kazoo.client import KazooClient
from redis import Redis
from sqlalchemy import create_engine, delete
from sqlalchemy.ext.asyncio import create_async_engine

from placet_rpc.configuration import open_source
from placet_rpc.configuration.sql import SqlSource, configuration, metadata
from placet_rpc.sql_database import Database

POLL_MS = 20


class Kind:
    """One kind of source, with a space of its own on the server for one test."""

    def __init__(self, server: str):
        self.server = server
        self.space = f"t{uuid4().hex}"

    async def prepare(self):
        """Makes the space."""

    async def open(self):
        """Opens the source by connections of its own, as another process would."""
        raise NotImplementedError

    async def put(self, document: bytes):
        """Puts a document there, as an operator would."""
        raise NotImplementedError

    async def remove(self):
        """Takes it away."""
        raise NotImplementedError

    async def clear(self):
        """Leaves nothing."""
        await self.remove()


class FileKind(Kind):
    """A file, put in place by renaming."""

    def __init__(self, server):
        super().__init__(server)
        self.folder = TemporaryDirectory()
        self.path = Path(self.folder.name) / "order.json"

    async def open(self):
        return open_source(f"file:{self.path}?poll_ms={POLL_MS}")

    async def put(self, document):
        new = self.path.with_suffix(".new")
        new.write_bytes(document)
        new.replace(self.path)

    async def remove(self):
        self.path.unlink(missing_ok=True)

    async def clear(self):
        self.folder.cleanup()


class RedisKind(Kind):
    """A key of Redis."""

    @property
    def key(self):
        return f"{self.space}:configuration:order"

    async def open(self):
        return open_source(f"{self.server}?name=order&prefix={self.space}&poll_ms={POLL_MS}")

    async def put(self, document):
        with Redis.from_url(self.server) as client:
            client.set(self.key, document)

    async def remove(self):
        with Redis.from_url(self.server) as client:
            client.delete(self.key)


class ZooKeeperKind(Kind):
    """A node of ZooKeeper."""

    def do(self, work):
        client = KazooClient(self.server)
        client.start()
        try:
            work(client)
        finally:
            client.stop()
            client.close()

    async def open(self):
        return open_source(f"zookeeper://{self.server}/{self.space}/order")

    async def put(self, document):
        path = f"/{self.space}/order"

        def write(client):
            if client.exists(path):
                client.set(path, document)
            else:
                client.create(path, document, makepath=True)

        self.do(write)

    async def remove(self):
        self.do(lambda client: client.delete(f"/{self.space}", recursive=True))


class SqlKind(Kind):
    """A table in an empty database of the test's own."""

    drivers: ClassVar = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+asyncpg", "mysql": "mysql+asyncmy"}
    make_engine = staticmethod(create_async_engine)

    def __init__(self, server):
        super().__init__(server)
        scheme, _, rest = server.partition("://")
        self.engine = self.make_engine(f"{self.drivers[scheme]}://{rest}")

    async def prepare(self):
        await Database(self.engine).create_tables(metadata)

    async def open(self):
        return SqlSource(self.engine, "order", poll=timedelta(milliseconds=POLL_MS))

    async def put(self, document):
        await (await self.open()).publish(document.decode(), changed_by="ana")

    async def remove(self):
        await Database(self.engine).run(lambda connection: connection.execute(delete(configuration)))

    async def clear(self):
        await self.engine.dispose()


class SyncSqlKind(SqlKind):
    """The same by a blocking driver, in threads."""

    drivers: ClassVar = {"sqlite": "sqlite", "postgresql": "postgresql+psycopg", "mysql": "mysql+pymysql"}
    make_engine = staticmethod(create_engine)

    async def clear(self):
        self.engine.dispose()


KINDS = {
    "file": (FileKind, ""),
    "redis": (RedisKind, "redis_server"),
    "zookeeper": (ZooKeeperKind, "zookeeper_servers"),
    "sqlite": (SqlKind, "sqlite_url"),
    "postgres": (SqlKind, "postgres_url"),
    "mariadb": (SqlKind, "mariadb_url"),
    "postgres-sync": (SyncSqlKind, "postgres_url"),
}
"""From name to kind, and to the fixture that says where its server is."""
