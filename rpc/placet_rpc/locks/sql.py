"""Locks in a table of PostgreSQL, MariaDB, MySQL or SQLite. A row per name, which stays: it holds the last token.

Time is the database's, so no two holders' clocks are compared. No row is locked between two statements: a take is a
compare-and-set on the token.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from sqlalchemy import BigInteger, Column, Connection, Engine, MetaData, Table, insert, make_url, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from placet_rpc.clock import SYSTEM_CLOCK, Clock
from placet_rpc.locks.store import Holder, LockUnavailable
from placet_rpc.sql_database import Database, DatabaseUnavailable, ascii_text, database_now_ms

_Result = TypeVar("_Result")

metadata = MetaData()

lock = Table(
    "placet_lock",
    metadata,
    Column("name", ascii_text(128), primary_key=True),
    Column("holder", ascii_text(128), nullable=False, comment="whose lease it is, or was"),
    Column("token", BigInteger, nullable=False, autoincrement=False, comment="fencing token of the last lease"),
    Column("held_until_ms", BigInteger, nullable=False, comment="by this database's clock; 0: given back"),
    comment="Placet: locks with fencing tokens",
    mysql_engine="InnoDB",
    sqlite_with_rowid=False,
)


class SqlLocks:
    """Locks in SQL; satisfies `LockStore`.

    Args:
        engine: of the database; `metadata` belongs into its migrations.
        clock: for waiting only.
    """

    def __init__(self, engine: AsyncEngine | Engine, *, clock: Clock = SYSTEM_CLOCK) -> None:
        self.database = Database(engine)
        self._sleep = clock.sleep

    async def take(self, name: str, holder: str, ttl_ms: int) -> int | None:
        """Takes a lock that is free."""
        return await self._run(lambda connection: _take(connection, name, holder, ttl_ms))

    async def extend(self, name: str, holder: str, token: int, ttl_ms: int) -> bool:
        """Holds a lock longer."""
        statement = (
            update(lock)
            .where(*_mine(name, holder, token), lock.c.held_until_ms > database_now_ms())
            .values(held_until_ms=database_now_ms() + ttl_ms)
        )
        return await self._run(lambda connection: connection.execute(statement).rowcount) == 1

    async def give_back(self, name: str, holder: str, token: int) -> None:
        """Frees a lock."""
        statement = update(lock).where(*_mine(name, holder, token)).values(held_until_ms=0)
        await self._run(lambda connection: connection.execute(statement))

    async def holder(self, name: str) -> Holder | None:
        """Returns who holds a lock."""
        query = select(lock.c.holder, lock.c.token).where(lock.c.name == name, lock.c.held_until_ms > database_now_ms())
        row = await self._run(lambda connection: connection.execute(query).one_or_none())
        return None if row is None else Holder(row.holder, row.token)

    async def changed(self, name: str, seconds: float) -> None:  # noqa: ARG002 - SQL tells nobody of a change
        """Returns after the time."""
        await self._sleep(seconds)

    async def _run(self, work: Callable[[Connection], _Result]) -> _Result:
        try:
            return await self.database.run(work)
        except DatabaseUnavailable as error:
            raise LockUnavailable(str(error)) from error


@asynccontextmanager
async def open_sql_locks(url: str) -> AsyncIterator[SqlLocks]:
    """Opens a database by SQLAlchemy's URL, with an asynchronous driver, for the length of a block."""
    try:
        engine = create_async_engine(url)
    except ModuleNotFoundError as error:
        extra = _EXTRAS.get(make_url(url).get_backend_name(), "server")
        raise ImportError(f"locks in this database need {error.name}: pip install 'placet[{extra}]'") from None
    try:
        yield SqlLocks(engine)
    finally:
        await engine.dispose()


_EXTRAS = {"postgresql": "postgres", "mysql": "mysql", "mariadb": "mysql", "sqlite": "server"}


def _mine(name: str, holder: str, token: int) -> tuple[Any, ...]:
    return lock.c.name == name, lock.c.holder == holder, lock.c.token == token


def _take(connection: Connection, name: str, holder: str, ttl_ms: int) -> int | None:
    until = database_now_ms() + ttl_ms
    is_held = (lock.c.held_until_ms > database_now_ms()).label("is_held")
    row = connection.execute(select(lock.c.holder, lock.c.token, is_held).where(lock.c.name == name)).one_or_none()
    if row is None:
        try:
            connection.execute(insert(lock).values(name=name, holder=holder, token=1, held_until_ms=until))
        except IntegrityError:
            return None  # another was first, just now
        return 1
    if row.is_held and row.holder != holder:
        return None
    # The holder's own repeat keeps its token; whoever takes a free lock gets the next one.
    token = int(row.token) if row.is_held else int(row.token) + 1
    still = lock.c.holder == holder if row.is_held else lock.c.held_until_ms <= database_now_ms()
    taken = connection.execute(
        update(lock)
        .where(lock.c.name == name, lock.c.token == row.token, still)
        .values(holder=holder, token=token, held_until_ms=until)
    )
    return token if taken.rowcount == 1 else None
