"""The journal's writes: each is a compare-and-set, and what misses leaves no trace."""

import pytest
from msgspec.structs import replace

from conformance.store.rows import a_final_row, a_row, an_attempt, as_version, decide, insert, update
from placet_coordinator.ports.store import BadData, Store


async def test_inserted_row_is_read_back_as_it_was_written(store: Store):
    """Every column survives, of every type."""
    row = a_row(
        "g1",
        business_key="order-17",
        parent="p1/branch",
        reason="rejected",
        reason_text="no funds",
        attention="stuck",
        heuristic=True,
        driven=True,
        paused_at_ms=5,
        finished_at_ms=6,
    )
    assert await store.write([insert(row)]) == {0: None}
    assert await store.load("g1") == row


async def test_insert_of_an_existing_gid_misses_and_changes_nothing(store: Store):
    """The first insert stays, and the batch's other entries are written."""
    first = a_row("g1", name="first")
    await store.write([insert(first)])
    batch = [insert(a_row("g1", name="second", written_by="second"), an_attempt("g1")), insert(a_row("g2"))]
    assert await store.write(batch) == {1: None}
    assert await store.load("g1") == first
    assert await store.attempts("g1", 10) == []


async def test_update_hits_the_expected_version_alone(store: Store):
    """A writer that read an older or a not yet written version misses."""
    await store.write([insert(a_row("g1"))])
    changed = a_row("g1", status="committing", progress='{"n":2}')
    assert await store.write([update(changed, 2)]) == {}
    assert await store.write([update(replace(changed, written_by="late"), 0)]) == {}
    assert await store.load("g1") == a_row("g1")
    assert await store.write([update(changed, 1)]) == {0: None}
    assert await store.write([update(replace(changed, written_by="late"), 1)]) == {}
    assert await store.load("g1") == as_version(changed, 2)


async def test_update_of_a_gid_without_a_row_misses(store: Store):
    """An update never makes a row."""
    assert await store.write([update(a_row("g1"), 1)]) == {}
    assert await store.load("g1") is None


async def test_update_sets_every_column_that_a_step_may_change(store: Store):
    """What a step changes is written, nulls included, in both directions."""
    begun = a_row("g1")
    await store.write([insert(begun)])
    ended = replace(
        begun,
        status="aborted",
        reason="operator",
        reason_text="by hand",
        attention="told",
        heuristic=True,
        paused_at_ms=7,
        owner="boot-of-node-b",
        written_by="boot-of-node-b:7",
        next_due_at_ms=None,
        finished_at_ms=8,
        progress='{"n":1}',
    )
    assert await store.write([update(ended, 1)]) == {0: None}
    assert await store.load("g1") == as_version(ended, 2)
    assert await store.write([update(begun, 2)]) == {0: None}
    assert await store.load("g1") == as_version(begun, 3)


async def test_plan_is_rewritten_only_where_it_changed(store: Store):
    """A batch may hold both kinds of update."""
    await store.write([insert(a_row("g1")), insert(a_row("g2"))])
    batch = [
        update(a_row("g1", plan='{"branches":["registered"]}'), 1, plan_changed=True),
        update(a_row("g2", progress='{"n":2}'), 1),
    ]
    assert await store.write(batch) == {0: None, 1: None}
    first, second = await store.load("g1"), await store.load("g2")
    assert first is not None
    assert first.plan == '{"branches":["registered"]}'
    assert second == a_row("g2", version=2, progress='{"n":2}')


async def test_large_plan_survives_updates_that_leave_it_alone(store: Store):
    """A plan that the database keeps out of line is still there after its row was written again."""
    plan = '{"branches":["' + "".join(f"{n:x}-" for n in range(100_000)) + '"]}'
    await store.write([insert(a_row("g1", plan=plan)), insert(a_row("g2"))])
    await store.write([update(a_row("g1", progress='{"n":1}'), 1)])
    mixed = [
        update(a_row("g1", progress='{"n":2}'), 2),
        update(a_row("g2", plan='{"x":1}'), 1, plan_changed=True),
    ]
    assert await store.write(mixed) == {0: None, 1: None}
    assert await store.load("g1") == a_row("g1", plan=plan, version=3, progress='{"n":2}')


