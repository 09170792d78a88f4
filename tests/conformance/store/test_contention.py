"""Several nodes on one server: one winner each time, and nobody waits for a stopped session for long."""

import asyncio

import pytest
from msgspec.structs import replace

from conformance.store.conftest import OpenStore
from conformance.store.rows import a_row, decide, insert, update
from conformance.store.sessions import lock_held, uncommitted_row
from placet_coordinator.ports.rows import Entry, Row
from placet_coordinator.ports.store import RowLocked, Store, WriteConflict

ROUNDS = 40
ATTEMPTS_MAX = 50


async def written(store: Store, batch: list[Entry]) -> dict[int, Row | None]:
    """Write a batch as the journal does: a conflict or a lock that wrote nothing is no answer yet."""
    for _ in range(ATTEMPTS_MAX):
        try:
            return await store.write(batch)
        except (WriteConflict, RowLocked):
            continue
    raise AssertionError("the batch met conflicts only")


async def test_of_two_batches_sent_at_once_exactly_one_wins_each_row(two_writers: tuple[Store, Store]):
    """Both reach the same version number with different content: the version alone could not tell whose it is."""
    gids = [f"g{n}" for n in range(8)]
    await two_writers[0].write([insert(a_row(gid)) for gid in gids])
    wins = [0, 0]
    for version in range(1, ROUNDS + 1):
        batches = [
            [
                update(a_row(gid, progress=f'{{"by":{node}}}', written_by=f"n{node}:{version}:{gid}"), version)
                for gid in gids
            ]
            for node in (0, 1)
        ]
        batches[1].reverse()
        first, second = await asyncio.gather(
            *(written(store, batch) for store, batch in zip(two_writers, batches, strict=True))
        )
        stored = {row.gid: row for row in await two_writers[0].load_many(gids)}
        winners = {batches[0][position].row.gid: 0 for position in first}
        for position in second:
            assert winners.setdefault(batches[1][position].row.gid, 1) == 1, "both were told that they won"
        assert winners.keys() == set(gids), "nobody was told"
        for gid, node in winners.items():
            assert stored[gid].version == version + 1
            assert stored[gid].written_by == f"n{node}:{version}:{gid}"
            assert stored[gid].progress == f'{{"by":{node}}}'
            wins[node] += 1
    assert sum(wins) == ROUNDS * len(gids)


async def test_of_two_inserts_sent_at_once_exactly_one_wins(two_writers: tuple[Store, Store]):
    """A gid begins once, whichever node is asked."""
    for number in range(ROUNDS):
        gids = [f"g{number}-{n}" for n in range(4)]
        batches = [[insert(a_row(gid, written_by=f"n{node}:{gid}")) for gid in gids] for node in (0, 1)]
        hits = await asyncio.gather(*(written(store, batch) for store, batch in zip(two_writers, batches, strict=True)))
        assert sorted([*hits[0], *hits[1]]) == [0, 1, 2, 3]
        for row in await two_writers[1].load_many(gids):
            node = 0 if gids.index(row.gid) in hits[0] else 1
            assert row.written_by == f"n{node}:{row.gid}"


async def test_of_two_decisions_sent_at_once_exactly_one_wins(two_writers: tuple[Store, Store]):
    """Commit on one node, abort on another, no version given: one of them is told the outcome."""
    for number in range(ROUNDS):
        gid = f"g{number}"
        await two_writers[0].write([insert(a_row(gid))])
        commit = decide(gid, written_by=f"commit:{gid}")
        abort = replace(
            decide(gid, written_by=f"abort:{gid}"),
            row=replace(decide(gid, written_by=f"abort:{gid}").row, status="aborting", reason="initiator"),
        )
        hits = await asyncio.gather(written(two_writers[0], [commit]), written(two_writers[1], [abort]))
        assert len(hits[0]) + len(hits[1]) == 1
        row = await two_writers[0].load(gid)
        assert row is not None
        assert (hits[0] or hits[1])[0] == row
        assert row.version == 2
        assert row.status == ("committing" if hits[0] else "aborting")


