"""TCC: whoever begins it tries, and decides; the coordinator confirms or cancels everywhere."""

import pytest

from placet_coordinator.core.moves import RefusalKind
from unit.core.life import Life, plan_of


def test_begun_tcc_calls_nobody_and_is_due_at_its_timeout():
    """The tries are the initiator's; the coordinator waits for a decision, 30 s unless told otherwise."""
    life = Life.of("tcc", "a", "b")
    assert life.calls == []
    assert life.due_in_ms == 30_000
    assert Life.of("tcc", "a", timeout_ms=500).due_in_ms == 500


def test_commit_confirms_every_branch_at_once_and_only_when_durable():
    """Confirms run in parallel, and none goes out before the decision is written."""
    life = Life.of("tcc", "a", "b")
    decision = life.commit()
    assert life.status == "committing"
    assert life.calls == ["confirm a", "confirm b"]
    assert decision.awaited is True


def test_tcc_is_committed_when_the_last_confirm_is_done():
    """Confirms may be done in any order; the last one ends the transaction, without a reason."""
    life = Life.of("tcc", "a", "b")
    life.commit()
    life.answer("b")
    assert life.status == "committing"
    life.answer("a")
    assert life.status == "committed"
    assert life.branch_statuses == {"a": "confirmed", "b": "confirmed"}
    assert life.transaction.reason is None


def test_commit_without_branches_is_committed_at_once():
    """Nothing is owed to anybody."""
    life = Life.of("tcc")
    life.commit()
    assert life.status == "committed"


def test_abort_cancels_every_registered_branch_at_once():
    """Tried or not, in parallel, and none before the decision is written."""
    life = Life.of("tcc", "a")
    life.register("b")
    decision = life.abort("changed my mind")
    assert life.calls == ["cancel a", "cancel b"]
    assert decision.awaited is True
    assert (life.transaction.reason, life.transaction.reason_text) == ("initiator", "changed my mind")
    life.answer("a")
    life.answer("b")
    assert life.status == "aborted"
    assert life.branch_statuses == {"a": "cancelled", "b": "cancelled"}


@pytest.mark.parametrize("word", ["lost", "unsent", "error", "ongoing", "rejected", "late"])
@pytest.mark.parametrize(("decide", "operation"), [(Life.commit, "confirm"), (Life.abort, "cancel")])
def test_phase_two_is_repeated_until_it_is_done(decide, operation, word):
    """After the decision there is only forward: whatever a participant says, it is asked again, for ever."""
    life = Life.of("tcc", "a")
    decide(life)
    for attempt in range(1, 50):
        assert life.progress("a").attempts == attempt
        life.answer("a", word)
        assert life.calls == []
        life.wait_until_due()
        assert life.calls == [f"{operation} a"]
    life.answer("a")
    assert life.status in ("committed", "aborted")
    assert life.transaction.attention is None


def test_one_branch_that_fails_delays_no_other():
    """Each branch has its own backoff."""
    life = Life.of("tcc", "a", "b")
    life.commit()
    life.answer("a", "lost")
    assert life.out == {"confirm b"}
    life.wait_until_due()
    assert life.calls == ["confirm a"]
    life.answer("b")
    assert life.branch_statuses["b"] == "confirmed"
    assert life.out == {"confirm a"}


def test_registering_again_is_a_repeat_and_other_content_is_refused():
    """A branch_id stands for one branch; the same again changes nothing."""
    life = Life.of("tcc", "a")
    life.register("b", {"branch_id": "c", "payload": {"x": 1, "y": [2]}})
    before = life.transaction
    assert life.register("b", {"branch_id": "c", "payload": {"y": [2], "x": 1}}).transaction is before
    refusal = life.register({"branch_id": "b", "payload": 1}).refusal
    assert refusal is not None
    assert refusal.kind is RefusalKind.CONTENT_DIFFERS
    assert life.transaction is before


def test_registration_that_is_partly_new_adds_only_what_is_new():
    """A repeat that brings more adds the rest, once."""
    life = Life.of("tcc", "a")
    life.register("b")
    life.register("b", "c")
    assert list(life.branch_statuses) == ["a", "b", "c"]


@pytest.mark.parametrize("decide", [Life.commit, Life.abort])
def test_register_after_the_decision_is_refused_even_of_known_branches(decide):
    """A branch that came too late must not be missed silently: 409."""
    life = Life.of("tcc", "a")
    decide(life)
    refusal = life.register("a").refusal
    assert refusal is not None
    assert refusal.kind is RefusalKind.DECIDED


@pytest.mark.parametrize("is_final", [False, True])
def test_first_decision_wins_and_may_be_repeated(is_final):
    """Commit after commit is a repeat, the other decision is refused, during the second phase and after it."""
    for first, other in ((Life.commit, Life.abort), (Life.abort, Life.commit)):
        life = Life.of("tcc", "a")
        first(life)
        if is_final:
            life.finish()
        decided = life.transaction
        assert first(life).refusal is None
        assert life.transaction is decided
        refusal = other(life).refusal
        assert refusal is not None
        assert refusal.kind is RefusalKind.DECIDED
        assert life.transaction is decided


def test_stale_answers_change_nothing():
    """An answer counts only for the call that is out: not that of an earlier attempt, nor a second one."""
    life = Life.of("tcc", "a", "b")
    life.commit()
    life.answer("a", "lost")
    life.wait_until_due()
    before = life.transaction
    assert life.answer("a", attempt=1).transaction is before
    life.answer("a", attempt=2)
    after = life.transaction
    assert life.answer("a", "lost", attempt=2).transaction is after
    assert life.branch_statuses["a"] == "confirmed"


def test_same_begin_again_is_a_repeat_while_it_may_still_commit():
    """Begin is idempotent by gid: later branches and progress do not matter."""
    asked = plan_of("tcc", "a")
    life = Life(asked)
    life.register("b")
    for happen in (lambda: None, life.commit, life.finish):
        happen()
        before = life.transaction
        repeat = life.begin_again(asked)
        assert repeat.transaction is before
        assert repeat.refusal is None


def test_begin_of_an_aborted_gid_is_refused():
    """A begin that comes late finds its transaction given up: 409."""
    asked = plan_of("tcc", "a")
    life = Life(asked)
    life.abort()
    for _ in range(2):
        refusal = life.begin_again(asked).refusal
        assert refusal is not None
        assert refusal.kind is RefusalKind.DECIDED
        life.finish()
