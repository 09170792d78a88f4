"""The one write that no version guards: each of its conditions."""

import pytest
from msgspec.structs import replace

from conformance.store.rows import CREATED_AT_MS, a_final_row, a_row, decide, insert
from placet_coordinator.ports.rows import Row
from placet_coordinator.ports.store import Store


async def test_decision_returns_the_row_as_it_then_is(store: Store):
    """The decider learns the documents and the version by the same write."""
    begun = a_row("g1", version=7, progress='{"n":1}', business_key="k")
    await store.write([insert(begun)])
    hits = await store.write([decide("g1")])
    decided = replace(
        begun,
        version=8,
        status="committing",
        owner="boot-of-node-b",
        written_by="boot-of-node-b:1",
        next_due_at_ms=CREATED_AT_MS + 99_000,
    )
    assert hits == {0: decided}
    assert await store.load("g1") == decided


async def test_abort_is_decided_with_its_reason(store: Store):
    """Reason and its text are set by the decision."""
    await store.write([insert(a_row("g1", pattern="xa"))])
    hits = await store.write([decide("g1", reason="initiator", reason_text="changed my mind")])
    decided = hits[0]
    assert decided is not None
    assert (decided.reason, decided.reason_text) == ("initiator", "changed my mind")


@pytest.mark.parametrize(
    "row",
    [
        a_row("g1", pattern="saga"),
        a_row("g1", pattern=None),
        a_row("g1", driven=True),
        a_row("g1", paused_at_ms=5),
        a_row("g1", status="committing"),
        a_row("g1", status="aborting", reason="timeout"),
        a_final_row("g1"),
        a_row("g1", format=2),
    ],
    ids=["saga", "no-pattern", "driven", "paused", "committing", "aborting", "final", "newer-format"],
)
async def test_decision_without_a_read_misses_what_needs_one(store: Store, row: Row):
    """The caller loads and steps instead; the row is as it was."""
    await store.write([insert(row)])
    assert await store.write([decide("g1")]) == {}
    assert await store.load("g1") == row


async def test_decision_on_an_unknown_gid_misses(store: Store):
    """A decision makes no row."""
    assert await store.write([decide("g1")]) == {}
    assert await store.load("g1") is None


async def test_first_decision_wins(store: Store):
    """A second one finds the transaction decided."""
    await store.write([insert(a_row("g1"))])
    assert len(await store.write([decide("g1")])) == 1
    abort = decide("g1", written_by="boot-of-node-b:2", status="aborting", reason="initiator")
    assert await store.write([abort]) == {}
    row = await store.load("g1")
    assert row is not None
    assert row.status == "committing"
