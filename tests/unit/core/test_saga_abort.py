"""A saga's way back: what is compensated, in which order, and when."""

import pytest

from placet_coordinator.core.moves import RefusalKind
from unit.core.life import Life, plan_of

DIAMOND = (
    "a",
    {"branch_id": "b", "after": ["a"]},
    {"branch_id": "c", "after": ["a"]},
    {"branch_id": "d", "after": ["b", "c"]},
)


def reached(*done: str, plan=DIAMOND, **fields) -> Life:
    """Begin a saga and let these steps be done."""
    life = Life.of("saga", *plan, **fields)
    for branch_id in done:
        life.answer(branch_id)
    return life


def test_rejection_compensates_what_was_done_and_not_the_rejected_step():
    """A business no is final: nothing ran in that step, so nothing is undone in it."""
    life = reached("a", "b", plan=("a", "b", "c"))
    decision = life.answer("c", "rejected")
    assert (life.status, life.transaction.reason, life.transaction.reason_text) == ("aborting", "rejected", "no")
    assert decision.awaited is True
    assert life.calls == ["compensate b"]
    life.answer("b")
    assert life.calls == ["compensate a"]
    life.answer("a")
    assert life.status == "aborted"
    assert life.branch_statuses == {"a": "compensated", "b": "compensated", "c": "rejected"}


def test_rejection_of_the_first_step_aborts_at_once():
    """Nothing ran, so nothing is owed."""
    life = reached(plan=("a", "b"))
    life.answer("a", "rejected")
    assert life.status == "aborted"
    assert life.branch_statuses == {"a": "rejected", "b": "skipped"}


def test_compensations_run_in_reverse_order_of_after():
    """In a diamond the two in the middle are undone in parallel, after the last and before the first."""
    life = reached("a", "b", "c")
    life.answer("d", "rejected")
    assert sorted(life.calls) == ["compensate b", "compensate c"]
    life.answer("b")
    assert life.calls == []
    life.answer("c", "lost")
    life.wait_until_due()
    assert life.calls == ["compensate c"]
    life.answer("c")
    assert life.calls == ["compensate a"]
    life.answer("a")
    assert life.status == "aborted"


def test_step_is_compensated_only_after_its_own_call_is_answered():
    """While an action is out it may be at work: its compensation waits, and so do the steps before it."""
    life = reached("a")
    life.answer("b", "rejected")
    assert (life.status, life.calls, life.out) == ("aborting", [], {"action c"})
    life.answer("c")
    assert life.calls == ["compensate c"]
    life.answer("c")
    assert life.calls == ["compensate a"]


def test_action_that_was_out_and_is_rejected_needs_no_compensation():
    """Its answer came while going back: it counts all the same."""
    life = reached("a")
    life.answer("b", "rejected")
    life.answer("c", "rejected")
    assert life.calls == ["compensate a"]
    assert life.branch_statuses["c"] == "rejected"


def test_action_that_was_out_and_never_left_is_skipped():
    """The coordinator knows that nothing was sent: there is nothing to undo."""
    life = reached("a")
    life.answer("b", "rejected")
    life.answer("c", "unsent")
    assert life.calls == ["compensate a"]
    assert life.branch_statuses["c"] == "skipped"


def test_unanswered_action_is_compensated_when_its_deadline_is_past():
    """It may have run and may still run until then."""
    life = reached("a")
    life.answer("c", "lost", open_for_ms=4_000)
    life.answer("b", "rejected")
    assert life.calls == []
    assert life.due_in_ms == 4_000
    life.wait(3_999)
    assert life.calls == []
    life.wait(1)
    assert life.calls == ["compensate c"]


def test_unanswered_action_is_compensated_at_once_if_its_deadline_is_past_already():
    """Nothing is waited for that can't come any more."""
    life = reached("a")
    life.answer("c", "lost")
    life.answer("b", "rejected")
    assert life.calls == ["compensate c"]


