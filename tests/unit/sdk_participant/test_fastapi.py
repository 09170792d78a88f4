"""A participant's routes are FastAPI's own: dependencies, overrides, nested routers and OpenAPI work as everywhere."""

import asyncio
import threading
from typing import Annotated

import pytest
from fastapi import APIRouter, BackgroundTasks, Depends, FastAPI, Header, HTTPException, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from sqlalchemy.ext.asyncio import AsyncSession

from placet.fastapi import Participant, Reject
from unit.sdk_participant.conftest import Database, Note, calling, slug


class Order(BaseModel):
    """What is ordered."""

    words: str


class Kept(BaseModel):
    """What was kept."""

    words: str


@pytest.fixture
def stock(database):
    """A participant with a TCC action and a saga action."""
    made = Participant("stock", session=database.beginning)
    DbSession = Annotated[AsyncSession, Depends(database.beginning)]  # noqa: N806 - a type

    @made.tcc("hold")
    async def hold(cmd: Order, db: DbSession) -> Kept:
        """Put goods aside."""
        db.add(Note(words=cmd.words))
        return Kept(words=cmd.words)

    @hold.confirm
    async def _(cmd: Order, db: DbSession) -> None: ...

    @hold.cancel
    async def _(cmd: Order, done: Kept | None, db: DbSession) -> None: ...

    @made.saga("book")
    async def book(cmd: Order, db: DbSession) -> None:
        db.add(Note(words=cmd.words))

    return made


async def test_overridden_session_is_the_barriers_too(stock, database, tmp_path):
    """A test of the application puts its own database behind the dependency; nothing goes to the real one."""
    other = Database(tmp_path / "other.db")
    app = FastAPI()
    app.include_router(stock.router)
    app.dependency_overrides[database.beginning] = other.committing
    async with calling(app) as call:
        assert (await call("hold/try", {"words": "a"})).status_code == 200
        assert (await call("hold/cancel", {"words": "a"})).status_code == 200
    await other.engine.dispose()
    other.sync_engine.dispose()
    assert (other.notes(), len(other.rows())) == (["a"], 1)
    assert (database.notes(), database.rows()) == ([], [])


async def test_nested_routers_add_their_prefixes_and_dependencies(stock, database):
    """Two levels up, with a dependency that lets nobody in without a key; the barrier is behind it."""

    async def has_key(x_key: Annotated[str, Header()] = "") -> None:
        if x_key != "open":
            raise HTTPException(401)

    inner = APIRouter(prefix="/inner")
    inner.include_router(stock.router)
    outer = APIRouter(prefix="/outer")
    outer.include_router(inner, dependencies=[Depends(has_key)])
    app = FastAPI()
    app.include_router(outer)
    async with calling(app) as call:
        prefix = "/outer/inner/placet"
        assert (await call("hold/try", {"words": "a"}, prefix=prefix)).status_code == 401
        assert database.rows() == []
        assert (await call("hold/try", {"words": "a"}, prefix=prefix, x_key="open")).status_code == 200
        assert (await call("hold/cancel", {"words": "a"}, prefix=prefix, x_key="open")).status_code == 200
        assert (await call("hold/try", {"words": "a"})).status_code == 404
    assert database.notes() == ["a"]


async def test_def_handlers_run_in_the_thread_pool(database):
    """A handler that blocks holds up nobody else; an async one stays in the event loop."""
    made = Participant("stock", session=database.sync_beginning)
    threads = {}

    @made.tcc("hold")
    def hold(cmd: Order) -> None:
        threads["try"] = threading.get_ident()

    @hold.confirm
    async def _(cmd: Order) -> None:
        threads["confirm"] = threading.get_ident()
        assert asyncio.get_running_loop() is not None

    app = FastAPI()
    app.include_router(made.router)
    async with calling(app) as call:
        for operation in ("try", "confirm"):
            assert (await call(f"hold/{operation}", {"words": "a"})).status_code == 200
    assert threads["try"] != threading.get_ident() == threads["confirm"]


