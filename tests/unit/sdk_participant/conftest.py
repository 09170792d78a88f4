"""A SQLite database for each test, sessions as applications make them, and applications called over ASGI."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import pytest
from sqlalchemy import NullPool, create_engine, select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, sessionmaker

from placet import tables
from unit.sdk_initiator.conftest import Answer, Request, Server, serve, transaction

__all__ = ["serve"]


class Base(DeclarativeBase):
    """The application's own tables."""


class Note(Base):
    """What a handler has written."""

    __tablename__ = "note"

    number: Mapped[int] = mapped_column(primary_key=True)
    words: Mapped[str]


class Database:
    """One SQLite file: session dependencies in the usual styles, and a look at what was committed."""

    def __init__(self, path) -> None:
        self.url = f"sqlite:///{path}"
        self.plain = create_engine(self.url, poolclass=NullPool)
        for metadata in (Base.metadata, tables.metadata):
            metadata.create_all(self.plain)
        self.engine = create_async_engine(self.url.replace("sqlite", "sqlite+aiosqlite"))
        self.sync_engine = create_engine(self.url)
        self._sessions = async_sessionmaker(self.engine)
        self._sync_sessions = sessionmaker(self.sync_engine)

    async def beginning(self) -> AsyncIterator[AsyncSession]:
        """A session inside `sessionmaker.begin()`."""
        async with self._sessions.begin() as session:
            yield session

    async def committing(self) -> AsyncIterator[AsyncSession]:
        """A session that its dependency commits after the endpoint, whatever happened in it."""
        async with self._sessions() as session:
            try:
                yield session
            finally:
                await session.commit()

    async def plain_session(self) -> AsyncIterator[AsyncSession]:
        """A session that its endpoints have to commit."""
        async with self._sessions() as session:
            yield session

    def sync_beginning(self) -> Iterator[Session]:
        """A synchronous session inside `sessionmaker.begin()`."""
        with self._sync_sessions.begin() as session:
            yield session

    def sync_plain(self) -> Iterator[Session]:
        """A synchronous session."""
        with self._sync_sessions() as session:
            yield session

    def notes(self) -> list[str]:
        """Return what was committed."""
        with self.plain.connect() as connection:
            return list(connection.scalars(select(Note.words).order_by(Note.number)))

    def rows(self) -> list[tuple[str, str, str | None, str | None]]:
        """Return the barrier: branch, answer, end, result."""
        columns = tables.barrier.c
        with self.plain.connect() as connection:
            found = connection.execute(select(columns.branch_id, columns.answer, columns.ended_by, columns.result))
            return [tuple(row) for row in found]


@pytest.fixture
async def database(tmp_path) -> AsyncIterator[Database]:
    """An empty database with the tables."""
    made = Database(tmp_path / "participant.db")
    yield made
    await made.engine.dispose()
    made.sync_engine.dispose()
    # A connection whose call was cancelled is closed by the driver's own thread, which then tells the event loop: that
    # must still be there, or the thread's failure is told of whichever test runs next.
    for thread in threading.enumerate():
        if "_connection_worker_thread" in thread.name:
            await asyncio.to_thread(thread.join, 10)


def branch_headers(operation: str, branch_id: str = "1", **other: str | None) -> dict[str, str]:
    """Return the headers of a call; `other` with `_` for `-` replaces some, None leaves one out."""
    now_ms = time.time_ns() // 1_000_000
    fields: dict[str, str | None] = {
        "placet-gid": "g",
        "placet-branch": branch_id,
        "placet-op": operation,
        "placet-attempt": "1",
        "placet-deadline-ms": "5000",
        "placet-begun-at-ms": str(now_ms - 50),
        "placet-time-ms": str(now_ms),
    }
    fields |= {name.replace("_", "-"): value for name, value in other.items()}
    return {name: value for name, value in fields.items() if value is not None}


class Caller:
    """Calls an application in process."""

    def __init__(self, client: httpx2.AsyncClient) -> None:
        self.client = client

    async def __call__(
        self, path: str, payload: Any = None, *, branch_id: str = "1", prefix: str = "/placet", **fields: str | None
    ) -> httpx2.Response:
        """Call an operation, as `hold/try`."""
        headers = branch_headers(path.rpartition("/")[2], branch_id, **fields)
        return await self.client.post(f"{prefix}/{path}", json=payload, headers=headers)


@asynccontextmanager
async def calling(app: Any, *, shows_errors: bool = False) -> AsyncIterator[Caller]:
    """Call an application whose lifespan does not run.

    Args:
        app: the application.
        shows_errors: what it raises is raised to the caller, too, where a server would log it.
    """
    transport = httpx2.ASGITransport(app=app, raise_app_exceptions=shows_errors)
    async with httpx2.AsyncClient(transport=transport, base_url="http://app", timeout=30) as client:
        yield Caller(client)


def slug(response: httpx2.Response) -> str:
    """Return the part of the problem's type that clients compare."""
    return str(response.json()["type"]).rpartition("/")[2]


class Coordinator(Server):
    """A scripted coordinator that also answers for instances, whose names no test knows before.

    Attributes:
        on_instances: what announcements and withdrawals are told, in turn; the last one repeats.
    """

    def __init__(self) -> None:
        super().__init__()
        self.on_instances: list[Answer] = [Answer(200, {})]

    def _answer(self, request: Request) -> Answer:
        if "/instances/" not in request.path:
            return super()._answer(request)
        return self.on_instances.pop(0) if len(self.on_instances) > 1 else self.on_instances[0]

    def announcements(self, method: str = "PUT") -> list[Request]:
        """Return what instances have said."""
        return [request for request in self.requests if request.method == method and "/instances/" in request.path]


@pytest.fixture
async def coordinator(serve) -> Coordinator:
    """A scripted coordinator on which all goes well, unless a test scripts it otherwise."""
    server: Coordinator = await serve(Coordinator)
    server.on("/v1/transactions", lambda request: transaction(request, "active", 201))
    server.on("/branches", lambda request: transaction(request, "active"))
    server.on("/commit", lambda request: transaction(request, "committing"))
    server.on("/abort", lambda request: transaction(request, "aborting"))
    return server


@pytest.fixture
def environment(monkeypatch, coordinator) -> None:
    """The environment of a service whose coordinator is the scripted one."""
    monkeypatch.setenv("PLACET_URL", coordinator.url)
    monkeypatch.setenv("PLACET_SELF_URL", "http://127.0.0.1:9999")
