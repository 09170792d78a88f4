"""A service that has no barrier table says at its start how to make it."""

import re
from typing import Annotated

import pytest
from fastapi import Depends, FastAPI, Header, Request
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

from placet import purge, tables
from placet.barrier_table import BarrierMissing
from placet.fastapi import Participant
from unit.sdk_initiator.conftest import Answer
from unit.sdk_participant.conftest import Database

pytestmark = pytest.mark.usefixtures("environment")

STYLES = pytest.mark.parametrize("style", ["beginning", "committing", "plain_session", "sync_beginning", "sync_plain"])


@STYLES
async def test_missing_table_is_an_error_of_the_start_that_names_the_command(database, style):
    """Whatever kind of session it is."""
    tables.metadata.drop_all(database.plain)
    stock = Participant("stock", session=getattr(database, style))
    with pytest.raises(BarrierMissing, match=re.escape("run `placet barrier create --url sqlite")):
        async with stock.running():
            pytest.fail("it started")


@STYLES
async def test_table_that_is_there_lets_it_start(database, style):
    """And nothing is left open by the look at it."""
    async with Participant("stock", session=getattr(database, style)).running():
        pass


async def test_table_of_another_shape_is_an_error_of_the_start(database):
    """A table of that name that is none of ours is told by its columns."""
    tables.metadata.drop_all(database.plain)
    with database.plain.begin() as connection:
        connection.execute(text("CREATE TABLE placet_barrier (gid TEXT, answer TEXT)"))
    with pytest.raises(BarrierMissing, match="has no column branch_id, ended_by, result, created_at_ms"):
        async with Participant("stock", session=database.beginning).running():
            pytest.fail("it started")


async def test_database_that_is_down_does_not_keep_a_service_from_starting(caplog):
    """As it would start without Placet; the log says that nobody has looked."""
    engine = create_async_engine("postgresql+asyncpg://nobody@127.0.0.1:1/nothing")

    async def get_session():
        async with AsyncSession(engine) as session:
            yield session

    async with Participant("stock", session=get_session).running():
        pass
    await engine.dispose()
    assert "the barrier's table could not be looked at" in caplog.text


async def test_start_looks_through_the_applications_overrides(database, tmp_path):
    """A test's database counts, not the one that it stands for."""
    other = Database(tmp_path / "other.db")
    tables.metadata.drop_all(database.plain)
    stock = Participant("stock", session=database.beginning)
    app = FastAPI(lifespan=stock.lifespan)
    app.dependency_overrides[database.beginning] = other.beginning
    async with app.router.lifespan_context(app):
        pass
    await other.engine.dispose()
    other.sync_engine.dispose()


async def test_start_looks_through_dependencies_of_the_dependency(database):
    """The session may hang on others, and on the application's state."""
    seen = []

    async def settings(request: Request) -> str:
        return str(request.app.state.shard)

    async def get_session(shard: Annotated[str, Depends(settings)]):
        seen.append(shard)
        async for session in database.beginning():
            yield session

    stock = Participant("stock", session=get_session)
    app = FastAPI(lifespan=stock.lifespan)
    app.state.shard = "7"
    async with app.router.lifespan_context(app):
        pass
    assert seen == ["7"]


async def test_session_that_hangs_on_a_request_is_not_looked_at(database, caplog):
    """What only a request can give is not there at the start; the service starts, and the log says so."""

    async def get_session(x_tenant: Annotated[str, Header()]):
        async for session in database.beginning():
            yield session

    async with Participant("stock", session=get_session).running():
        pass
    assert "wants more than a request without headers" in caplog.text


@STYLES
async def test_purge_runs_beside_the_service(database, coordinator, monkeypatch, style):
    """Again and again, also after a turn for which the coordinator did not answer."""
    with database.plain.begin() as connection:
        for gid in ("over", "open"):
            row = {"gid": gid, "branch_id": "1", "answer": "done", "created_at_ms": 1}
            connection.execute(tables.barrier.insert().values(row))
    coordinator.on("/finished", Answer(cut=True), Answer(200, {"finished": ["over"], "unknown": []}))
    monkeypatch.setattr(purge, "EVERY_SECONDS", 0.01)
    async with Participant("stock", session=getattr(database, style)).running():
        await coordinator.has("/finished", 3)
    assert coordinator.sent("/finished")[0].body == {"gids": ["open", "over"]}
    assert coordinator.sent("/finished")[-1].body == {"gids": ["open"]}
    with database.plain.connect() as connection:
        assert list(connection.scalars(tables.barrier.select().with_only_columns(tables.barrier.c.gid))) == ["open"]
