"""The pivot: before it there is a way back, after it only forward."""

import pytest

from placet_coordinator.core.moves import RefusalKind
from unit.core.life import Life

PIVOT = {"branch_id": "p", "pivot": True}
STEPS = ("a", PIVOT, "c")


def at_pivot(*steps, **fields) -> Life:
    """Begin a saga whose pivot is out."""
    life = Life.of("saga", *(steps or STEPS), **fields)
    life.answer("a")
    assert life.calls == ["action p"]
    return life


def beyond_pivot(*steps) -> Life:
    """Begin a saga whose pivot is done and whose next step is out."""
    life = at_pivot(*steps)
    life.answer("p")
    assert life.calls == ["action c"]
    return life


def test_pivot_is_durable_before_it_is_sent():
    """The one send that the row proves, in both directions: marked, and awaited (decision 0001)."""
    life = at_pivot()
    assert life.progress("p").pivot_sent
    assert life.last.awaited is True


def test_other_steps_are_not_awaited():
    """Sends are not journaled: only a pivot, a decision and the begin wait for the store."""
    life = Life.of("saga", "a", "b")
    life.answer("a")
    assert life.last.awaited is False


def test_later_attempts_of_a_pivot_need_no_further_write():
    """The mark is there already."""
    life = at_pivot()
    life.answer("p", "lost")
    life.wait_until_due()
    assert life.calls == ["action p"]
    assert life.last.awaited is False


def test_pivot_done_decides_to_commit():
    """From here the saga is committing, and what comes next waits until that is durable."""
    life = beyond_pivot()
    assert life.status == "committing"
    assert life.last.awaited is True
    life.answer("c")
    assert life.status == "committed"


def test_pivot_as_the_last_step_commits_at_once():
    """Nothing is left after it."""
    life = at_pivot("a", PIVOT)
    life.answer("p")
    assert life.status == "committed"


def test_rejected_pivot_aborts():
    """Its own no is the one thing that still leads back; it needs no compensation, the steps before it do."""
    life = at_pivot()
    life.answer("p", "rejected")
    assert (life.status, life.transaction.reason) == ("aborting", "rejected")
    assert life.calls == ["compensate a"]
    life.finish()
    assert life.branch_statuses == {"a": "compensated", "p": "rejected", "c": "skipped"}


def test_pivot_once_sent_is_never_given_up_for_time():
    """Neither its `retry` limits nor the timeout end it; a human is told."""
    limited = {**PIVOT, "retry": {"max_attempts": 2, "for_ms": 5_000}}
    life = at_pivot("a", limited, "c", timeout_ms=10_000)
    for _ in range(40):
        life.answer("p", "lost")
        life.wait_until_due()
        assert life.status == "active"
        assert life.calls == ["action p"]
    assert life.now_ms > life.transaction.created_at_ms + 10_000
    assert life.transaction.attention is not None
    assert "used up its retries" in life.transaction.attention
    life.answer("p")
    assert life.status == "committing"
    assert life.transaction.attention is None


def test_pivot_rejected_after_its_limits_still_aborts():
    """Late as it comes, its own no leads back; other attempts of it are unanswered, so it is undone, too."""
    life = at_pivot("a", {**PIVOT, "retry": {"max_attempts": 1}}, "c")
    life.answer("p", "lost")
    life.wait_until_due()
    life.answer("p", "rejected")
    assert (life.status, life.calls) == ("aborting", ["compensate p"])
    assert life.transaction.attention is None


def test_abort_is_refused_once_the_pivot_was_sent():
    """409, while it is out and while it waits for its next attempt."""
    life = at_pivot()
    for happen in (lambda: None, lambda: life.answer("p", "lost")):
        happen()
        before = life.transaction
        refusal = life.abort().refusal
        assert refusal is not None
        assert refusal.kind is RefusalKind.DECIDED
        assert life.transaction is before


def test_abort_before_the_pivot_is_as_in_any_saga():
    """As long as it was not sent, there is a way back."""
    life = Life.of("saga", *STEPS)
    life.abort()
    life.finish()
    assert life.status == "aborted"
    assert life.branch_statuses == {"a": "compensated", "p": "skipped", "c": "skipped"}


@pytest.mark.parametrize("word", ["rejected", "late"])
def test_no_from_a_later_step_sets_attention_and_is_asked_again_slowly(word):
    """There is no way back: a human is told, and the step is retried at the slowest rate."""
    life = beyond_pivot()
    life.answer("c", word, chance=0.0)
    assert life.status == "committing"
    assert life.transaction.attention is not None
    assert life.due_in_ms == 30_000
    life.wait_until_due()
    assert life.calls == ["action c"]
    life.answer("c")
    assert life.status == "committed"


def test_later_step_is_retried_beyond_its_limits():
    """From the pivot on steps are retried for ever, with a human told once their limits are used up."""
    life = beyond_pivot("a", PIVOT, {"branch_id": "c", "retry": {"max_attempts": 2}})
    life.answer("c", "lost")
    assert life.transaction.attention is None
    for _ in range(30):
        life.wait_until_due()
        life.answer("c", "lost")
        assert life.status == "committing"
        assert life.transaction.attention is not None
    life.finish()
    assert life.status == "committed"


def test_abort_beyond_the_pivot_is_refused():
    """Commit was decided."""
    refusal = beyond_pivot().abort().refusal
    assert refusal is not None
    assert refusal.kind is RefusalKind.DECIDED


def test_second_pivot_is_sent_durably_too():
    """Each pivot carries its own mark; the first one done decides."""
    life = at_pivot("a", PIVOT, {"branch_id": "c", "pivot": True})
    life.answer("p")
    assert life.status == "committing"
    assert life.progress("c").pivot_sent
    life.answer("c", "rejected")
    assert life.status == "committing"


def test_steps_before_the_pivot_stay_parallel():
    """A pivot waits for all that come before it."""
    life = Life.of("saga", "a", {"branch_id": "b", "after": []}, {**PIVOT, "after": ["a", "b"]})
    life.answer("b")
    assert life.calls == []
    life.answer("a")
    assert life.calls == ["action p"]


def test_pivot_that_never_left_was_not_sent():
    """Nobody could be reached: its mark is lifted, and there is a way back (decision 0007)."""
    life = at_pivot()
    life.answer("p", "unsent")
    assert not life.progress("p").pivot_sent
    life.wait_until_due()
    assert life.calls == ["action p"]
    assert life.last.awaited is True, "it is marked durably again before it is sent again"
    life.answer("p", "unsent")
    life.abort()
    assert life.calls == ["compensate a"]
    assert life.branch_statuses["p"] == "skipped"


def test_limits_and_timeout_end_a_pivot_that_never_left():
    """It is a step like any other until it is sent."""
    life = at_pivot("a", {**PIVOT, "retry": {"max_attempts": 1}})
    life.answer("p", "unsent")
    assert (life.status, life.transaction.reason) == ("aborting", "exhausted")
    slow = at_pivot(timeout_ms=10_000)
    slow.answer("p", "unsent")
    slow.wait(10_000)
    assert (slow.status, slow.transaction.reason) == ("aborting", "timeout")


def test_mark_stays_if_any_attempt_may_have_left():
    """One that was lost is enough, whoever sent it."""
    life = at_pivot()
    life.answer("p", "lost")
    life.wait_until_due()
    life.answer("p", "unsent")
    assert life.progress("p").pivot_sent
    adopted = at_pivot()
    adopted.adopt()
    adopted.answer("p", "unsent")
    assert adopted.progress("p").pivot_sent
    assert adopted.abort().refusal is not None
