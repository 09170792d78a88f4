"""A user's SQLAlchemy engine of either kind, asked from an event loop; and what the RPC's own tables need of SQL.

Statements are written once, for a plain `Connection`: an `AsyncEngine` runs them through `run_sync`, an `Engine` in a
thread. Each statement commits by itself, so that nothing is locked while this process is stopped.
"""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeVar

from sqlalchemy import BigInteger, Connection, Engine, MetaData, String
from sqlalchemy.dialects import mysql, postgresql
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.expression import ColumnElement

_Result = TypeVar("_Result")

ANSWER_TIMEOUT = timedelta(seconds=5)


class DatabaseUnavailable(Exception):
    """There is no answer, or an error. What was asked for may have been done or not."""


class Database:
    """A database that is asked in short statements.

    Args:
        engine: the user's; closing it stays theirs.
        answer_timeout: how long one piece of work may take, the wait for a connection of the pool included.
    """

    def __init__(self, engine: AsyncEngine | Engine, *, answer_timeout: timedelta = ANSWER_TIMEOUT) -> None:
        self._engine = engine
        self._timeout_seconds = answer_timeout.total_seconds()

    async def run(self, work: Callable[[Connection], _Result]) -> _Result:
        """Returns the result of some statements.

        Args:
            work: executes them; may run in a thread, so it touches nothing but the connection.

        Raises:
            DatabaseUnavailable: see there. `IntegrityError` is for `work` to catch.
        """
        try:
            async with asyncio.timeout(self._timeout_seconds):
                if isinstance(self._engine, AsyncEngine):
                    async with self._engine.connect() as connection:
                        return await connection.run_sync(_committing_each, work)
                return await asyncio.to_thread(_run_here, self._engine, work)
        except TimeoutError:
            raise DatabaseUnavailable(f"the database does not answer within {self._timeout_seconds:g} s") from None
        except (DBAPIError, PoolTimeout, OSError) as error:
            # The driver's text may show values; the type says what is needed.
            cause = type(getattr(error, "orig", None) or error).__name__
            raise DatabaseUnavailable(f"the database failed with {cause}") from error

    async def create_tables(self, metadata: MetaData) -> None:
        """Creates the tables that are missing, for tests and trials; a service has them in its migrations."""
        await self.run(metadata.create_all)


def _run_here(engine: Engine, work: Callable[[Connection], _Result]) -> _Result:
    with engine.connect() as connection:
        return _committing_each(connection, work)


def _committing_each(connection: Connection, work: Callable[[Connection], _Result]) -> _Result:
    try:
        connection.execution_options(isolation_level="AUTOCOMMIT")
    except Exception as error:
        # Some drivers send a command for it, and SQLAlchemy hands on what they raise: a pooled connection that has
        # died would otherwise be taken for a living one again and again.
        connection.invalidate()
        raise DatabaseUnavailable(f"the database failed with {type(error).__name__}") from error
    return work(connection)


def ascii_text(length: int) -> Any:
    """Returns a column type for ids, which are bytes: 'A' is not 'a', by whatever collation the database prefers."""
    return (
        String(length)
        .with_variant(postgresql.VARCHAR(length, collation="C"), "postgresql")
        .with_variant(mysql.VARCHAR(length, charset="ascii", collation="ascii_bin"), "mysql", "mariadb")
    )


class database_now_ms(ColumnElement[int]):  # noqa: N801 - it stands in statements like a function of SQL
    """The database's clock in milliseconds since the epoch: the only one that all its users agree on."""

    inherit_cache = True
    type = BigInteger()


_NOW_MS = {
    "postgresql": "CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT)",
    "mysql": "CAST(UNIX_TIMESTAMP(NOW(3)) * 1000 AS SIGNED)",
    "mariadb": "CAST(UNIX_TIMESTAMP(NOW(3)) * 1000 AS SIGNED)",
    "sqlite": "CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)",
}


@compiles(database_now_ms)
def _compile_now(element: database_now_ms, compiler: Any, **_options: Any) -> str:  # noqa: ARG001 - SQLAlchemy's signature
    name = compiler.dialect.name
    if name not in _NOW_MS:
        raise NotImplementedError(f"{name} is not supported: use {', '.join(_NOW_MS)}")
    return _NOW_MS[name]
