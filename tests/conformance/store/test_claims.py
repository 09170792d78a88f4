"""Recovery's claims: nothing that is open is forgotten, and nothing is claimed twice."""

import asyncio

import pytest
from msgspec.structs import replace

from conformance.store.rows import CREATED_AT_MS, OWNER, a_final_row, a_row, decide, insert, update
from conformance.store.sessions import lock_held
from placet_coordinator.ports.store import Store

NEVER_OVERDUE_MS = 0
LEASE_MS = 10_000


async def test_open_rows_of_a_lapsed_owner_are_claimed(store: Store):
    """The claim makes us the owner, adds to the version, and stamps the row; final rows stay as they are."""
    now_ms = await store.enrol("node-a", OWNER, "http://a", 1, LEASE_MS)
    final = a_final_row("final")
    await store.write([insert(a_row("g1")), insert(a_row("g2", status="committing")), insert(final)])
    assert await store.claim_lapsed("boot-b", now_ms, NEVER_OVERDUE_MS, 10) == [], "its owner lives"
    claimed = await store.claim_lapsed("boot-b", now_ms + LEASE_MS + 1_000, NEVER_OVERDUE_MS, 10)
    assert {row.gid for row in claimed} == {"g1", "g2"}
    for row in claimed:
        assert (row.owner, row.version) == ("boot-b", 2)
        assert row.written_by.startswith("boot-b:")
        assert await store.load(row.gid) == row
    assert await store.load("final") == final
    assert await store.claim_lapsed("boot-b", now_ms + LEASE_MS + 1_000, NEVER_OVERDUE_MS, 10) == [], "they are ours"


async def test_rows_of_an_owner_without_a_node_row_are_claimed(store: Store):
    """An owner that nobody knows is dead."""
    now_ms = await store.ping()
    await store.write([insert(a_row("g1", owner="forgotten"))])
    claimed = await store.claim_lapsed("boot-b", now_ms, NEVER_OVERDUE_MS, 10)
    assert [row.gid for row in claimed] == ["g1"]


async def test_late_write_of_the_old_owner_misses(store: Store):
    """The claim is a fence: whoever held the row before is behind by a version."""
    await store.write([insert(a_row("g1", owner="dead"))])
    now_ms = await store.ping()
    assert len(await store.claim_lapsed("boot-b", now_ms, NEVER_OVERDUE_MS, 10)) == 1
    assert await store.write([update(a_row("g1", owner="dead"), 1)]) == {}


async def test_claims_stamp_each_time_anew(store: Store):
    """Two claims of one owner are two writes, and can be told apart."""
    stamps = set()
    now_ms = await store.ping()
    for n in range(3):
        await store.write([insert(a_row(f"g{n}", owner="dead"))])
        (row,) = await store.claim_lapsed("boot-b", now_ms, NEVER_OVERDUE_MS, 10)
        stamps.add(row.written_by)
    assert len(stamps) == 3


async def test_overdue_rows_of_a_live_owner_are_claimed(store: Store):
    """An owner that lives and yet does not look after a row loses it."""
    now_ms = await store.enrol("node-a", OWNER, "http://a", 1, LEASE_MS)
    late = a_row("late", next_due_at_ms=CREATED_AT_MS)
    await store.write([insert(late), insert(a_row("soon", next_due_at_ms=CREATED_AT_MS + 10))])
    claimed = await store.claim_lapsed("boot-b", now_ms, CREATED_AT_MS + 5, 10)
    assert [row.gid for row in claimed] == ["late"]
    assert claimed[0].next_due_at_ms == late.next_due_at_ms
    assert await store.claim_lapsed("boot-b", now_ms, CREATED_AT_MS + 5, 10) == [], "our own aren't claimed again"


async def test_rows_of_a_newer_format_are_left_alone(store: Store):
    """A newer build drives them; we could not read them."""
    newer = a_row("newer", owner="dead", format=2)
    await store.write([insert(newer), insert(a_row("ours", owner="dead"))])
    now_ms = await store.ping()
    claimed = await store.claim_lapsed("boot-b", now_ms, now_ms, 10)
    assert [row.gid for row in claimed] == ["ours"]
    assert await store.load("newer") == newer


