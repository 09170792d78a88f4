"""A participant under test: the SDK's own, with handlers that do as the payload says, called over ASGI."""

import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Annotated, Any, NamedTuple

import httpx2
from fastapi import Depends, FastAPI
from pydantic import BaseModel
from sqlalchemy import Engine, create_engine, util
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import Session, sessionmaker

from conformance.barrier.gates import Gates
from conformance.barrier.kinds import Kind, plain_engine
from conformance.barrier.ledger import Base, Effect, Ledger
from placet import tables
from placet.context import current_branch
from placet.fastapi import Participant, Reject

PATIENCE_SECONDS = 20.0
ONGOING = 425


class Order(BaseModel):
    """What a handler is to do.

    Attributes:
        said: written into the ledger.
        gate: where to wait, the effect written and not committed.
        reject: words of a business no, raised after the effect was written.
        fail: raise something else.
    """

    said: str = ""
    gate: str | None = None
    reject: str | None = None
    fail: bool = False


class Held(BaseModel):
    """What a try or action returns."""

    reference: str


class Reply(NamedTuple):
    """An answer of the participant."""

    status: int
    slug: str
    body: Any
    echo: str | None

    @property
    def told(self) -> tuple[int, Any]:
        """What every attempt of the same operation has to be told alike."""
        return self.status, self.body


Work = Callable[[Session, Order], None]
"""What a handler does to the database."""


class Service:
    """The participant, its ledger, and its gates; made by `serving`.

    Attributes:
        participant: more actions may be declared.
        engine: the participant's own, as a synchronous one; events may be listened to.
        plain: another engine of the same database, for what the test does itself.
        first_looks: what the session dependency does with a session before anybody else.
    """

    def __init__(self, kind: Kind, participant: Participant, engine: Engine, plain: Engine, flavour: "Flavour") -> None:
        self.kind = kind
        self.participant = participant
        self.engine = engine
        self.plain = plain
        self.ledger = Ledger(plain)
        self.gates = Gates()
        self.first_looks = flavour.first_looks
        self._flavour = flavour
        self._declare()
        app = FastAPI()
        app.include_router(participant.router)
        transport = httpx2.ASGITransport(app=app, raise_app_exceptions=False)
        self._client = httpx2.AsyncClient(transport=transport, base_url="http://participant", timeout=60)

    async def call(
        self,
        path: str,
        branch_id: str = "1",
        *,
        gid: str = "g",
        seconds: float = 10.0,
        age_seconds: float = 1.0,
        **order: Any,
    ) -> Reply:
        """Call an operation, as `hold/try`, with an order as its payload."""
        now_ms = time.time_ns() // 1_000_000
        fields = {
            "placet-gid": gid,
            "placet-branch": branch_id,
            "placet-op": path.rpartition("/")[2],
            "placet-attempt": "1",
            "placet-deadline-ms": str(int(seconds * 1_000)),
            "placet-begun-at-ms": str(now_ms - int(age_seconds * 1_000)),
            "placet-time-ms": str(now_ms),
        }
        response = await self._client.post(f"/placet/{path}", json=order, headers=fields)
        is_json = "json" in response.headers.get("content-type", "")
        body = response.json() if is_json else response.text
        slug = body.get("type", "").rpartition("/")[2] if isinstance(body, dict) else ""
        return Reply(response.status_code, slug, body, response.headers.get("placet-outcome"))

    async def settled(self, path: str, branch_id: str = "1", **order: Any) -> Reply:
        """Call an operation until it is told something else than to come again, as the coordinator does."""
        ends_at = time.monotonic() + PATIENCE_SECONDS
        while (reply := await self.call(path, branch_id, **order)).status == ONGOING:
            assert time.monotonic() < ends_at, "told to come again for ever"
        return reply

    def effect(self, operation: str, done: Held | None = None) -> Work:
        """Return work that writes an effect and stands at the order's gate; its words tell what was undone."""

        def work(db: Session, order: Order) -> None:
            said = (
                order.said if operation in {"try", "action"} else f"{order.said} of {done.reference if done else None}"
            )
            db.add(effect_of(operation, said))
            db.flush()
            if order.gate is not None:
                self.stand_at(order.gate)

        return work

    def stand_at(self, name: str) -> None:
        """Wait at a gate, from within work."""
        gate = self.gates[name]
        if self.kind.is_async:
            util.await_only(gate.pass_through_async())
        else:
            gate.pass_through()

    def action(self, name: str, work: Work) -> None:
        """Declare a saga's action that does its work on the session, whichever kind that is."""
        self.participant.saga(name)(self._flavour.acting(work))

    def _declare(self) -> None:
        acting = self._flavour.acting
        undoing = self._flavour.undoing
        hold = self.participant.tcc("hold")(acting(self.effect("try")))
        hold.confirm(undoing(self, "confirm"))
        hold.cancel(undoing(self, "cancel"))
        book = self.participant.saga("book")(acting(self.effect("action")))
        book.compensate(undoing(self, "compensate"))


