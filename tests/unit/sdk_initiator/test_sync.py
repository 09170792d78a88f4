"""The sync twins, from real threads: the same transactions, errors and rules as on the event loop."""

import asyncio
import contextlib
import signal
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from placet.client import Client
from placet.errors import Aborted, BranchOutcomeUnknown, CommitRefused, OutcomeUnknown, Rejected
from placet.settings import Settings
from placet.sync import SyncClient

from .conftest import HUNG, LOST, Answer, done, paths, problem, transaction
from .inside import inside
from .views import view

CHILD = Path(__file__).with_name("sync_child.py")


@pytest.fixture
async def sync(placet):
    """The sync twin of the client; closed with it."""
    return placet.sync


def loop_threads():
    return [thread for thread in threading.enumerate() if thread.name == "placet-sync"]


async def start_child(mode, url):
    return await asyncio.create_subprocess_exec(
        sys.executable, CHILD, mode, url, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )


async def test_block_registers_tries_and_commits(sync, coordinator, shop):
    """The order on the wire is that of the asynchronous block."""

    def order():
        with sync.tcc("order", key="k") as tx:
            assert tx.call("shop/a", {"sku": 1}, returns=dict[str, int]) == {"price": 5}
            tx.call("shop/b", branch_id="b")
            return tx.gid, tx.node, tx.joined

    gid, node, joined = await asyncio.to_thread(order)
    words = [word for word in paths(coordinator, shop) if word != "shop"]
    assert words == ["transactions", "try", "branches", "try", "commit"]
    assert coordinator.sent("/v1/transactions")[0].body["key"] == "k"
    assert (coordinator.sent("/commit")[0].gid, node, joined) == (gid, "n1", False)


async def test_many_threads_share_one_client_and_one_loop(sync, coordinator):
    """Transactions of different threads do not mix; only one thread is started for them all."""

    def orders(number):
        gids = []
        for _ in range(5):
            with sync.tcc(f"order-{number}") as tx:
                tx.call("shop/hold", number)
                tx.call("shop/hold", number)
            gids.append(tx.gid)
        return gids

    def all_orders():
        with ThreadPoolExecutor(8) as threads:
            return [gid for gids in threads.map(orders, range(8)) for gid in gids]

    gids = await asyncio.to_thread(all_orders)
    assert len(set(gids)) == 40
    assert {request.gid for request in coordinator.sent("/commit")} == set(gids)
    begins = {
        request.body["gid"]: request.body["branches"][0]["payload"] for request in coordinator.sent("transactions")
    }
    assert all(
        request.body["branches"][0]["payload"] == begins[request.gid] for request in coordinator.sent("branches")
    )
    assert len(loop_threads()) == 1


async def test_exception_of_the_block_aborts(sync, coordinator, shop):
    """What the block raises stays what it is."""
    shop.on("/try", problem(409, "rejected", detail="sold out"))

    def order():
        with sync.tcc("order") as tx:
            tx.call("shop/hold")

    with pytest.raises(Rejected, match="sold out"):
        await asyncio.to_thread(order)
    assert len(coordinator.sent("/abort")) == 1


@pytest.mark.parametrize(
    ("answer", "error"),
    [(LOST, OutcomeUnknown), (HUNG, OutcomeUnknown), (problem(409, "conflict", reason="timeout"), Aborted)],
    ids=["cut", "silent", "decided"],
)
async def test_commit_says_what_is_known(sync, coordinator, answer, error):
    """Unknown is no failure; 409 is the other decision."""
    coordinator.on("/commit", answer)

    def order():
        with sync.tcc("order", timeout=0.5) as tx:
            tx.call("shop/hold")

    with pytest.raises(error):
        await asyncio.to_thread(order)


async def test_block_joins_by_the_context_of_its_thread(sync, coordinator, shop):
    """A handler in the thread pool is inside its branch as an asynchronous one is."""

    def handler():
        with sync.tcc("inner") as tx:
            tx.call("shop/hold")
            return tx.gid, tx.joined

    with inside("try"):
        assert await asyncio.to_thread(handler) == ("outer", True)
    assert [request.headers["placet-branch"] for request in shop.requests] == ["7.1"]
    assert coordinator.sent("/commit") == []