def test_done_is_the_answer_to_earlier_attempts_too():
    """A repeat has one effect and the same answer: nothing of the lost attempt is waited for."""
    life = reached(plan=("a", "b"))
    life.answer("a", "lost", open_for_ms=9_000)
    life.wait_until_due()
    life.answer("a")
    life.answer("b", "rejected")
    assert life.calls == ["compensate a"]


def test_earlier_attempt_keeps_a_step_busy_until_its_own_deadline():
    """Every unanswered attempt counts, not only the last; the latest deadline holds."""
    life = reached(plan=("a",))
    life.answer("a", "lost", open_for_ms=9_000)
    life.wait_until_due()
    life.answer("a", "lost", open_for_ms=1_000)
    life.abort()
    assert life.calls == []
    life.wait(8_000)
    assert life.calls == []
    life.wait(1_000)
    assert life.calls == ["compensate a"]


def test_answered_425_may_still_run_and_is_compensated_at_once():
    """A 425 is an answer; whoever gets the compensation while it runs says 425 to that, too."""
    life = reached(plan=("a",))
    life.answer("a", "ongoing")
    life.abort()
    assert life.calls == ["compensate a"]
    life.answer("a", "ongoing")
    life.wait_until_due()
    assert life.calls == ["compensate a"]


def test_compensation_is_repeated_until_it_is_done():
    """Failing to undo is never the end of it."""
    life = reached(plan=("a",))
    life.answer("a", "lost")
    life.abort()
    for _ in range(60):
        life.answer("a", "lost")
        life.wait_until_due()
        assert life.calls == ["compensate a"]
    life.answer("a")
    assert life.status == "aborted"


def test_steps_that_never_began_are_skipped():
    """An owner since begin knows what it never sent."""
    life = reached("a")
    life.abort()
    life.answer("b")
    life.answer("c")
    life.finish()
    assert life.branch_statuses == {"a": "compensated", "b": "compensated", "c": "compensated", "d": "skipped"}


def test_step_waiting_for_its_first_place_is_skipped():
    """A call that never left leaves nothing to undo, however often it was tried."""
    life = reached(plan=("a", "b"))
    life.answer("a", "unsent")
    life.wait_until_due()
    life.answer("a", "unsent")
    life.abort()
    assert life.status == "aborted"
    assert life.branch_statuses == {"a": "skipped", "b": "skipped"}


def test_initiator_may_abort_a_running_saga_and_repeat_it():
    """Abort is a decision like any other: the first wins, the same again is a repeat."""
    life = reached("a")
    life.abort("enough")
    assert (life.transaction.reason, life.transaction.reason_text) == ("initiator", "enough")
    before = life.transaction
    assert life.abort().transaction is before


def test_committed_saga_is_not_aborted():
    """After its last step a saga is over."""
    life = reached("a", plan=("a",))
    refusal = life.abort().refusal
    assert refusal is not None
    assert refusal.kind is RefusalKind.DECIDED


@pytest.mark.parametrize("happen", [Life.abort, Life.finish])
def test_begin_of_an_aborted_saga_is_refused(happen):
    """A submit that is repeated after the abort gets 409, as wire.md says of begin."""
    asked = plan_of("saga", "a")
    life = Life(asked)
    life.abort()
    happen(life)
    refusal = life.begin_again(asked).refusal
    assert refusal is not None
    assert refusal.kind is RefusalKind.DECIDED


def test_second_rejection_does_not_change_the_reason():
    """The first cause is the one that is told."""
    life = reached("a")
    life.answer("b", "late")
    life.answer("c", "rejected")
    assert life.transaction.reason == "late"


def test_compensation_call_begins_its_own_count():
    """Attempts, backoff and age belong to an operation: undoing starts afresh."""
    life = reached(plan=("a",))
    for _ in range(4):
        life.answer("a", "lost")
        life.wait_until_due()
    life.answer("a", "lost")
    life.abort()
    progress = life.progress("a")
    assert (progress.attempts, progress.tries_used, progress.first_at_ms) == (1, 0, life.now_ms)
