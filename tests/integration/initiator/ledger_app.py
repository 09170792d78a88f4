"""A service of the initiator's tests: it keeps entries, and calls further services inside its own operations.

Run by uvicorn; `LEDGER_NAME` is what it announces itself as, `LEDGER_DATABASE` its SQLite file.
"""

import os
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated

from fastapi import Depends, FastAPI
from pydantic import BaseModel
from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from placet import PlacetError, tables
from placet.fastapi import Participant, Placet, Reject
from placet_samples.database import Database

database = Database(Path(os.environ["LEDGER_DATABASE"]))
Session = Annotated[AsyncSession, Depends(database.session)]
ledger = Participant(os.environ["LEDGER_NAME"], session=database.session)
runs: Counter[str] = Counter()


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    await database.create(Base.metadata, tables.metadata)
    async with ledger.running(app):
        yield
    await database.close()


app = FastAPI(lifespan=lifespan)


class Base(DeclarativeBase):
    pass


class Entry(Base):
    """No constraint keeps an order from having two: a second effect would show."""

    __tablename__ = "entry"

    number: Mapped[int] = mapped_column(primary_key=True)
    order: Mapped[str]
    state: Mapped[str]


class Note(BaseModel):
    """An entry to be made, and who else is to be called inside.

    Attributes:
        then: `service/action` targets, called with this order in a block of this handler's own.
        swallow: go on as if nothing was, if that fails.
        reject: refuse.
        fail_times: so many runs of the handler end with an error, after everything else is done.
    """

    order: str
    then: list[str] = []
    swallow: bool = False
    reject: bool = False
    fail_times: int = 0


class Noted(BaseModel):
    service: str
    inner_gid: str | None = None


async def note(note: Note, db: AsyncSession, state: str, placet: Placet) -> Noted:
    runs[note.order] += 1
    if note.reject:
        raise Reject(f"{ledger.name} says no")
    db.add(Entry(order=note.order, state=state))
    await db.flush()
    inner_gid = await call_inner(note, placet)
    if runs[note.order] <= note.fail_times:
        raise RuntimeError("failed after all was done")
    return Noted(service=ledger.name, inner_gid=inner_gid)


async def call_inner(note: Note, placet: Placet) -> str | None:
    if not note.then:
        return None
    try:
        async with placet.tcc("inner") as tx:
            for target in note.then:
                await tx.call(target, Note(order=note.order, reject=target.startswith("no-")))
    except PlacetError:
        if not note.swallow:
            raise
    return tx.gid


async def becomes(db: AsyncSession, note: Note, state: str) -> None:
    await db.execute(update(Entry).where(Entry.order == note.order).values(state=state))


@ledger.tcc("hold")
async def hold(cmd: Note, db: Session, placet: Placet) -> Noted:
    return await note(cmd, db, "held", placet)


@hold.confirm
async def _(cmd: Note, db: Session) -> None:
    await becomes(db, cmd, "confirmed")


@hold.cancel
async def _(cmd: Note, db: Session) -> None:
    await becomes(db, cmd, "cancelled")


@ledger.tcc("refuse")
async def refuse(cmd: Note) -> None:
    raise Reject(f"{ledger.name} says no to {cmd.order}")


@refuse.confirm
async def _(cmd: Note) -> None: ...


@refuse.cancel
async def _(cmd: Note) -> None: ...


@ledger.tcc("relay")
def relay(cmd: Note, placet: Placet) -> Noted:
    """A `def` handler, in the thread pool, which passes its order on by the sync twin."""
    with placet.sync.tcc("inner") as tx:
        for target in cmd.then:
            tx.call(target, Note(order=cmd.order))
    return Noted(service=ledger.name, inner_gid=tx.gid)


@relay.confirm
def _(cmd: Note) -> None: ...


@relay.cancel
def _(cmd: Note) -> None: ...


@ledger.saga("book")
async def book(cmd: Note, db: Session, placet: Placet) -> Noted:
    return await note(cmd, db, "booked", placet)


@book.compensate
async def _(cmd: Note, db: Session, done: Noted | None) -> None:
    await becomes(db, cmd, f"taken back from {done.service if done else 'nobody'}")


@app.get("/entries/{order}")
async def entries(order: str, db: Session) -> list[str]:
    return list((await db.scalars(select(Entry.state).where(Entry.order == order))).all())


@app.get("/runs/{order}")
async def runs_of(order: str) -> int:
    return runs[order]


app.include_router(ledger.router)