async def test_saga_is_planned_submitted_and_waited_for(sync, coordinator):
    """The builder's words and results are the same."""
    coordinator.on("GET /v1/transactions/trip-1", Answer(200, view("trip-1", "committed", {"hotel.book": 7})))
    coordinator.on(
        "POST /v1/transactions",
        lambda request: transaction(request, "active", 201),
        lambda request: transaction(request, "committed"),
    )

    def trip():
        saga = sync.saga("trip", gid="trip-1", key="k", timeout="1h")
        assert saga.step("hotel/book", {"nights": 2}, timeout=3) == "hotel.book"
        run = saga.submit()
        assert (str(run), run.node, saga.gid) == ("trip-1", "n1", "trip-1")
        assert sync.wait("trip-1").status == sync.transaction("trip-1").status == "committed"
        return run.result(timeout=5).of("hotel/book")

    assert await asyncio.to_thread(trip) == 7
    assert coordinator.requests[0].body["branches"][0]["timeout_ms"] == 3_000


async def test_driven_tcc_is_run(sync, coordinator):
    """One request, and its wait."""
    coordinator.on("POST /v1/transactions", lambda request: transaction(request, "committed", 201))
    coordinator.on("GET /v1/transactions/t-1", Answer(200, view("t-1", "committed", {"1": 5})))

    def order():
        driven = sync.tcc_driven("order", gid="t-1").branch("shop/hold", {"sku": 1})
        assert driven.submit().gid == driven.gid
        return driven.run().results

    assert await asyncio.to_thread(order) == {"1": 5}


async def test_call_from_an_event_loops_thread_is_refused(sync, coordinator):
    """It would block the loop: the message says what to use."""
    with pytest.raises(RuntimeError, match="use the asynchronous client"), sync.tcc("order"):
        raise AssertionError("entered")
    assert coordinator.requests == []


async def test_closing_ends_the_thread_and_a_later_call_starts_another(coordinator, shop):
    """Nothing is left behind, and a closed client can be used again, as the asynchronous one can."""
    shop.on("/try", done())

    def use_and_close():
        with SyncClient(coordinator.url) as placet:
            for _ in range(2):
                with placet.tcc("order") as tx:
                    tx.call(f"{shop.url}/hold")
                assert len(loop_threads()) == 1
                placet.close()
                assert loop_threads() == []

    await asyncio.to_thread(use_and_close)
    assert len(coordinator.sent("/commit")) == 2


async def test_twin_keeps_the_settings_of_its_client(coordinator):
    """What was set for the one, such as the transport, holds for the other."""
    coordinator.on("GET /healthz", problem(503, "unavailable"))

    def order(sync):
        with sync.tcc("order") as tx, contextlib.suppress(BranchOutcomeUnknown):
            tx.call("http://127.0.0.1:1/hold")

    settings = Settings(url=coordinator.url, token="secret", transport="http")
    async with Client(settings=settings) as placet:
        with pytest.raises(CommitRefused):
            await asyncio.to_thread(order, placet.sync)
    assert coordinator.sent("/healthz") == []
    assert coordinator.requests[0].headers["authorization"] == "Bearer secret"


async def test_unused_client_starts_no_thread(coordinator):
    """Made at import, it costs nothing."""

    def make():
        with SyncClient(coordinator.url):
            return loop_threads()

    assert await asyncio.to_thread(make) == []


async def test_forked_child_has_connections_of_its_own(placet, coordinator, shop):
    """Parent and child go on with one client object, and a transaction stays with the process that began it."""
    child = await start_child("fork", coordinator.url)
    said, _ = await child.communicate()
    assert child.returncode == 0, said.decode()
    names = {request.body["gid"]: request.body["name"] for request in coordinator.sent("/v1/transactions")}
    assert [names[request.gid] for request in coordinator.sent("/commit")] == ["before", "child", "parents"]
    assert len(shop.requests) == 4


async def test_interrupted_call_aborts_its_transaction(placet, coordinator, shop):
    """Ctrl-C in a call that hangs: the try is given up, and the abort is sent before the process ends."""
    shop.on("/try", HUNG)
    child = await start_child("interrupt", coordinator.url)
    await shop.has("/hold/try")
    child.send_signal(signal.SIGINT)
    said, _ = await child.communicate()
    assert b"KeyboardInterrupt" in said
    assert len(coordinator.sent("/abort")) == 1
    assert coordinator.sent("/commit") == []
