"""Declaring actions: handlers stay plain functions, and what can't work is refused before any request."""

import inspect
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from fastapi import FastAPI, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from placet.fastapi import Envelope, Participant
from unit.sdk_participant.conftest import calling, slug


class Order(BaseModel):
    """A payload."""

    words: str = ""


@pytest.fixture
def stock(database) -> Participant:
    """A participant without actions."""
    return Participant("stock", session=database.beginning)


async def test_handlers_stay_plain_functions(stock):
    """A unit test calls them with what it likes; the decorated name has the handler's own name and documentation."""

    @stock.tcc("hold")
    async def hold(cmd: Order, factor: int) -> str:
        """Put goods aside."""
        return cmd.words * factor

    @hold.confirm
    def settle(cmd: Order) -> None: ...

    assert await hold(Order(words="a"), factor=2) == "aa"
    assert (hold.__name__, hold.__doc__, hold.name) == ("hold", "Put goods aside.", "hold")
    assert inspect.isfunction(settle)
    assert settle(Order()) is None


async def test_saga_needs_no_compensation(stock, database):
    """A compensation that comes all the same has nothing to undo, and a late action is kept out as ever."""

    @stock.saga("send")
    async def send(cmd: Order) -> str:
        return cmd.words

    app = FastAPI()
    app.include_router(stock.router)
    async with calling(app) as call:
        assert (await call("send/action", {"words": "a"})).json() == "a"
        assert (await call("send/compensate", {"words": "a"})).status_code == 200
        assert (await call("send/compensate", {}, branch_id="2")).status_code == 200
        assert slug(await call("send/action", {}, branch_id="2")) == "late"
    assert database.rows() == [("1", "done", "compensate", '"a"'), ("2", "late", "compensate", None)]


@pytest.mark.parametrize("parameter", ["done", "_done"])
async def test_ends_get_what_the_action_returned(stock, parameter):
    """Read from the row into the type that the handler declares, as None where the action returned nothing."""
    seen: list[Any] = []

    @stock.saga("book")
    async def book(cmd: Order) -> Order | None:
        return cmd if cmd.words else None

    namespace: dict[str, Any] = {"Order": Order, "seen": seen}
    exec(f"async def undo(cmd: Order, {parameter}: Order | None) -> None: seen.append({parameter})", namespace)
    book.compensate(namespace["undo"])
    app = FastAPI()
    app.include_router(stock.router)
    async with calling(app) as call:
        for branch_id, words in (("1", "a"), ("2", "")):
            await call("book/action", {"words": words}, branch_id=branch_id)
            assert (await call("book/compensate", {"words": "now"}, branch_id=branch_id)).status_code == 200
    assert seen == [Order(words="a"), None]


@pytest.mark.parametrize("missing", ["confirm", "cancel"])
async def test_unfinished_tcc_does_not_start(stock, missing):
    """A try that nobody could confirm or cancel is found at the start, not at the first abort."""

    @stock.tcc("hold")
    async def hold(cmd: Order) -> None: ...

    async def end(cmd: Order) -> None: ...

    getattr(hold, {"confirm": "cancel", "cancel": "confirm"}[missing])(end)
    with pytest.raises(RuntimeError, match=f"TCC action 'hold' of stock has no {missing}"):
        async with stock.running():
            pytest.fail("it started")


def test_names_are_checked(stock, database):
    """They stand in URLs, and in the coordinator's directory."""
    for name in ("", "a b", "a/b", "x" * 65):
        with pytest.raises(ValueError, match="1 to 64 characters"):
            Participant(name, session=database.beginning)
        with pytest.raises(ValueError, match="1 to 64 characters"):
            stock.tcc(name)(lambda: None)


def test_action_is_declared_once(stock):
    """Two handlers for one path would leave one of them without calls."""

    @stock.tcc("hold")
    async def hold(cmd: Order) -> None: ...

    async def end(cmd: Order) -> None: ...

    for declare in (stock.tcc, stock.saga):
        with pytest.raises(ValueError, match="has an action 'hold' already"):
            declare("hold")(end)
    hold.confirm(end)
    with pytest.raises(ValueError, match="has a confirm already"):
        hold.confirm(end)
    book = stock.saga("book")(end)
    book.compensate(end)
    with pytest.raises(ValueError, match="has a compensate already"):
        book.compensate(end)


def test_retention_has_room_for_the_margin(database):
    """Rows that are forgotten before the margin would refuse every try."""
    with pytest.raises(ValueError, match="must be longer than 0:05:00"):
        Participant("stock", session=database.beginning, retention=timedelta(minutes=5))


def returning(annotation: Any) -> Any:
    """Return a handler of that result."""

    async def handler(cmd: Order) -> None: ...

    handler.__annotations__["return"] = annotation
    return handler


@pytest.mark.parametrize("annotation", [Response, JSONResponse, JSONResponse | None])
def test_response_is_no_result(stock, annotation):
    """The barrier keeps results, and could not repeat a response."""
    with pytest.raises(TypeError, match="return the result itself"):
        stock.saga("book")(returning(annotation))


def test_end_has_no_result(stock):
    """Nobody would get it: the coordinator keeps what forward operations return."""
    hold = stock.tcc("hold")(returning(None))
    with pytest.raises(TypeError, match="a confirm answers nothing: write -> None"):
        hold.confirm(returning(Order))


def test_parameters_have_names(stock):
    """FastAPI fills them by their names."""

    def everything(*args: Any, **more: Any) -> None: ...

    def by_place(cmd: Order, /) -> None: ...

    for handler in (everything, by_place):
        with pytest.raises(TypeError, match="write named parameters"):
            stock.saga("book")(handler)


def test_annotations_are_there_at_run_time(stock):
    """What is imported for the type checker alone is named."""

    def handler(cmd: "NotImported") -> None: ...  # noqa: F821 - the mistake

    with pytest.raises(TypeError, match="NotImported"):
        stock.saga("book")(handler)


async def test_envelope_is_a_type_of_the_payload(stock):
    """A step planned with an envelope says so in its annotation, and gets the results of the steps before it."""
    seen: list[Any] = []

    @stock.saga("ship")
    async def ship(cmd: Envelope[Order]) -> str:
        seen.append((cmd.payload.words, cmd.results))
        return "shipped"

    @ship.compensate
    async def _(cmd: Envelope[Order], done: str | None) -> None:
        seen.append((cmd.result, done))

    app = FastAPI()
    app.include_router(stock.router)
    async with calling(app) as call:
        body = {"payload": {"words": "a"}, "result": None, "results": {"hotel.book": {"room": 7}}}
        await call("ship/action", body)
        await call("ship/compensate", body)
    assert seen == [("a", {"hotel.book": {"room": 7}}), (None, "shipped")]


def sync_generator() -> Iterator[None]:
    """A session dependency that is never asked."""
    yield None


def test_nothing_runs_when_a_module_is_imported(monkeypatch):
    """Neither the environment nor a session is touched before the lifespan."""
    monkeypatch.setenv("PLACET_TOKEN", "x")
    monkeypatch.setattr("placet.participant.Settings", None)
    made = Participant("stock", session=sync_generator)

    @made.saga("book")
    async def book(cmd: Order) -> None: ...

    assert len(made.router.routes) == 2