async def test_row_of_a_newer_format_is_not_written(store: Store):
    """Neither an update nor a decision of ours touches what a newer build wrote."""
    newer = a_row("g1", format=2)
    await store.write([insert(newer)])
    assert await store.write([update(a_row("g1"), 1)]) == {}
    assert await store.write([decide("g1")]) == {}
    assert await store.load("g1") == newer


async def test_side_rows_are_written_only_with_the_entry_that_hits(store: Store):
    """The attempt of a write that missed would tell of something that never became true."""
    await store.write([insert(a_row(f"g{n}")) for n in range(1, 4)])
    batch = [
        update(a_row("g1"), 1, an_attempt("g1", 1), an_attempt("g1", 2)),
        update(a_row("g2"), 9, an_attempt("g2")),
        replace(decide("g3"), attempts=(an_attempt("g3"),)),
        insert(a_row("g1x"), an_attempt("g1x")),
        update(a_row("absent"), 1, an_attempt("absent")),
    ]
    hits = await store.write(batch)
    assert sorted(hits) == [0, 2, 3]
    found = await store.attempts_of_many(["g1", "g2", "g3", "g1x", "absent"], 10)
    assert found == {
        "g1": [an_attempt("g1", 1), an_attempt("g1", 2)],
        "g3": [an_attempt("g3")],
        "g1x": [an_attempt("g1x")],
    }


async def test_full_batch_of_all_kinds_tells_each_entry_its_own_result(store: Store):
    """Of 256 mixed entries exactly those hit that should, at their positions."""
    stored = [a_row(f"g{n:03}") for n in range(192)]
    await store.write([insert(row) for row in stored])
    batch = []
    for n in reversed(range(256)):
        gid = f"g{n:03}"
        if n % 4 == 0:
            batch.append(insert(a_row(gid, written_by=f"x:{n}")))
        elif n % 4 == 1:
            batch.append(update(a_row(gid, written_by=f"x:{n}"), 1))
        elif n % 4 == 2:
            batch.append(update(a_row(gid, written_by=f"x:{n}"), 5))
        else:
            batch.append(decide(gid, written_by=f"x:{n}"))
    hits = await store.write(batch)
    hit_gids = {batch[position].row.gid for position in hits}
    expected = {f"g{n:03}" for n in range(256) if (n % 4 == 0 and n >= 192) or (n % 4 in {1, 3} and n < 192)}
    assert hit_gids == expected
    written = {
        row.gid for row in await store.load_many([entry.row.gid for entry in batch]) if row.written_by[:2] == "x:"
    }
    assert written == expected
    for position, decided in hits.items():
        assert (decided is not None) == (int(batch[position].row.gid[1:]) % 4 == 3)


async def test_ids_that_differ_in_case_only_are_two(store: Store):
    """Ids are bytes: 'A' never finds 'a', in writes, reads and side rows."""
    assert await store.write([insert(a_row("Gid-A", name="upper")), insert(a_row("gid-a", name="lower"))]) == {
        0: None,
        1: None,
    }
    batch = [update(a_row("GID-A"), 1), update(a_row("gid-a", progress='{"n":1}'), 1, an_attempt("gid-a"))]
    assert await store.write(batch) == {1: None}
    assert await store.write([decide("gID-a")]) == {}
    upper, lower = await store.load("Gid-A"), await store.load("gid-a")
    assert upper == a_row("Gid-A", name="upper")
    assert lower == a_row("gid-a", name="lower", version=2, progress='{"n":1}')
    assert await store.attempts("Gid-A", 10) == []
    assert await store.load("GID-A") is None


