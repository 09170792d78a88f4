"""When somebody looks again: always in time to come, never never, and a call whose end got lost is not waited for."""

import pytest

from placet_coordinator.core.calling import ANSWER_SLACK_MS, LOOK_AGAIN_MS
from unit.core.life import Life


@pytest.mark.parametrize(("pattern", "decide"), [("tcc", Life.commit), ("tcc", Life.abort), ("saga", lambda _: None)])
def test_call_that_is_out_is_looked_at_when_its_answer_is_overdue(pattern, decide):
    """Its own timeout, the longest wait for a place in the participant's queue, and room for a busy loop."""
    life = Life.of(pattern, {"branch_id": "a", "timeout_ms": 4_000})
    decide(life)
    assert life.due_in_ms == 4_000 + ANSWER_SLACK_MS


def test_transaction_that_waits_for_nothing_is_looked_at_every_minute():
    """None is forgotten."""
    life = Life.of("saga", {"branch_id": "a", "timeout_ms": 900_000})
    assert life.due_in_ms == LOOK_AGAIN_MS


@pytest.mark.parametrize(("decide", "operation"), [(Life.commit, "confirm"), (Life.abort, "cancel")])
def test_phase_two_call_that_came_to_no_end_is_made_again(decide, operation):
    """Whoever makes calls promises their end; if it is lost all the same, the transaction still moves."""
    life = Life.of("tcc", "a")
    decide(life)
    life.wait_until_due()
    assert life.calls == [f"{operation} a"]
    assert life.progress("a").attempts == 2
    assert life.due_in_ms is not None
    assert life.due_in_ms > 0


def test_action_that_came_to_no_end_counts_as_unanswered():
    """It may have run: it is called again, counts against the limits, and a later rejection does not clear it."""
    life = Life.of("saga", {"branch_id": "a", "retry": {"max_attempts": 3}})
    life.wait_until_due()
    assert life.calls == ["action a"]
    life.answer("a", "rejected")
    assert life.calls == ["compensate a"]


def test_limits_end_a_step_whose_calls_never_come_to_an_end():
    """The count goes on, so the saga is given up like any other when an answer finally says unknown."""
    life = Life.of("saga", {"branch_id": "a", "retry": {"max_attempts": 2}})
    life.wait_until_due()
    life.answer("a", "lost")
    assert life.transaction.reason == "exhausted"


def test_compensation_does_not_wait_for_ever_for_an_action_that_came_to_no_end():
    """Its answer is overdue long after its own deadline: it is taken for unanswered, and undone."""
    life = Life.of("saga", "a")
    life.abort()
    assert life.calls == []
    life.wait_until_due()
    assert life.calls == ["compensate a"]


def test_look_in_vain_changes_nothing_but_the_time():
    """Looking early costs no call."""
    life = Life.of("tcc", "a")
    life.commit()
    life.answer("a", "lost", chance=0.9)
    due_in_ms = life.due_in_ms
    assert due_in_ms is not None
    life.wait(due_in_ms - 1)
    assert life.calls == []
    assert life.due_in_ms == 1


def test_timeout_that_is_over_is_looked_at_next_not_in_the_past():
    """A request that comes between the timeout and its look leaves the look for the very next moment."""
    life = Life.of("tcc", timeout_ms=1_000)
    life.now_ms += 2_000
    life.register("a")
    assert life.due_in_ms == 1
    life.wait_until_due()
    assert life.transaction.reason == "timeout"


def test_overdue_call_is_made_again_only_when_it_is_looked_at():
    """An answer of another branch at that moment must not send a second call beside the one that is out."""
    life = Life.of("tcc", "a", "b")
    life.commit()
    life.now_ms += 10_000 + ANSWER_SLACK_MS
    life.answer("b")
    assert life.calls == []
    assert life.out == {"confirm a"}
    life.wait(1)
    assert life.calls == ["confirm a"]
