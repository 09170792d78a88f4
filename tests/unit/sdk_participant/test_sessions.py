"""The barrier's row and the handler's changes are one session's, whatever way the handler gets it."""

from typing import Annotated

import pytest
from fastapi import Depends, FastAPI
from pydantic import BaseModel
from sqlalchemy import event, select
from sqlalchemy.ext.asyncio import AsyncSession, async_scoped_session
from sqlalchemy.orm import Session

from placet.fastapi import Participant, Reject
from unit.sdk_participant.conftest import Note, calling


class Order(BaseModel):
    """A payload."""

    words: str


def application(stock: Participant) -> FastAPI:
    """Return an application that serves the participant."""
    app = FastAPI()
    app.include_router(stock.router)
    return app


async def test_handler_and_barrier_share_one_session(database):
    """Whatever else depends on the session in this request gets the very same one."""
    stock = Participant("stock", session=database.beginning)
    DbSession = Annotated[AsyncSession, Depends(database.beginning)]  # noqa: N806 - a type
    seen = []

    async def repository(db: DbSession) -> AsyncSession:
        return db

    @stock.saga("book")
    async def book(
        cmd: Order, db: DbSession, again: DbSession, repo: Annotated[AsyncSession, Depends(repository)]
    ) -> None:
        seen.extend({id(db), id(again), id(repo)})
        rows = await db.execute(select(Note))
        assert rows.all() == []
        db.add(Note(words=cmd.words))

    async with calling(application(stock)) as call:
        assert (await call("book/action", {"words": "a"})).status_code == 200
    assert len(seen) == 1
    assert (database.notes(), len(database.rows())) == (["a"], 1)


async def test_session_of_function_scope_is_shared_too(database):
    """A dependency that ends with the function has the scope that the handler gave it."""
    stock = Participant("stock", session=database.beginning)

    @stock.saga("book")
    async def book(cmd: Order, db: Annotated[AsyncSession, Depends(database.beginning, scope="function")]) -> None:
        db.add(Note(words=cmd.words))

    async with calling(application(stock)) as call:
        assert (await call("book/action", {"words": "a"})).status_code == 200
    assert (database.notes(), len(database.rows())) == (["a"], 1)


async def test_another_session_is_refused(database):
    """T8: its changes and the barrier's row would be two commits; the error says what to write."""
    stock = Participant("stock", session=database.beginning)

    @stock.saga("book")
    async def book(cmd: Order, db: Annotated[AsyncSession, Depends(database.committing)]) -> None:
        db.add(Note(words=cmd.words))

    async with calling(application(stock), shows_errors=True) as call:
        with pytest.raises(TypeError, match="db is another session than the barrier's"):
            await call("book/action", {"words": "a"})
    assert (database.notes(), database.rows()) == ([], [])


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"use_cache": False}, "use_cache=False"),
        ({"scope": "function"}, "two scopes"),
    ],
)
def test_session_that_would_be_another_one_is_refused_at_its_declaration(database, parameters, words):
    """What FastAPI would resolve anew is known before any request."""
    stock = Participant("stock", session=database.beginning)

    async def book(
        cmd: Order,
        db: Annotated[AsyncSession, Depends(database.beginning)],
        again: Annotated[AsyncSession, Depends(database.beginning, **parameters)],
    ) -> None: ...

    with pytest.raises(TypeError, match=words):
        stock.saga("book")(book)


@pytest.mark.parametrize("ends", ["commit", "rollback"])
async def test_handler_that_ends_its_transaction_is_no_success(database, ends):
    """What it writes afterwards would have no row: the error says whose business the commit is."""
    stock = Participant("stock", session=database.plain_session)

    @stock.saga("book")
    async def book(cmd: Order, db: Annotated[AsyncSession, Depends(database.plain_session)]) -> None:
        await getattr(db, ends)()
        db.add(Note(words=cmd.words))

    async with calling(application(stock), shows_errors=True) as call:
        with pytest.raises(RuntimeError, match="leave commit and rollback to Placet"):
            await call("book/action", {"words": "a"})
    assert database.notes() == []


@pytest.mark.parametrize("gives", ["nothing", "a proxy"])
async def test_dependency_that_gives_no_session_is_refused(database, gives):
    """The barrier can't write into what it does not know."""
    scoped = async_scoped_session(None, scopefunc=id)

    async def get_session() -> object:
        return None if gives == "nothing" else scoped

    stock = Participant("stock", session=get_session)

    @stock.saga("book")
    async def book(cmd: Order) -> None: ...

    async with calling(application(stock), shows_errors=True) as call:
        with pytest.raises(TypeError, match="it must give an SQLAlchemy Session or AsyncSession"):
            await call("book/action", {"words": "a"})


async def test_handler_needs_no_session(database):
    """The row is written all the same, so the action happens once."""
    stock = Participant("stock", session=database.beginning)
    runs = []

    @stock.saga("book")
    async def book(cmd: Order) -> str:
        runs.append(cmd.words)
        return f"{len(runs)}. {cmd.words}"

    async with calling(application(stock)) as call:
        assert [(await call("book/action", {"words": "a"})).json() for _ in range(2)] == ["1. a", "1. a"]
    assert (runs, len(database.rows())) == (["a"], 1)


async def test_session_inside_an_outer_transaction_works(database):
    """As tests bind one: to a connection whose transaction they roll back, the session's own being a savepoint."""
    # SQLAlchemy's recipe for savepoints in SQLite: Python's driver would begin its transactions too late for them.
    event.listen(database.sync_engine, "connect", lambda raw, _record: setattr(raw, "isolation_level", None))
    event.listen(database.sync_engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN"))
    with database.sync_engine.connect() as connection, connection.begin() as outer:

        def get_session():
            with Session(connection, join_transaction_mode="create_savepoint") as session:
                yield session

        stock = Participant("stock", session=get_session)

        @stock.tcc("hold")
        def hold(cmd: Order, db: Annotated[Session, Depends(get_session)]) -> str:
            db.add(Note(words=cmd.words))
            if cmd.words == "reject":
                raise Reject("no")
            return cmd.words

        async with calling(application(stock)) as call:
            assert (await call("hold/try", {"words": "a"})).json() == "a"
            assert (await call("hold/try", {"words": "b"})).json() == "a"
            for _ in range(2):
                assert (await call("hold/try", {"words": "reject"}, branch_id="2")).status_code == 409
            assert list(connection.scalars(select(Note.words))) == ["a"]
        outer.rollback()
    assert (database.notes(), database.rows()) == ([], [])