async def test_documents_and_texts_hold_any_text(store: Store):
    r"""An escaped \u0000 in a document, 4-byte UTF-8, quotes, backslashes and percent signs survive."""
    hard = "\U0001f4b8 'quoted' \"twice\" back\\slash %s :name $1 ? ; -- \n\r\t\x1a é"
    document = r'{"zero":"\u0000","high":"' + "\U0001f4b8" + r'","escaped":"\ud83d\ude00 \\ \" ' + "'" + '"}'
    row = a_row("g1", name=hard, reason_text=hard, attention=hard, plan=document, progress=document)
    await store.write([insert(row, an_attempt("g1", detail=hard))])
    assert await store.load("g1") == row
    assert await store.write([update(replace(row, plan=document), 1, plan_changed=True)]) == {0: None}
    assert await store.load("g1") == as_version(row, 2)
    assert [attempt.detail for attempt in await store.attempts("g1", 1)] == [hard]


async def test_trailing_spaces_tell_ids_and_keys_apart(store: Store):
    """No padding rule makes two texts one."""
    await store.write([insert(a_row("g1", business_key="k")), insert(a_row("g2", business_key="k "))])
    first = await store.load("g1")
    second = await store.load("g2")
    assert (first and first.business_key, second and second.business_key) == ("k", "k ")


@pytest.mark.parametrize(
    "spoil",
    [
        {"next_due_at_ms": None},
        {"status": "committed"},
        {"owner": None},
        {"name": "\ud800"},
        {"next_due_at_ms": 2**70},
    ],
    ids=["open-but-never-due", "final-but-due", "null", "lone-surrogate", "number-out-of-range"],
)
async def test_bad_value_is_refused_and_nothing_of_the_batch_is_written(store: Store, spoil: dict[str, object]):
    """The batch's good entries are not written either: the journal halves it to find the guilty one."""
    await store.write([insert(a_row("old"))])
    bad = a_row("bad", **spoil)
    batch = [insert(a_row("good")), update(a_row("old"), 1, an_attempt("old")), insert(bad)]
    with pytest.raises(BadData):
        await store.write(batch)
    assert await store.load_many(["good", "bad"]) == []
    assert await store.load("old") == a_row("old")
    assert await store.attempts("old", 5) == []
    with pytest.raises(BadData):
        await store.write_aside(insert(bad))
    assert await store.write(batch[:2]) == {0: None, 1: None}


async def test_bad_data_is_told_without_quoting_the_row(store: Store):
    """A payload may hold secrets, and errors go to logs."""
    bad = a_row("bad", next_due_at_ms=None, plan='{"card":"4111111111111111"}', progress='{"pin":"4111111111111111"}')
    with pytest.raises(BadData) as caught:
        await store.write([insert(bad)])
    assert "4111111111111111" not in str(caught.value)


async def test_side_write_is_guarded_like_the_others(store: Store):
    """A write on a side connection is the same compare-and-set."""
    assert await store.write_aside(insert(a_row("g1"))) == {0: None}
    assert await store.write_aside(insert(a_row("g1", written_by="late"))) == {}
    assert await store.write_aside(update(a_row("g1"), 1, an_attempt("g1"))) == {0: None}
    assert await store.write_aside(update(a_row("g1", written_by="late"), 1)) == {}
    hits = await store.write_aside(decide("g1"))
    assert hits[0] == await store.load("g1")


async def test_every_row_without_a_lock_is_free(store: Store):
    """Rows and gids without a row alike."""
    await store.write([insert(a_row("g1")), insert(a_final_row("g2"))])
    assert await store.free(["g1", "g2", "absent"]) == {"g1", "g2", "absent"}


async def test_final_row_may_be_recorded_at_once(store: Store):
    """An abort of a gid that nobody began is recorded as such: no pattern, no name."""
    row = a_final_row("g1", pattern=None, name=None, status="aborted", reason="initiator")
    assert await store.write([insert(row)]) == {0: None}
    assert await store.load("g1") == row


async def test_batch_is_one_round_trip_and_one_commit(store: Store):
    """Counted by the store itself, once its statements are prepared."""
    await store.write([insert(a_row(f"g{n}")) for n in range(3)])
    before = store.statistics()
    assert len(await store.write([insert(a_row(f"h{n}")) for n in range(100)])) == 100
    after = store.statistics()
    changed = {name: after[name] - before[name] for name in after}
    assert changed["round_trips"] == changed["commits"] == changed["batches"] == 1
    assert changed["entries"] == 100
