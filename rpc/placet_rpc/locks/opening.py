"""From a URL to a store of locks; the library that it needs is imported when it is opened."""

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Final
from urllib.parse import urlsplit

from placet_rpc.extension import Lazy
from placet_rpc.locks.store import LockStore

LOCK_SPI_VERSION = 1

_HERE = "placet_rpc.locks"
_REDIS = Lazy(f"{_HERE}.redis:open_redis_locks", LOCK_SPI_VERSION, extra="redis")
_SQL = Lazy(f"{_HERE}.sql:open_sql_locks", LOCK_SPI_VERSION)
_BY_SCHEME: Final[Mapping[str, Lazy]] = {
    "redis": _REDIS,
    "rediss": _REDIS,
    "zookeeper": Lazy(f"{_HERE}.zookeeper:open_zookeeper_locks", LOCK_SPI_VERSION, extra="zookeeper"),
    "postgresql": _SQL,
    "mysql": _SQL,
    "mariadb": _SQL,
    "sqlite": _SQL,
}


def open_locks(url: str) -> AbstractAsyncContextManager[LockStore]:
    """Opens a store of locks for the length of a block; connects to nothing yet.

        async with open_locks("redis://127.0.0.1:6379/0") as store:
            async with await Locks(store).acquire("month-end") as lease: ...

    A program that has an engine, a Redis client or a ZooKeeper session already makes the store of it instead.

    Args:
        url: `redis://host:port/0`, `zookeeper://host:port,host:port/path`, or of a database as SQLAlchemy takes it,
            with an asynchronous driver: `postgresql+asyncpg://…`, `mysql+asyncmy://…`, `sqlite+aiosqlite:///…`. Its
            table (`placet_rpc.locks.sql.metadata`) has to be there.

    Raises:
        ValueError: nothing opens such a URL.
        ImportError: a library is missing; the message names the extra that brings it.
    """
    scheme = urlsplit(url).scheme.partition("+")[0]
    opens: Callable[[str], AbstractAsyncContextManager[LockStore]] | None = _BY_SCHEME.get(scheme)
    if opens is None:
        raise ValueError(f"no locks are kept at {scheme!r}: write {', '.join(_BY_SCHEME)}")
    return opens(url)
