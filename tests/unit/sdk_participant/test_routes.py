"""A participant's routes commit before they answer, and leave nothing of what is not done, in every style."""

import asyncio
from typing import Annotated

import pytest
from fastapi import Depends, FastAPI, HTTPException
from pydantic import BaseModel
from sqlalchemy import create_engine
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session

from placet.fastapi import Participant, Reject
from unit.sdk_participant.conftest import Database, Note, calling, slug

ASYNC_STYLES = ["beginning", "committing", "plain_session"]
SYNC_STYLES = ["sync_beginning", "sync_plain"]


class Order(BaseModel):
    """A payload."""

    words: str


class Kept(BaseModel):
    """A result."""

    words: str


def participant(database: Database, style: str) -> tuple[Participant, FastAPI]:
    """Return a participant whose actions write a note, and its application."""
    get_session = getattr(database, style)
    stock = Participant("stock", session=get_session)

    if style in SYNC_STYLES:

        def act(cmd: Order, db: Annotated[Session, Depends(get_session)]) -> Kept:
            return _noted(cmd, db)

        def end(cmd: Order, done: Kept | None, db: Annotated[Session, Depends(get_session)]) -> None:
            _noted(cmd, db)

    else:

        async def act(cmd: Order, db: Annotated[AsyncSession, Depends(get_session)]) -> Kept:
            return _noted(cmd, db)

        async def end(cmd: Order, done: Kept | None, db: Annotated[AsyncSession, Depends(get_session)]) -> None:
            _noted(cmd, db)

    hold = stock.tcc("hold")(act)
    hold.confirm(end)
    hold.cancel(end)
    app = FastAPI()
    app.include_router(stock.router)
    return stock, app


def _noted(cmd: Order, db: Session | AsyncSession) -> Kept:
    db.add(Note(words=cmd.words))
    if cmd.words == "reject":
        raise Reject("sold out")
    if cmd.words == "fail":
        raise ZeroDivisionError
    if cmd.words == "teapot":
        raise HTTPException(418, "short and stout")
    if cmd.words == "accepted":
        raise HTTPException(202, "fine, fine")
    return Kept(words=cmd.words)


STYLES = pytest.mark.parametrize("style", [*ASYNC_STYLES, *SYNC_STYLES])


@STYLES
async def test_change_is_committed_before_the_answer_starts(database, style):
    """A yield dependency's own commit would come after it: the participant would have promised what may still fail."""
    _, app = participant(database, style)
    seen = []

    async def watched(scope, receive, send):
        async def watching(message):
            if message["type"] == "http.response.start":
                seen.append((message["status"], database.notes(), len(database.rows())))
            await send(message)

        await app(scope, receive, watching)

    async with calling(watched) as call:
        await call("hold/try", {"words": "a"})
        await call("hold/confirm", {"words": "b"})
        await call("hold/cancel", {"words": "c"}, branch_id="2")
        await call("hold/try", {"words": "reject"}, branch_id="3")
    assert seen == [(200, ["a"], 1), (200, ["a", "b"], 1), (200, ["a", "b"], 2), (409, ["a", "b"], 3)]


@STYLES
@pytest.mark.parametrize(
    ("words", "status"), [("reject", 409), ("fail", 500), ("teapot", 418), ("accepted", 500), (None, 422)]
)
async def test_what_is_not_done_leaves_nothing(database, style, words, status):
    """Even where the dependency commits in its `finally`: the row must not say done of what never was."""
    _, app = participant(database, style)
    async with calling(app) as call:
        response = await call("hold/try", {"words": words})
        assert response.status_code == status
        assert database.notes() == []
        answers = [(answer, result) for _, answer, _, result in database.rows()]
        assert answers == ([("rejected", '"sold out"')] if words == "reject" else [])
        assert (response.headers.get("placet-outcome") is not None) == (words == "reject")
        repeated = await call("hold/try", {"words": "again"})
        assert (repeated.status_code, database.notes()) == ((409, []) if words == "reject" else (200, ["again"]))


@STYLES
async def test_branch_whose_payload_never_fitted_can_be_cancelled(database, style):
    """The try was refused for its body, so the cancel has the same one; the barrier needs none of it."""
    _, app = participant(database, style)
    async with calling(app) as call:
        assert (await call("hold/try", {"word": "typo"})).status_code == 422
        assert (await call("hold/cancel", {"word": "typo"})).status_code == 200
        assert slug(await call("hold/try", {"words": "late"})) == "late"
    assert database.notes() == []


@pytest.mark.parametrize("style", ASYNC_STYLES)
async def test_cancelled_call_leaves_nothing(database, style):
    """The server shuts down, or a middleware gives up: half of a handler's work is not committed by its dependency."""
    get_session = getattr(database, style)
    stock = Participant("stock", session=get_session)
    reached = asyncio.Event()

    @stock.saga("book")
    async def book(cmd: Order, db: Annotated[AsyncSession, Depends(get_session)]) -> None:
        db.add(Note(words=cmd.words))
        await db.flush()
        reached.set()
        await asyncio.Event().wait()

    app = FastAPI()
    app.include_router(stock.router)
    async with calling(app) as call:
        task = asyncio.create_task(call("book/action", {"words": "half"}))
        await reached.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert (database.notes(), database.rows()) == ([], [])


async def test_more_calls_than_threads_and_connections_all_get_through(database):
    """Those that wait for a connection leave a thread to those that have one, or nobody would come through."""
    engine = create_engine(database.url, pool_size=2, max_overflow=0, pool_timeout=20)

    def get_session():
        with Session(engine) as session:
            yield session

    stock = Participant("stock", session=get_session)

    @stock.saga("book")
    def book(cmd: Order, db: Annotated[Session, Depends(get_session)]) -> None:
        db.add(Note(words=cmd.words))

    app = FastAPI()
    app.include_router(stock.router)
    async with calling(app) as call, asyncio.timeout(15):
        calls = [call("book/action", {"words": str(number)}, branch_id=str(number)) for number in range(120)]
        assert {response.status_code for response in await asyncio.gather(*calls)} == {200}
    engine.dispose()
    assert len(database.notes()) == 120
