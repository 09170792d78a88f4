"""The connection breaks while a batch is out: the store says what it knows, and reading back tells the rest."""

import asyncio

import pytest

from conformance.store.conftest import OpenStore
from conformance.store.proxy import Proxy
from conformance.store.rows import a_row, an_attempt, decide, insert, update
from conformance.store.sessions import lock_held
from placet_coordinator.ports.rows import Row
from placet_coordinator.ports.store import Store, StoreUnavailable
from placet_coordinator.store.mysql import session as mysql_session
from placet_coordinator.store.postgres import session as postgres_session

SEEN_WITHIN_S = 20


async def seen(store: Store, gid: str, written_by: str) -> Row:
    """Return the row once another node sees that write."""
    async with asyncio.timeout(SEEN_WITHIN_S):
        while True:
            row = await store.load(gid)
            if row is not None and row.written_by == written_by:
                return row
            await asyncio.sleep(0.005)


@pytest.mark.parametrize("kind", ["insert", "update", "decide"])
async def test_lost_acknowledgement_is_told_as_unknown_and_reading_back_finds_the_write(
    server_url: str, open_store: OpenStore, kind: str
):
    """The server committed and its answer is lost: never told as written, never as not written."""
    direct = await open_store(server_url)
    async with Proxy(server_url) as proxy:
        store = await open_store(proxy.url)
        await store.write([insert(a_row("old", written_by="before"))])
        entry, warm = {
            "insert": (insert(a_row("new", written_by="ours"), an_attempt("new")), insert(a_row("x"), an_attempt("x"))),
            "update": (
                update(a_row("old", written_by="ours"), 1, an_attempt("old")),
                update(a_row("x"), 9, an_attempt("x")),
            ),
            "decide": (decide("old", written_by="ours"), decide("x")),
        }[kind]
        await store.write([warm])  # what the store prepares at first use is prepared now
        proxy.loses_answers = True
        writing = asyncio.create_task(store.write([entry]))
        committed = await seen(direct, entry.row.gid, "ours")
        proxy.cut()
        with pytest.raises(StoreUnavailable) as caught:
            await writing
        assert not caught.value.wrote_nothing
        # The store connects anew by itself, and knows its own write by its stamp.
        assert await store.load(entry.row.gid) == committed
        assert (await store.write([insert(a_row("afterwards"))])) == {0: None}


async def test_lost_request_is_told_as_unknown_and_reading_back_finds_nothing(server_url: str, open_store: OpenStore):
    """The same from the client's side, but the server never saw the batch."""
    async with Proxy(server_url) as proxy:
        store = await open_store(proxy.url)
        await store.write([insert(a_row("old"))])
        await store.write([update(a_row("old"), 1)])
        proxy.loses_requests = True
        writing = asyncio.create_task(store.write([update(a_row("old", written_by="ours"), 2)]))
        await proxy.got_request.wait()
        proxy.cut()
        with pytest.raises(StoreUnavailable) as caught:
            await writing
        assert not caught.value.wrote_nothing
        row = await store.load("old")
        assert row is not None
        assert row.version == 2
        assert row.written_by != "ours"
        assert await store.write([update(a_row("old", written_by="ours"), 2)]) == {0: None}


async def test_connection_that_broke_while_idle_is_replaced(server_url: str, open_store: OpenStore):
    """Whoever comes next is served, or told at most once that nothing was answered."""
    async with Proxy(server_url) as proxy:
        store = await open_store(proxy.url)
        await store.write([insert(a_row("g1"))])
        proxy.cut()
        answers = []
        for _ in range(3):
            try:
                answers.append(await store.write([insert(a_row("g2"))]))
            except StoreUnavailable:
                answers.append(None)
        assert answers.count(None) <= 1
        assert (await store.load("g2")) == a_row("g2")