class Flavour(NamedTuple):
    """How handlers are written: `async def` or `def`."""

    acting: Callable[[Work], Callable[..., Any]]
    undoing: Callable[[Service, str], Callable[..., Any]]
    first_looks: list[Callable[[Session], None]]


@asynccontextmanager
async def serving(kind: Kind, given_url: str, *, through: str | None = None) -> AsyncIterator[Service]:
    """Serve a participant on a database with the tables, emptied.

    Args:
        kind: of the participant's sessions.
        given_url: the database.
        through: its URL by way of a proxy, for the participant alone.
    """
    plain = plain_engine(given_url)
    with plain.begin() as connection:
        for table in (*Base.metadata.tables.values(), tables.barrier):
            connection.execute(table.delete())
    if kind.is_async:
        engine = create_async_engine(kind.url(through or given_url), **kind.engine_options())
        session, flavour = _asynchronous(engine)
        yield Service(kind, Participant("stock", session=session), engine.sync_engine, plain, flavour)
        await engine.dispose()
    else:
        own = create_engine(kind.url(through or given_url), **kind.engine_options())
        session, flavour = _synchronous(own)
        yield Service(kind, Participant("stock", session=session), own, plain, flavour)
        own.dispose()


def _asynchronous(engine: AsyncEngine) -> tuple[Callable[..., Any], Flavour]:
    sessions = async_sessionmaker(engine)
    first_looks: list[Callable[[Session], None]] = []

    async def get_session() -> AsyncIterator[AsyncSession]:
        async with sessions.begin() as session:
            for look in first_looks:
                await session.run_sync(look)
            yield session

    DbSession = Annotated[AsyncSession, Depends(get_session)]  # noqa: N806 - a type

    def acting(work: Work) -> Callable[..., Any]:
        async def handler(order: Order, db: DbSession) -> Held:
            await db.run_sync(work, order)
            return _ended(order)

        return handler

    def undoing(service: Service, operation: str) -> Callable[..., Any]:
        async def handler(order: Order, done: Held | None, db: DbSession) -> None:
            await db.run_sync(service.effect(operation, done), order)
            _ended(order)

        return handler

    return get_session, Flavour(acting, undoing, first_looks)


def _synchronous(engine: Engine) -> tuple[Callable[..., Any], Flavour]:
    sessions = sessionmaker(engine)
    first_looks: list[Callable[[Session], None]] = []

    def get_session() -> Iterator[Session]:
        with sessions.begin() as session:
            for look in first_looks:
                look(session)
            yield session

    DbSession = Annotated[Session, Depends(get_session)]  # noqa: N806 - a type

    def acting(work: Work) -> Callable[..., Any]:
        def handler(order: Order, db: DbSession) -> Held:
            work(db, order)
            return _ended(order)

        return handler

    def undoing(service: Service, operation: str) -> Callable[..., Any]:
        def handler(order: Order, done: Held | None, db: DbSession) -> None:
            service.effect(operation, done)(db, order)
            _ended(order)

        return handler

    return get_session, Flavour(acting, undoing, first_looks)


def effect_of(operation: str, said: str) -> Effect:
    """Return the effect of the branch that runs here."""
    branch = current_branch()
    assert branch is not None
    return Effect(gid=branch.gid, branch_id=branch.branch_id, operation=operation, said=said)


def _ended(order: Order) -> Held:
    if order.reject is not None:
        raise Reject(order.reject)
    if order.fail:
        raise ValueError(order.said)
    return Held(reference=f"ref-{order.said}")
