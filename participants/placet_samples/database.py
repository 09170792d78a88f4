"""A SQLite database of one service, with the session dependency that its routes and the SDK share."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from sqlalchemy import URL, MetaData, event
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine


class Database:
    """One SQLite file.

    Args:
        path: the file; made at first use.
    """

    def __init__(self, path: Path) -> None:
        self._engine = create_async_engine(URL.create("sqlite+aiosqlite", database=str(path)))
        self._sessions = async_sessionmaker(self._engine, expire_on_commit=False)
        event.listen(self._engine.sync_engine, "connect", _configure)
        event.listen(self._engine.sync_engine, "begin", _begin)

    async def session(self) -> AsyncIterator[AsyncSession]:
        """Yield one request's session; the dependency that FastAPI tutorials show, and nothing about Placet in it."""
        async with self._sessions() as session, session.begin():
            yield session

    async def create(self, *tables: MetaData) -> None:
        """Create the tables that are missing; a service of yours would use its migrations."""
        async with self._engine.begin() as connection:
            for metadata in tables:
                await connection.run_sync(metadata.create_all)

    async def close(self) -> None:
        """Close all connections."""
        await self._engine.dispose()


def _configure(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # transactions begin where _begin says, not where the driver guesses
    cursor = connection.cursor()
    for pragma in ("journal_mode = WAL", "synchronous = FULL", "busy_timeout = 5000", "foreign_keys = ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin(connection: Any) -> None:
    # Taking the write lock at once: a read that becomes a write later could only fail when another was quicker.
    connection.exec_driver_sql("BEGIN IMMEDIATE")
