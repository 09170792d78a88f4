"""Calls of a transaction go to the node that began it, where that node is known to answer."""

import asyncio
import contextlib

import pytest

from placet.client import Client
from placet.errors import OutcomeUnknown

from .conftest import LOST, Answer, announce, problem, transaction


def node(name, server_url, *, is_live=True):
    return {"node": name, "base_url": server_url, "lease_until": "2999-01-01T00:00:00Z", "is_live": is_live}


def nodes(*items):
    return Answer(200, {"items": list(items)})


def health(name):
    return Answer(200, {"status": "ok", "node": name, "version": "1"})


@pytest.fixture
async def began(serve):
    """The node `n1`, which begins what the coordinator's URL, a balancer in front of two nodes, is asked to begin."""
    server = await serve()
    server.on("/healthz", health("n1"))
    server.on("/v1/transactions", lambda request: transaction(request, "committed"))
    server.on("/branches", lambda request: transaction(request, "active"))
    server.on("/commit", lambda request: transaction(request, "committing"))
    server.on("/abort", lambda request: transaction(request, "aborting"))
    return server


@pytest.fixture
def balancer(coordinator, began):
    coordinator.on("GET /v1/nodes", nodes(node("n1", began.url + "/"), node("n2", coordinator.url)))
    return coordinator


async def has_learned(placet, server):
    """Runs one transaction, after which the client has asked the node for its name."""
    async with placet.tcc("first") as tx:
        await tx.call("shop/hold")
    await server.has("/healthz")
    async with asyncio.timeout(5):
        await placet.coordinator._addresses._look


async def order(placet):
    async with placet.tcc("order") as tx:
        await tx.call("shop/a")
        await tx.call("shop/b")
    return tx.gid


async def test_register_and_commit_go_to_the_node_that_began(placet, balancer, began):
    """It is named in begin's reply, and holds the transaction in memory."""
    await has_learned(placet, began)
    gid = await order(placet)
    assert [request.gid for request in began.sent("/branches")] == [gid]
    assert [request.gid for request in began.sent("/commit")] == [gid]
    assert balancer.sent("/branches") == []


async def test_abort_goes_to_the_node_that_began(placet, balancer, began):
    """Any call of the transaction does."""
    await has_learned(placet, began)
    with contextlib.suppress(ZeroDivisionError):
        async with placet.tcc("order") as tx:
            await tx.call("shop/a")
            raise ZeroDivisionError
    assert [request.gid for request in began.sent("/abort")] == [tx.gid]


async def test_saga_is_waited_for_at_the_node_that_began_it(placet, balancer, began):
    """The driving node learns of the end first."""
    await has_learned(placet, began)
    saga = placet.saga("trip", gid="trip-1")
    saga.step("shop/hold")
    run = await saga.submit()
    with contextlib.suppress(OutcomeUnknown):
        await run.result(timeout=0.2)
    assert "wait_ms=" in began.sent("/v1/transactions")[0].path


@pytest.mark.parametrize(
    "answer", [LOST, Answer(502, b"<html>"), problem(503, "overloaded")], ids=["cut", "proxy", "draining"]
)
async def test_a_node_that_does_not_serve_is_left_at_once(placet, balancer, began, answer):
    """The repeat goes to the coordinator's URL, where another node decides."""
    await has_learned(placet, began)
    began.on("/commit", answer)
    gid = await order(placet)
    assert [request.gid for request in balancer.sent("/commit")][-1] == gid
    await order(placet)
    assert len(began.sent("/commit")) == 1


async def test_an_address_where_another_answers_is_not_used(placet, balancer, began):
    """What a node announces may lead elsewhere from here: the name is checked first, without the token."""
    began.on("/healthz", health("n7"))
    await has_learned(placet, began)
    await order(placet)
    assert began.sent("/commit") == []
    assert "authorization" not in began.sent("/healthz")[0].headers


async def test_an_address_without_tls_gets_no_token_meant_for_tls(coordinator):
    """Calls are not moved to where they would be less protected than the coordinator's URL."""
    async with Client("https://127.0.0.1:1", token="t") as placet:
        assert not placet.coordinator._addresses._is_eligible(coordinator.url)
        assert placet.coordinator._addresses._is_eligible("https://127.0.0.1:2")


async def test_only_node_is_asked_through_the_coordinators_url(placet, coordinator, began):
    """With one node there is nothing to prefer, and nothing to probe."""
    coordinator.on("GET /v1/nodes", nodes(node("n1", began.url), node("n2", coordinator.url, is_live=False)))
    await order(placet)
    await placet.coordinator._addresses._look
    await order(placet)
    assert began.requests == []


async def test_nodes_are_looked_up_again_while_transactions_run(placet, balancer, began, monkeypatch):
    """A node that joined is found, without a call that waits for it."""
    balancer.on("GET /v1/nodes", problem(503, "unavailable"), balancer.scripts["GET /v1/nodes"][0])
    monkeypatch.setattr("placet.node_addresses.REFRESH_SECONDS", 0.0)
    await order(placet)
    await placet.coordinator._addresses._look
    await has_learned(placet, began)
    gid = await order(placet)
    assert began.sent("/commit")[-1].gid == gid


async def test_closing_during_a_look_up_leaves_nothing_behind(balancer, shop):
    """The client can be closed at any time."""
    announce(balancer, shop=[shop])
    hold = asyncio.Event()
    balancer.on("GET /v1/nodes", Answer(200, {"items": []}, after=hold))
    async with Client(balancer.url) as placet:
        await order(placet)
        await balancer.has("/v1/nodes")
        look = placet.coordinator._addresses._look
    assert look.cancelled()
    hold.set()
