"""The coordinator is killed with SIGKILL while the SDK waits for its word, and comes back: the outcome is told."""

# ruff: noqa: PT012 - the block that raises when it is left is the claim

import asyncio
from concurrent.futures import ThreadPoolExecutor

import pytest

from acceptance.participant import Participant
from acceptance.processes import Server, until
from placet import Client, OutcomeUnknown, SyncClient

from .conftest import over_http
from .proxy import Fate, Proxy


@pytest.fixture
def server(sqlite_url, tmp_path):
    """A coordinator that may be killed; the services know the shared one, so it calls them by URL."""
    alone = Server(sqlite_url, tmp_path, PLACET_NODE_ID="one")
    try:
        yield alone.run()
    finally:
        alone.stop()


@pytest.fixture
def hold(system):
    """The targets of north's and south's hold."""
    return f"{system.north.url}/placet/hold", f"{system.south.url}/placet/hold"


def restart(server):
    server.kill()
    server.run()


@pytest.mark.parametrize("fate", [Fate.REQUEST_LOST, Fate.ANSWER_LOST], ids=["before", "after the decision"])
async def test_commit_outlives_the_coordinators_death(server, hold, system, order, fate):
    """Killed before or after it wrote the decision, it is asked again until it is back; then the block is left."""
    restarts = []

    async def kill_and_start_again():
        await asyncio.to_thread(server.kill)
        restarts.append(asyncio.create_task(asyncio.to_thread(server.run)))

    async with Proxy(server.url) as proxy, Client(settings=over_http(proxy.url)) as placet:
        proxy.before_loss = kill_and_start_again
        proxy.lose("/commit", fate, times=1)
        async with placet.tcc("order", timeout=100) as tx:
            for target in hold:
                await tx.call(target, {"order": order})
        await asyncio.gather(*restarts)
        assert (len(restarts), proxy.seen("/commit") >= 2) == (1, True)
        assert (await placet.wait(tx.gid)).status == "committed"
    assert await system.north.entries(order) == await system.south.entries(order) == ["confirmed"]


async def test_commit_over_tcp_outlives_the_coordinators_death(server, hold, system, order):
    """Frozen as the commit goes out, then killed and started again: the multiplexed connection is no other case."""
    async with Client(server.url) as placet:
        async with placet.tcc("before") as tx:
            await tx.call(hold[0], {"order": f"{order}-before"})
        await asyncio.gather(*placet.coordinator._ways._looks)
        assert placet.coordinator._ways.tcp_url_of(server.url) is not None
        async with placet.tcc("order", timeout=100) as tx:
            await tx.call(hold[0], {"order": order})
            server.freeze()
            restarting = asyncio.create_task(asyncio.to_thread(restart, server))
        await restarting
        assert (await placet.wait(tx.gid)).status == "committed"
    assert await system.north.entries(order) == ["confirmed"]


async def test_unknown_outcome_is_told_once_the_coordinator_is_back(server, hold, system, order):
    """The block gives up before the restart: `wait` then says what the dead coordinator had decided."""
    async with Proxy(server.url) as proxy, Client(settings=over_http(proxy.url)) as placet:
        proxy.before_loss = lambda: asyncio.to_thread(server.kill)
        proxy.lose("/commit", Fate.ANSWER_LOST, times=1)
        with pytest.raises(OutcomeUnknown) as caught:
            async with placet.tcc("order", timeout=5) as tx:
                await tx.call(hold[0], {"order": order})
        with pytest.raises(OutcomeUnknown):
            await placet.wait(tx.gid, timeout=0.3)
        await asyncio.to_thread(server.run)
        assert (await placet.wait(caught.value.gid)).status == "committed"
    assert await system.north.entries(order) == ["confirmed"]


async def test_saga_goes_on_by_itself_and_its_wait_goes_on_too(server, system, order):
    """A step is held up while the coordinator dies: whoever waits for the result gets it when both are back."""
    with Participant() as courier:
        courier.hold("ship/action")
        async with Client(server.url) as placet:
            saga = placet.saga("trip", gid=order)
            saga.step(f"{system.north.url}/placet/book", {"order": order})
            saga.step(f"{courier.url}/ship", {"order": order})
            run = await saga.submit()
            waiting = asyncio.create_task(run.result(timeout=100))
            await asyncio.to_thread(until, "the second step is under way", lambda: courier.arrived("ship/action"))
            await asyncio.to_thread(restart, server)
            courier.release()
            result = await waiting
    assert result.view.status == "committed"
    assert await system.north.entries(order) == ["booked"]


async def test_one_story_on_every_database(own_system, database_url, order):
    """Commit, abort, nesting, saga and the sync twin from many threads, whatever the coordinator keeps them in."""
    system = await asyncio.to_thread(own_system, database_url)
    async with Client(system.server.url) as placet:
        async with placet.tcc("nested") as tx:
            await tx.call("north/hold", {"order": order, "then": ["south/hold"]})
        assert (await placet.wait(tx.gid)).status == "committed"
        with pytest.raises(ZeroDivisionError):
            async with placet.tcc("undone") as tx:
                await tx.call("north/hold", {"order": f"{order}-undone"})
                raise ZeroDivisionError
        assert (await placet.wait(tx.gid)).status == "aborted"
        saga = placet.saga("trip", gid=order)
        saga.step("north/book", {"order": f"{order}-saga"})
        assert (await (await saga.submit()).result(timeout=20)).view.status == "committed"
        gids = await asyncio.to_thread(orders_in_threads, system.server.url, order)
        assert {(await placet.wait(gid)).status for gid in gids} == {"committed"}
    assert await system.south.entries(order) == ["confirmed"]
    assert await system.north.entries(f"{order}-undone") == ["cancelled"]
    assert await system.north.entries(f"{order}-thread") == ["confirmed"] * 12


def orders_in_threads(url, order):
    """Runs three transactions in each of four threads, by one client."""

    def orders(placet):
        gids = []
        for _ in range(3):
            with placet.tcc("threads") as tx:
                tx.call("north/hold", {"order": f"{order}-thread"})
            gids.append(tx.gid)
        return gids

    with SyncClient(url) as placet, ThreadPoolExecutor(4) as threads:
        return [gid for gids in threads.map(orders, [placet] * 4) for gid in gids]
