"""A participant as a process, which ends itself by SIGKILL where its environment says: see `test_killed.py`.

`LEDGER_URL` is the database, `LEDGER_KILLS` is `before-commit`, `after-commit` or empty.
"""

import os
import signal
from collections.abc import AsyncIterator, Iterator
from typing import Annotated

from fastapi import Depends, FastAPI
from sqlalchemy import Column, Integer, MetaData, String, Table, create_engine, event, func, select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import Session, sessionmaker

from placet import tables
from placet.fastapi import Participant

URL = os.environ["LEDGER_URL"]
KILLS = os.environ.get("LEDGER_KILLS", "")
IS_ASYNC = any(driver in URL for driver in ("asyncpg", "asyncmy", "aiosqlite"))

metadata = MetaData()
entry = Table("entry", metadata, Column("number", Integer, primary_key=True), Column("operation", String(20)))


def die() -> None:
    """End as a power cut does: nothing more is written, nobody is answered."""
    os.kill(os.getpid(), signal.SIGKILL)


if IS_ASYNC:
    engine = create_async_engine(URL)
    sessions = async_sessionmaker(engine)

    async def get_session() -> AsyncIterator[AsyncSession]:
        """Yield a session that is committed at the end."""
        async with sessions.begin() as session:
            yield session

    ledger = Participant("ledger", session=get_session)
    DbSession = Annotated[AsyncSession, Depends(get_session)]

    @ledger.tcc("write")
    async def write(db: DbSession) -> int:
        """Add an entry, and return how many there are."""
        await db.execute(entry.insert().values(operation="try"))
        db.info["is_try"] = True
        if KILLS == "before-commit":
            die()
        return await db.scalar(select(func.count()).select_from(entry)) or 0

    @write.confirm
    async def _(db: DbSession) -> None:
        await db.execute(entry.insert().values(operation="confirm"))

    @write.cancel
    async def _(db: DbSession, done: int | None) -> None:
        await db.execute(entry.insert().values(operation=f"cancel {done}"))

else:
    sync_engine = create_engine(URL)
    sync_sessions = sessionmaker(sync_engine)

    def get_sync_session() -> Iterator[Session]:
        """Yield a session that is committed at the end."""
        with sync_sessions.begin() as session:
            yield session

    ledger = Participant("ledger", session=get_sync_session)
    SyncSession = Annotated[Session, Depends(get_sync_session)]

    @ledger.tcc("write")
    def write_in_a_thread(db: SyncSession) -> int:
        """Add an entry, and return how many there are."""
        db.execute(entry.insert().values(operation="try"))
        db.info["is_try"] = True
        if KILLS == "before-commit":
            die()
        return db.scalar(select(func.count()).select_from(entry)) or 0

    @write_in_a_thread.confirm
    def _(db: SyncSession) -> None:
        db.execute(entry.insert().values(operation="confirm"))

    @write_in_a_thread.cancel
    def _(db: SyncSession, done: int | None) -> None:
        db.execute(entry.insert().values(operation=f"cancel {done}"))


if KILLS == "after-commit":
    event.listen(Session, "after_commit", lambda session: die() if "is_try" in session.info else None)

app = FastAPI(lifespan=ledger.lifespan)
app.include_router(ledger.router)

TABLES = (metadata, tables.metadata)
