"""A change of owner: what was sent before and is not answered in the row counts as unanswered."""

import pytest
from msgspec.structs import replace

from placet_contract.vocabulary import Reason, Status
from placet_coordinator.core.events import Adopted, CommitAsked
from placet_coordinator.core.transitions import step
from unit.core.life import BEGUN_AT_MS, Life, plan_of


def test_adopted_saga_calls_again_what_the_row_does_not_show_as_done():
    """The barrier answers as before; what is done stays done."""
    life = Life.of("saga", "a", "b", "c")
    life.answer("a")
    life.adopt()
    assert life.calls == ["action b"]
    assert life.progress("b").attempts == 2


def test_adopted_saga_past_its_timeout_undoes_every_step_that_may_have_begun():
    """The row does not prove that a step was not sent: all are undone, last first, once their deadline is past."""
    life = Life.of("saga", "a", "b", "c", timeout_ms=1_000)
    life.now_ms += 5_000
    life.adopt()
    assert (life.status, life.calls, life.due_in_ms) == ("aborting", [], 10_000)
    life.wait_until_due()
    assert life.calls == ["compensate c"]
    life.finish()
    assert set(life.branch_statuses.values()) == {"compensated"}


def test_adopted_steps_are_busy_for_one_call_of_theirs():
    """The earlier owner may have sent it the moment before: its own timeout bounds the work."""
    life = Life.of("saga", {"branch_id": "a", "timeout_ms": 3_000}, timeout_ms=1_000)
    life.wait(1_000)
    life.adopt()
    assert life.due_in_ms == 3_000


def test_adopted_saga_keeps_what_the_row_proves():
    """Done is undone, rejected and skipped are over, compensated is not asked again."""
    plan = ("a", "b", {"branch_id": "c", "compensate": False}, "d")
    life = Life.of("saga", *plan)
    for branch_id in ("a", "b", "c"):
        life.answer(branch_id)
    life.answer("d", "rejected")
    life.answer("b")
    assert life.branch_statuses == {"a": "done", "b": "compensated", "c": "skipped", "d": "rejected"}
    life.adopt()
    assert life.calls == ["compensate a"]
    life.answer("a")
    assert life.status == "aborted"


def test_unsent_pivot_and_all_after_it_are_proved_not_to_have_run():
    """A pivot is written before it is sent: without its mark nothing of it or behind it needs undoing."""
    life = Life.of("saga", "a", {"branch_id": "p", "pivot": True}, "c", timeout_ms=1_000)
    life.now_ms += 2_000
    life.adopt()
    life.finish()
    assert life.branch_statuses == {"a": "compensated", "p": "skipped", "c": "skipped"}


def test_adopted_pivot_is_called_again_and_not_aborted():
    """Its mark says that it may have run: only its own rejection leads back, and then it is undone, too."""
    life = Life.of("saga", "a", {"branch_id": "p", "pivot": True}, timeout_ms=1_000)
    life.answer("a")
    life.now_ms += 2_000
    life.adopt()
    assert (life.status, life.calls) == ("active", ["action p"])
    life.answer("p", "rejected")
    assert life.status == "aborting"
    life.finish()
    assert life.branch_statuses == {"a": "compensated", "p": "compensated"}


def test_adopted_steps_behind_a_second_pivot_are_proved_too():
    """Between two pivots a step may have run; behind the second, unsent one it can't have."""
    pivots = [{"branch_id": "p", "pivot": True}, "b", {"branch_id": "q", "pivot": True}, "d"]
    life = Life.of("saga", *pivots)
    life.answer("p")
    life.adopt()
    doubted = [branch.branch_id for branch in life.transaction.branches if life.progress(branch.branch_id).unanswered]
    assert doubted == ["b"]