async def test_claims_come_in_pages_the_most_overdue_first(store: Store):
    """A limit is kept, and repeating gets the rest."""
    now_ms = await store.ping()
    await store.write([insert(a_row(f"g{n}", owner="dead", next_due_at_ms=CREATED_AT_MS + n)) for n in range(7)])
    pages = [await store.claim_lapsed("boot-b", now_ms, NEVER_OVERDUE_MS, 3) for _ in range(4)]
    assert [{row.gid for row in page} for page in pages] == [{"g0", "g1", "g2"}, {"g3", "g4", "g5"}, {"g6"}, set()]


async def test_decision_makes_its_node_the_owner_before_a_claim_can(store: Store):
    """Whoever writes a decision owns the row by the same write, so the other's claim finds it looked after."""
    now_ms = await store.enrol("node-b", "boot-of-node-b", "http://b", 1, LEASE_MS)
    await store.write([insert(a_row("g1", owner="dead"))])
    assert len(await store.write([decide("g1")])) == 1
    assert await store.claim_lapsed("boot-c", now_ms, NEVER_OVERDUE_MS, 10) == []


async def test_two_claimers_share_the_rows_without_overlap(two_stores: tuple[Store, Store]):
    """Together they get all, and no row twice."""
    total, page = 300, 20
    now_ms = await two_stores[0].ping()
    for start in range(0, total, 100):
        await two_stores[0].write([insert(a_row(f"g{n:03}", owner="dead")) for n in range(start, start + 100)])

    # Each claims as one boot and counts by rows: a row claimed twice would come back twice.
    await two_stores[0].enrol("node-b", "boot-b", "http://b", 1, LEASE_MS * 100)
    await two_stores[1].enrol("node-c", "boot-c", "http://c", 1, LEASE_MS * 100)

    async def claimed_by(store: Store, owner: str) -> list[str]:
        gids: list[str] = []
        for _ in range(total):
            rows = await store.claim_lapsed(owner, now_ms, NEVER_OVERDUE_MS, page)
            assert len(rows) <= page
            gids += [row.gid for row in rows]
            if not rows:
                break
        return gids

    first, second = await asyncio.gather(claimed_by(two_stores[0], "boot-b"), claimed_by(two_stores[1], "boot-c"))
    rest = await claimed_by(two_stores[0], "boot-b")
    assert sorted(first + second + rest) == [f"g{n:03}" for n in range(total)]
    owners = {row.gid: row.owner for row in await two_stores[0].load_many(first + second + rest)}
    assert owners == dict.fromkeys(first + rest, "boot-b") | dict.fromkeys(second, "boot-c")


async def test_claim_passes_locked_rows_over(server_url: str, two_stores: tuple[Store, Store]):
    """A stopped session's row waits for the next sweep; the others don't wait for it."""
    store = two_stores[0]
    now_ms = await store.ping()
    await store.write([insert(a_row(f"g{n}", owner="dead")) for n in range(3)])
    with lock_held(server_url, "g1"):
        claimed = await store.claim_lapsed("boot-b", now_ms, NEVER_OVERDUE_MS, 10)
        assert {row.gid for row in claimed} == {"g0", "g2"}
    claimed = await store.claim_lapsed("boot-b", now_ms, NEVER_OVERDUE_MS, 10)
    assert {row.gid for row in claimed} == {"g1"}


@pytest.mark.parametrize("limit", [1, 100])
async def test_due_rows_are_the_owners_open_ones_the_most_overdue_first(store: Store, limit: int):
    """Whose timer is in nobody's memory is found by the column."""
    rows = [a_row(f"g{n}", next_due_at_ms=CREATED_AT_MS + 100 - n) for n in range(4)]
    others = [a_row("other", owner="boot-b", next_due_at_ms=CREATED_AT_MS), a_final_row("final")]
    await store.write([insert(row) for row in rows + others])
    due = await store.due(OWNER, CREATED_AT_MS + 100, limit)
    assert due == [rows[3], rows[2], rows[1]][:limit]
    assert await store.due("nobody", CREATED_AT_MS + 100, limit) == []
    paused = replace(rows[3], paused_at_ms=1)
    assert await store.write([update(paused, 1)]) == {0: None}
    assert (await store.due(OWNER, CREATED_AT_MS + 100, 1))[0].paused_at_ms == 1
