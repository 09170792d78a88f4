"""`Placet` as a parameter of an endpoint: one client per application, for async and synchronous endpoints."""

import pytest
from fastapi import FastAPI

from placet import Client, SyncClient
from placet.fastapi import Participant, Placet, lifespan
from unit.sdk_initiator.conftest import announce, done
from unit.sdk_participant.conftest import calling

pytestmark = pytest.mark.usefixtures("environment")


@pytest.fixture
async def shop(serve, coordinator):
    """A participant, announced."""
    server = await serve()
    server.on("/try", done())
    announce(coordinator, shop=[server])
    return server


def with_endpoints(app: FastAPI) -> list[Client]:
    """Add an endpoint of each kind that starts a TCC; return the clients they got."""
    clients: list[Client] = []

    @app.post("/async")
    async def begin(placet: Placet) -> str:
        clients.append(placet)
        async with placet.tcc("purchase") as tx:
            await tx.call("shop/hold")
        return tx.gid

    @app.post("/sync")
    def begin_in_a_thread(placet: Placet) -> str:
        clients.append(placet)
        assert isinstance(placet.sync, SyncClient)
        with placet.sync.tcc("purchase") as tx:
            tx.call("shop/hold")
        return tx.gid

    return clients


async def initiated(app: FastAPI, coordinator) -> list[str]:
    """Start a transaction by each endpoint twice, and return the gids that were committed."""
    async with calling(app) as call:
        gids = [(await call.client.post(path)).json() for path in ("/async", "/sync") * 2]
    assert [request.gid for request in coordinator.sent("/commit")][-4:] == gids
    return gids


async def test_application_that_only_initiates_has_a_lifespan_of_its_own(coordinator, shop):
    """One client for all its requests, closed with it, and another one after the next start."""
    app = FastAPI(lifespan=lifespan)
    clients = with_endpoints(app)
    for starts in (1, 2):
        async with app.router.lifespan_context(app):
            await initiated(app, coordinator)
        assert len({id(client) for client in clients}) == starts


async def test_participant_serves_its_applications_endpoints(database, coordinator, shop):
    """Its lifespan, or `running()` inside another one, gives them its client."""
    stock = Participant("stock", session=database.beginning)
    app = FastAPI(lifespan=stock.lifespan)
    other = FastAPI()
    clients, others = with_endpoints(app), with_endpoints(other)
    async with app.router.lifespan_context(app):
        await initiated(app, coordinator)
    async with stock.running():
        await initiated(other, coordinator)
    assert len({id(client) for client in clients}) == len({id(client) for client in others}) == 1


async def test_endpoint_finds_a_client_without_any_lifespan(coordinator, shop):
    """Made at the first request and kept, for a script or a test that starts nothing."""
    app = FastAPI()
    clients = with_endpoints(app)
    await initiated(app, coordinator)
    assert len({id(client) for client in clients}) == 1
    await clients[0].aclose()


async def test_applications_in_one_process_keep_their_clients_apart(coordinator, shop):
    """Each to its own, also when both run in one loop."""
    first, second = FastAPI(lifespan=lifespan), FastAPI(lifespan=lifespan)
    ours, theirs = with_endpoints(first), with_endpoints(second)
    async with first.router.lifespan_context(first), second.router.lifespan_context(second):
        await initiated(first, coordinator)
        await initiated(second, coordinator)
    assert {id(client) for client in ours}.isdisjoint({id(client) for client in theirs})


async def test_nothing_is_sent_or_read_before_the_first_transaction(coordinator, monkeypatch):
    """Importing, declaring and describing an application reach nobody."""
    monkeypatch.setenv("PLACET_URL", "http://127.0.0.1:1")
    app = FastAPI(lifespan=lifespan)
    with_endpoints(app)
    app.openapi()
    async with app.router.lifespan_context(app):
        pass
    assert coordinator.requests == []