async def test_other_parameters_of_fastapi_work(database):
    """Request, background tasks, headers and dependencies with `yield` are a handler's as they are an endpoint's."""
    made = Participant("stock", session=database.beginning)
    seen = []

    async def opened():
        seen.append("opened")
        yield "dependency"
        seen.append("closed")

    @made.saga("book")
    async def book(
        request: Request,
        cmd: Order,
        tasks: BackgroundTasks,
        given: Annotated[str, Depends(opened)],
        x_who: Annotated[str, Header()],
    ) -> str:
        tasks.add_task(seen.append, "after")
        seen.append(f"{request.method} {given} {x_who}")
        return cmd.words

    app = FastAPI()
    app.include_router(made.router)
    async with calling(app) as call:
        assert (await call("book/action", {"words": "a"}, x_who="me")).json() == "a"
    assert seen == ["opened", "POST dependency me", "after", "closed"]


async def test_rejection_may_come_from_a_dependency(database):
    """It is a business no of the action as any other, and kept as such."""
    made = Participant("stock", session=database.beginning)

    async def in_season() -> None:
        raise Reject("not in season")

    @made.saga(
        "book",
    )
    async def book(cmd: Order, _season: Annotated[None, Depends(in_season)]) -> None: ...

    app = FastAPI()
    app.include_router(made.router)
    async with calling(app) as call:
        response = await call("book/action", {"words": "a"})
    assert (response.status_code, slug(response), response.json()["detail"]) == (409, "rejected", "not in season")
    assert database.rows() == [("1", "rejected", None, '"not in season"')]


async def test_exception_handlers_of_the_application_answer_what_is_no_business_of_ours(stock, database):
    """They shape the answer, which has no echo, so that it is never taken for the participant's word."""
    app = FastAPI()
    app.include_router(stock.router)

    @app.exception_handler(ZeroDivisionError)
    async def _(_request: Request, _error: ZeroDivisionError) -> JSONResponse:
        return JSONResponse({"oh": "dear"}, status_code=200)

    @stock.saga("divide")
    async def divide(cmd: Order, db: Annotated[AsyncSession, Depends(database.beginning)]) -> None:
        db.add(Note(words=cmd.words))
        raise ZeroDivisionError

    async with calling(app) as call:
        response = await call("divide/action", {"words": "a"})
    assert (response.json(), response.headers.get("placet-outcome")) == ({"oh": "dear"}, None)
    assert (database.notes(), database.rows()) == ([], [])


def test_openapi_shows_actions_as_the_wire_has_them(stock):
    """Bodies, results, headers and refusals of every operation; the names are usable by generators."""
    app = FastAPI()
    app.include_router(stock.router)
    document = app.openapi()
    paths = document["paths"]
    assert set(paths) == {
        *(f"/placet/hold/{operation}" for operation in ("try", "confirm", "cancel")),
        *(f"/placet/book/{operation}" for operation in ("action", "compensate")),
    }
    tried = paths["/placet/hold/try"]["post"]
    assert tried["description"] == "Put goods aside."
    assert tried["tags"] == ["stock"]
    assert tried["requestBody"]["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/Order"}
    assert tried["responses"]["200"]["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/Kept"}
    for path in paths.values():
        operation = path["post"]
        headers = {parameter["name"] for parameter in operation["parameters"] if parameter["in"] == "header"}
        assert headers == {"placet-gid", "placet-branch", "placet-op", "placet-begun-at-ms"}
        assert set(operation["responses"]) >= {"200", "409", "425"}
        assert "done" not in str(operation.get("requestBody"))
    names = [path["post"]["operationId"] for path in paths.values()]
    assert len(set(names)) == len(names)


async def test_two_participants_live_in_one_application(database):
    """Each with a prefix of its own."""
    app = FastAPI()
    for name in ("stock", "pay"):
        made = Participant(name, session=database.beginning, prefix=f"/{name}")

        @made.saga("book")
        async def book(cmd: Order) -> str:
            return cmd.words

        app.include_router(made.router)
    async with calling(app) as call:
        for name in ("stock", "pay"):
            response = await call("book/action", {"words": name}, branch_id=name, prefix=f"/{name}")
            assert response.json() == name