async def test_batches_in_opposite_order_do_not_deadlock_for_good(two_writers: tuple[Store, Store]):
    """Rows are locked in the order of their gids, or the loser hears of it: every batch gets its answer."""
    gids = [f"g{n:02}" for n in range(30)]
    await two_writers[0].write([insert(a_row(gid)) for gid in gids])
    expected = dict.fromkeys(gids, 1)
    for number in range(ROUNDS):
        one = [update(a_row(gid, written_by=f"0:{number}:{gid}"), expected[gid]) for gid in gids]
        other = [update(a_row(gid, written_by=f"1:{number}:{gid}"), expected[gid]) for gid in reversed(gids)]
        hits = await asyncio.gather(written(two_writers[0], one), written(two_writers[1], other))
        assert len(hits[0]) + len(hits[1]) == len(gids)
        for gid in gids:
            expected[gid] += 1


async def test_rows_are_locked_in_the_order_of_their_gids(server_url: str, two_stores: tuple[Store, Store]):
    """Whatever the batch's own order: so two batches never wait for each other.

    While the batch waits for g1, it holds g0, and g2 is still free.
    """
    store, other = two_stores
    await store.write([insert(a_row(f"g{n}")) for n in range(3)])
    seen: set[frozenset[str]] = set()
    with lock_held(server_url, "g1"):
        for _ in range(ATTEMPTS_MAX):  # PostgreSQL lets us look for 100 ms each time
            writing = asyncio.create_task(store.write([update(a_row(f"g{n}"), 1) for n in (2, 0, 1)]))
            while not writing.done():
                seen.add(frozenset(await other.free(["g0", "g2"])))
            with pytest.raises(RowLocked):
                await writing
            if frozenset({"g2"}) in seen:
                break
    assert frozenset({"g2"}) in seen
    assert seen <= {frozenset({"g2"}), frozenset({"g0", "g2"})}


async def test_stopped_session_delays_others_by_one_lock_timeout_at_most(
    server_url: str, two_stores: tuple[Store, Store]
):
    """The batch says that it met a lock, the store says which rows are free, and these are written at once."""
    store, other = two_stores
    await store.write([insert(a_row(f"g{n}")) for n in range(5)])
    batch = [update(a_row(f"g{n}", progress='{"n":1}'), 1) for n in range(5)]
    with lock_held(server_url, "g2"):
        loop = asyncio.get_running_loop()
        started = loop.time()
        with pytest.raises(RowLocked):
            await store.write([*batch, insert(a_row("new"))])
        # MariaDB counts in whole seconds: one; the rest is room for a busy machine.
        assert loop.time() - started < 1 + 3
        assert (await store.load("g0")) == a_row("g0"), "nothing was written"
        free = await store.free([*(f"g{n}" for n in range(5)), "new"])
        assert free == {"g0", "g1", "g3", "g4", "new"}
        assert await other.free(sorted(free)) == free, "asking locks nothing for longer than the question"
        free_ones = [entry for entry in batch if entry.row.gid in free]
        # That these get answers while the lock is held shows that they don't wait for it.
        assert len(await store.write(free_ones)) == 4
        assert len(await store.write([update(a_row("g0"), 2), insert(a_row("new"))])) == 2
        aside = asyncio.create_task(store.write_aside(batch[2]))
        assert len(await store.write([update(a_row("g1"), 2)])) == 1
        assert not aside.done()
    assert await aside == {0: None}


async def test_insert_that_waits_for_another_sessions_insert_says_so(server_url: str, open_store: OpenStore):
    """Another's uncommitted row of the same gid is a lock, too; once it is gone the insert hits."""
    store = await open_store(server_url)
    with uncommitted_row(server_url, "g1"):
        with pytest.raises(RowLocked):
            await store.write([insert(a_row("g1")), insert(a_row("g2"))])
        assert await store.load("g2") is None
        assert await store.write([insert(a_row("g2"))]) == {0: None}
    assert await store.write([insert(a_row("g1"))]) == {0: None}
