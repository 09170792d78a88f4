"""Lists, counts, attempts, and forgetting."""

from typing import Any

import pytest

from conformance.store.rows import CREATED_AT_MS, a_final_row, a_row, an_attempt, insert
from placet_coordinator.ports.rows import ListFilter
from placet_coordinator.ports.store import Store


async def test_many_are_loaded_at_once_and_absent_ones_are_left_out(store: Store):
    """In any order, each once."""
    rows = {f"g{n}": a_row(f"g{n}") for n in range(300)}
    await store.write([insert(row) for row in list(rows.values())[:150]])
    await store.write([insert(row) for row in list(rows.values())[150:]])
    found = await store.load_many([*rows, "absent", "G1"])
    assert {row.gid: row for row in found} == rows
    assert len(found) == 300
    assert await store.load_many([]) == []


@pytest.mark.parametrize(
    ("wanted", "gids"),
    [
        ({}, ["g6", "g5", "g4", "g3", "g2", "g1"]),
        ({"status": "active"}, ["g5", "g1"]),
        ({"status": "committed"}, ["g3"]),
        ({"pattern": "saga"}, ["g2"]),
        ({"name": "transfer"}, ["g6", "g3", "g2", "g1"]),
        ({"name": "Transfer"}, []),
        ({"business_key": "order-1"}, ["g4"]),
        ({"parent": "p/1"}, ["g5"]),
        ({"attention": True}, ["g6"]),
        ({"attention": False, "name": "transfer"}, ["g3", "g2", "g1"]),
        ({"created_before_ms": CREATED_AT_MS + 3}, ["g3", "g2", "g1"]),
        ({"before": (CREATED_AT_MS + 3, "g3")}, ["g2", "g1"]),
        ({"status": "active", "pattern": "tcc", "before": (CREATED_AT_MS + 5, "g5")}, ["g1"]),
    ],
)
async def test_list_shows_what_was_asked_for_newest_first(store: Store, wanted: dict[str, Any], gids: list[str]):
    """Each filter alone, and some together."""
    await store.write(
        [
            insert(a_row("g1", created_at_ms=CREATED_AT_MS + 1)),
            insert(a_row("g2", created_at_ms=CREATED_AT_MS + 2, pattern="saga", status="committing")),
            insert(a_final_row("g3", created_at_ms=CREATED_AT_MS + 3)),
            insert(
                a_final_row("g4", created_at_ms=CREATED_AT_MS + 4, status="aborted", name=None, business_key="order-1")
            ),
            insert(a_row("g5", created_at_ms=CREATED_AT_MS + 5, name="other", parent="p/1")),
            insert(a_row("g6", created_at_ms=CREATED_AT_MS + 6, status="aborting", attention="cancel fails")),
        ]
    )
    assert [row.gid for row in await store.page(ListFilter(**wanted), 50)] == gids


async def test_filters_tell_trailing_spaces_and_accents_apart(store: Store):
    """What is found is what was written, byte by byte: no database's rules of comparison show through."""
    texts = ["k", "k ", "K", "ḱ", "k\t", "%s 100% 'quoted' back\\slash :name", "' or 1 = 1 -- "]
    await store.write([insert(a_row(f"g{n}", name=text, business_key=text)) for n, text in enumerate(texts)])
    for n, text in enumerate(texts):
        assert [row.gid for row in await store.page(ListFilter(name=text), 10)] == [f"g{n}"]
        assert [row.gid for row in await store.page(ListFilter(business_key=text), 10)] == [f"g{n}"]