async def test_unreachable_server_wrote_surely_nothing(server_url: str, open_store: OpenStore):
    """What was never sent may be repeated by the journal."""
    async with Proxy(server_url) as proxy:
        store = await open_store(proxy.url)
        await store.write([insert(a_row("g1"))])
        proxy.refuses = True
        proxy.cut()
        outcomes = []
        for n in range(5):
            with pytest.raises(StoreUnavailable) as caught:
                await store.write([insert(a_row(f"h{n}"))])
            outcomes.append(caught.value.wrote_nothing)
        assert outcomes[1:] == [True] * 4, "only a connection that broke with the request on it leaves doubt"
        for call in (store.load("g1"), store.ping(), store.due("x", 1, 1), store.free(["g1"])):
            with pytest.raises(StoreUnavailable) as caught:
                await call
        proxy.refuses = False
        async with asyncio.timeout(SEEN_WITHIN_S):
            while True:  # the pause after failed connects is bounded
                try:
                    assert await store.load_many([f"h{n}" for n in range(5)]) == []
                    break
                except StoreUnavailable:
                    await asyncio.sleep(0.02)


async def test_cancelled_write_leaves_the_store_usable(server_url: str, open_store: OpenStore):
    """The next batch gets its own answer, not the one that was given up."""
    async with Proxy(server_url) as proxy:
        store = await open_store(proxy.url)
        await store.write([insert(a_row("g1"))])
        proxy.loses_requests = True
        writing = asyncio.create_task(store.write([insert(a_row("g2")), insert(a_row("g3"))]))
        await proxy.got_request.wait()
        writing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await writing
        proxy.loses_requests = False
        assert await store.write([insert(a_row("g1", written_by="late")), insert(a_row("g4"))]) == {1: None}


async def test_statement_whose_answer_is_late_is_given_up_and_not_cancelled(
    server_url: str, open_store: OpenStore, monkeypatch: pytest.MonkeyPatch
):
    """Its outcome is unknown, and stays the server's affair: a cancelled COMMIT could be seen and yet be lost."""
    direct = await open_store(server_url)
    await direct.write([insert(a_row("g1")), insert(a_row("g2"))])
    for each in (postgres_session, mysql_session):
        monkeypatch.setattr(each, "ANSWER_LIMIT_S", 0.3)
    store = await open_store(server_url)
    late = update(a_row("g1", written_by="late"), 1, an_attempt("g1"))
    with lock_held(server_url, "g1"):
        with pytest.raises(StoreUnavailable) as caught:
            await store.write_aside(late)
        assert not caught.value.wrote_nothing
        assert await store.load("g1") == a_row("g1")
    row = await seen(direct, "g1", "late")
    assert row.version == 2
    assert await direct.attempts("g1", 5) == [an_attempt("g1")]


@pytest.mark.parametrize("what", ["decide", "claim"])
async def test_node_that_stops_before_it_reads_its_answer_locks_nobody_out(
    server_url: str, open_store: OpenStore, what: str
):
    """The server finishes alone even if the answer is larger than what fits on the way to a stopped process."""
    direct = await open_store(server_url)
    gids = [f"g{n:03}" for n in range(100)]
    large = '{"x":"' + "x" * 100_000 + '"}'
    for start in range(0, len(gids), 10):
        await direct.write([insert(a_row(gid, owner="dead", plan=large)) for gid in gids[start : start + 10]])
    now_ms = await direct.ping()
    async with Proxy(server_url) as proxy:
        store = await open_store(proxy.url)
        for gid in ("warm0", "warm1"):  # what the store prepares at first use is prepared now
            await store.write([insert(a_row(gid, owner="dead", next_due_at_ms=1))])
            await store.write([decide(gid)])
            await store.claim_lapsed("boot-b", now_ms, 0, 1)

        def stopped(request: bytes) -> bytes:
            """Stop when the changing statement goes out: PostgreSQL's first, by its name, MariaDB's by its text."""
            if server_url.startswith("postgres") or b"update" in request:
                proxy.answers_flow.clear()
            return request

        proxy.rewrites = stopped
        if what == "decide":
            working = asyncio.create_task(store.write([decide(gid, written_by=f"ours:{gid}") for gid in gids]))
        else:
            working = asyncio.create_task(store.claim_lapsed("boot-c", now_ms, 0, 1_000))
        async with asyncio.timeout(SEEN_WITHIN_S):
            while {row.owner for row in await direct.load_many(gids)} & {"dead", "boot-b"}:  # noqa: ASYNC110 - the server's
                await asyncio.sleep(0.01)
        assert not working.done()
        proxy.rewrites = None
        proxy.answers_flow.set()
        found = await working
        rows = found.values() if isinstance(found, dict) else found
        told = {row.gid: row for row in rows if row is not None}
        stored = {row.gid: row for row in await direct.load_many(gids)}
        assert {gid: told[gid] for gid in gids} == stored