def test_adoption_keeps_count_of_attempts_and_time():
    """Limits are of the step, not of its owner; backoff does not begin anew."""
    life = Life.of("saga", {"branch_id": "a", "retry": {"for_ms": 10_000}})
    life.answer("a", "lost")
    life.wait(2_000)
    life.adopt()
    assert life.progress("a").attempts > 1
    life.wait(8_500)
    life.answer("a", "lost")
    assert life.transaction.reason == "exhausted"


def test_answer_to_an_earlier_owners_call_is_stale():
    """It was made by another copy; this one's own call is out under a later number."""
    life = Life.of("saga", "a", "b")
    life.adopt()
    before = life.transaction
    assert life.answer("a", attempt=1).transaction is before


@pytest.mark.parametrize("decide", [Life.commit, Life.abort])
def test_adopted_second_phase_is_called_again_at_once(decide):
    """Neither a call that is out nor a backoff is known to the new owner."""
    life = Life.of("tcc", "a", "b", "c")
    decide(life)
    first = life.calls
    life.answer("a", "lost")
    life.answer("b")
    life.adopt()
    assert life.calls == [first[0], first[2]]


@pytest.mark.parametrize(
    ("status", "reason", "final"),
    [(Status.COMMITTING, None, "committed"), (Status.ABORTING, Reason.INITIATOR, "aborted")],
)
def test_decision_written_without_a_read_is_carried_out(status, reason, final):
    """The columns were changed and the documents not: the adoption starts the second phase, and notes the time."""
    life = Life.of("tcc", "a")
    life.last = replace(life.last, transaction=replace(life.transaction, status=status, reason=reason))
    life.now_ms += 10
    life.adopt()
    assert len(life.calls) == 1
    assert life.transaction.decided_at_ms == BEGUN_AT_MS + 10
    life.finish()
    assert life.status == final
    assert life.transaction.decided_at_ms == BEGUN_AT_MS + 10


def test_decision_without_a_read_on_no_branches_is_final():
    """Nothing is owed."""
    decided = replace(plan_of("tcc"), status=Status.COMMITTING, next_due_at_ms=BEGUN_AT_MS)
    assert step(decided, Adopted(), BEGUN_AT_MS + 5).transaction.status is Status.COMMITTED


def test_adopted_active_tcc_goes_on_waiting_for_its_initiator():
    """It was not driven by the owner, so a change of owner breaks nothing."""
    life = Life.of("tcc", "a")
    life.wait(10_000)
    life.adopt()
    assert (life.status, life.due_in_ms) == ("active", 20_000)
    assert life.take(CommitAsked()).refusal is None


def test_adopting_again_and_again_only_waits_longer():
    """A crash loop undoes nothing twice at once and forgets nothing."""
    life = Life.of("saga", "a", "b", timeout_ms=1_000)
    life.answer("a")
    for _ in range(5):
        life.now_ms += 4_000
        life.adopt()
        assert (life.status, life.calls, life.due_in_ms) == ("aborting", [], 10_000)
    life.wait_until_due()
    assert life.calls == ["compensate b"]


def test_adopted_compensation_is_called_again_at_once():
    """Its action's deadline had passed when the earlier owner sent it; nothing of it is waited for again."""
    life = Life.of("saga", "a", "b")
    life.answer("a")
    life.answer("b", "lost")
    life.abort()
    assert life.calls == ["compensate b"]
    life.adopt()
    assert life.calls == ["compensate b"]
    life.answer("b")
    assert life.calls == ["compensate a"]


def test_adopted_rejection_that_is_undone_waits_only_for_what_was_unanswered():
    """Its answer is in the row, and so is the deadline of the attempt that was lost."""
    life = Life.of("saga", "a")
    life.answer("a", "lost", open_for_ms=4_000)
    life.wait_until_due()
    life.answer("a", "rejected")
    life.adopt()
    assert (life.calls, life.now_ms + (life.due_in_ms or 0)) == ([], BEGUN_AT_MS + 4_000)
    life.wait_until_due()
    assert life.calls == ["compensate a"]
