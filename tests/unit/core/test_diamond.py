"""A diamond saga, killed at every point there is: every way that it can go is gone.

a, then b and c, then d after both. The coordinator is killed between any two calls; of the calls that were out each has
reached its participant, or reaches it later, or never; the row shows any state since the last write that was awaited.
Each world on the way checks its own promise: what is finished has left all effects, or none.
"""

from collections.abc import Hashable, Iterator

import pytest

from placet_contract.vocabulary import Status
from placet_coordinator.core.calling import released
from placet_coordinator.core.documents import encode_progress
from placet_coordinator.core.events import TimePassed
from placet_coordinator.core.moves import Step
from placet_coordinator.core.transaction import Transaction
from placet_coordinator.core.transitions import step
from unit.core.life import plan_of
from unit.core.world import Adoption, World, adoption

TIMEOUT_MS = 60_000
SOON_MS, TOO_LATE_MS = 1_000, 2 * TIMEOUT_MS
"""How long after a crash the transaction is taken up: within its timeout, or past it."""

DIAMOND = (
    {"branch_id": "a", "after": []},
    {"branch_id": "b", "after": ["a"]},
    {"branch_id": "c", "after": ["a"]},
    {"branch_id": "d", "after": ["b", "c"]},
)
WITH_PIVOT = ("a", {"branch_id": "p", "pivot": True}, "c")

End = tuple[Status, int]
"""A final status, and how many crashes were left when it was met."""


def ways(world: World, crashes: int, delays_ms: tuple[int, ...]) -> Iterator[tuple[World, int]]:
    """Yield every world that may come next, and how many crashes are left then."""
    for message in world.wire:
        yield (world.arrive(message) if message.answer is None else world.reply(message)), crashes
    transaction = world.memory
    if transaction is None:
        if world.rows[0].is_open:
            yield from ((world.adopt(delay_ms), crashes) for delay_ms in delays_ms)
        return
    if not transaction.is_open:
        return
    if crashes:
        yield from ((world.crash(row), crashes - 1) for row in world.rows)
    timeout_ms = transaction.times_out_at_ms
    if transaction.status is Status.ACTIVE and timeout_ms is not None and world.now_ms < timeout_ms:
        yield world.look(timeout_ms), crashes
    if all(message.stray for message in world.wire):
        assert transaction.next_due_at_ms is not None
        yield world.look(transaction.next_due_at_ms), crashes


def every_end(
    *steps: object,
    crashes: int,
    delays_ms: tuple[int, ...] = (SOON_MS, TOO_LATE_MS),
    adopt: Adoption = adoption,
    again: tuple[Status, ...] = tuple(Status),
) -> set[End]:
    """Go every way from the begin of a saga, and return the ends that were met.

    Args:
        steps: of the saga.
        crashes: at most so many.
        delays_ms: times from a crash to the adoption.
        adopt: how a transaction is taken up.
        again: the statuses in which the last crash of several may come.
    """
    seen: set[Hashable] = set()
    ends: set[End] = set()
    waiting = [(World.begun(plan_of("saga", *steps, timeout_ms=TIMEOUT_MS), adopt), crashes)]
    while waiting:
        world, left = waiting.pop()
        key = _print(world, left)
        if key in seen:
            continue
        seen.add(key)
        if world.status is not None and world.memory is not None and not world.memory.is_open:
            ends.add((world.status, left))
        for after, then_left in ways(world, left, delays_ms):
            if then_left < left and crashes > 1 and then_left == 0 and world.status not in again:
                continue
            waiting.append((after, then_left))
    return ends


def _print(world: World, crashes: int) -> Hashable:
    """Return what tells a world from others; what the store may hold matters only if it may yet be read."""
    is_read = crashes or world.memory is None
    rows = frozenset((row.status, encode_progress(row)) for row in world.rows) if is_read else None
    memory = None if world.memory is None else (world.memory.status, encode_progress(world.memory))
    return crashes, world.now_ms, memory, rows, frozenset(world.wire), world.marks


def test_diamond_that_nobody_kills_ends_with_all_effects_or_none():
    """Committed, or given up at its timeout, whatever arrives first."""
    assert every_end(*DIAMOND, crashes=0) == {(Status.COMMITTED, 0), (Status.ABORTED, 0)}


def test_diamond_killed_anywhere_ends_with_all_effects_or_none():
    """One kill between any two calls, at any state of the row, with any of the calls that were out having arrived."""
    ends = every_end(*DIAMOND, crashes=1)
    assert {status for status, left in ends if left == 0} == {Status.COMMITTED, Status.ABORTED}


def test_diamond_killed_and_taken_up_past_its_timeout_leaves_no_effect():
    """Its timeout passed while it was down: every way ends aborted, and nothing is left of any step."""
    ends = every_end(*DIAMOND, crashes=1, delays_ms=(TOO_LATE_MS,))
    assert {status for status, left in ends if left == 0} == {Status.ABORTED}


def test_diamond_killed_again_while_it_is_undone_leaves_no_effect():
    """A second kill between any two compensations changes nothing about the end."""
    ends = every_end(*DIAMOND, crashes=2, delays_ms=(TOO_LATE_MS,), again=(Status.ABORTING,))
    assert {status for status, left in ends if left < 2} == {Status.ABORTED}


def test_saga_with_a_pivot_killed_twice_ends_with_all_effects_or_none():
    """Before the pivot, at it, and beyond it, with both kills anywhere."""
    ends = every_end(*WITH_PIVOT, crashes=2)
    assert {status for status, left in ends if left == 0} == {Status.COMMITTED, Status.ABORTED}


def trusting(row: Transaction, now_ms: int) -> Step:
    """Take a transaction up as if its row proved what was not sent: the fault that the design warns of."""
    return step(released(row), TimePassed(), now_ms)


def test_exploration_finds_a_coordinator_that_trusts_its_row():
    """The rig can fail: a coordinator that takes what is not written for not sent leaves effects behind."""
    with pytest.raises(AssertionError, match="yet the effects are"):
        every_end(*DIAMOND, crashes=1, adopt=trusting)