async def test_pages_are_stable_while_rows_are_inserted(store: Store):
    """Newer rows don't shift a page, and rows of one instant are neither lost nor shown twice."""
    # Seven rows share each instant; the gid is the tie-break, compared as bytes.
    gids = [f"{'gG'[n % 2]}{n:02}" for n in range(21)]
    rows = [a_row(gid, created_at_ms=CREATED_AT_MS + n // 7) for n, gid in enumerate(gids)]
    await store.write([insert(row) for row in rows])
    expected = [row.gid for row in sorted(rows, key=lambda row: (row.created_at_ms, row.gid), reverse=True)]
    shown: list[str] = []
    before: tuple[int, str] | None = None
    for number in range(10):
        page = await store.page(ListFilter(before=before), 4)
        if not page:
            break
        shown += [row.gid for row in page]
        before = page[-1].created_at_ms, page[-1].gid
        await store.write([insert(a_row(f"newer{number}", created_at_ms=CREATED_AT_MS + 50))])
    assert shown == expected


async def test_last_attempts_are_shown_oldest_first(store: Store):
    """The limit cuts the older ones off, for each transaction by itself."""
    await store.write([insert(a_row("g1"), *(an_attempt("g1", n) for n in range(1, 6)))])
    await store.write([insert(a_row("g2"), an_attempt("g2", 1), an_attempt("g2", 2))])
    assert await store.attempts("g1", 3) == [an_attempt("g1", n) for n in (3, 4, 5)]
    assert await store.attempts("absent", 3) == []
    assert await store.attempts_of_many(["g1", "g2", "absent"], 2) == {
        "g1": [an_attempt("g1", 4), an_attempt("g1", 5)],
        "g2": [an_attempt("g2", 1), an_attempt("g2", 2)],
    }
    assert await store.attempts_of_many([], 2) == {}


async def test_counts_are_of_open_rows_and_of_those_that_need_a_human(store: Store):
    """What the metrics show."""
    await store.write(
        [
            insert(a_row("g1", created_at_ms=CREATED_AT_MS + 5)),
            insert(a_row("g2", created_at_ms=CREATED_AT_MS + 3)),
            insert(a_row("g3", pattern="saga", status="aborting", attention="stuck")),
            insert(a_final_row("g4", attention="heuristic")),
            insert(a_final_row("g5")),
        ]
    )
    assert sorted(await store.count_open()) == [
        ("saga", "aborting", 1, CREATED_AT_MS),
        ("tcc", "active", 2, CREATED_AT_MS + 3),
    ]
    assert sorted(await store.count_attention()) == [("saga", "aborting", 1), ("tcc", "committed", 1)]


async def test_due_rows_are_counted_with_the_first_of_them(store: Store):
    """What is due by now, and since when; rows that wait, and final ones, do not count."""
    assert await store.count_due(CREATED_AT_MS + 30_000) == (0, None)
    await store.write(
        [
            insert(a_row("g1", next_due_at_ms=CREATED_AT_MS + 29_995)),
            insert(a_row("g2", next_due_at_ms=CREATED_AT_MS + 30_000)),
            insert(a_row("g3", next_due_at_ms=CREATED_AT_MS + 30_001)),
            insert(a_final_row("g4")),
        ]
    )
    assert await store.count_due(CREATED_AT_MS + 30_000) == (2, CREATED_AT_MS + 29_995)


async def test_old_final_rows_are_purged_with_their_attempts_in_batches(store: Store):
    """Open rows stay however old, and so do final ones within the retention."""
    old = [a_final_row(f"old{n}", created_at_ms=CREATED_AT_MS + n, finished_at_ms=CREATED_AT_MS + 10) for n in range(5)]
    young = a_final_row("young", finished_at_ms=CREATED_AT_MS + 100)
    await store.write([insert(row, an_attempt(row.gid)) for row in [*old, young, a_row("open")]])
    assert await store.purge(CREATED_AT_MS + 10, 3) == 0
    assert await store.purge(CREATED_AT_MS + 50, 3) == 3
    assert await store.purge(CREATED_AT_MS + 50, 3) == 2
    assert await store.purge(CREATED_AT_MS + 50, 3) == 0
    gids = [*(row.gid for row in old), "young", "open"]
    assert {row.gid for row in await store.load_many(gids)} == {"young", "open"}
    assert set(await store.attempts_of_many(gids, 5)) == {"young", "open"}
