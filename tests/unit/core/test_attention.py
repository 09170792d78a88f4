"""Attention: what can't be finished by itself gets a cause in words; it is still retried, and cleared when done."""

import pytest

from placet_coordinator.core.calling import ATTENTION_AFTER_MS
from unit.core.life import Life


def failing_for(life: Life, branch_id: str, duration_ms: int, word: str = "lost") -> None:
    """Let the calls of a branch fail until so much time has passed."""
    end_ms = life.now_ms + duration_ms
    while life.now_ms < end_ms:
        life.answer(branch_id, word, chance=0.99)
        life.wait_until_due()


@pytest.mark.parametrize("decide", [Life.commit, Life.abort])
@pytest.mark.parametrize("word", ["lost", "unsent", "error", "ongoing"])
def test_call_that_fails_for_ten_minutes_gets_attention(decide, word):
    """Before that it is patience; after it a human hears of it, and it is retried at the cap."""
    life = Life.of("tcc", "a", "b")
    decide(life)
    life.answer("b")
    failing_for(life, "a", ATTENTION_AFTER_MS - 70_000, word)
    assert life.transaction.attention is None
    failing_for(life, "a", 140_000, word)
    life.answer("a", word, chance=0.99)
    assert life.transaction.attention is not None
    assert "of branch a is not done after 1" in life.transaction.attention
    assert life.due_in_ms == 59_400
    life.wait_until_due()
    assert len(life.calls) == 1


def test_refused_confirm_gets_attention_at_once_and_is_retried_slowly():
    """`not-tried`: the decision stands, a human has to look; it is cleared when the confirm is done."""
    life = Life.of("tcc", "a")
    life.commit()
    life.answer("a", "not-tried", chance=0.0)
    assert life.transaction.attention == "confirm of branch a: confirm without a try"
    assert life.due_in_ms == 30_000
    life.wait_until_due()
    life.answer("a", "lost")
    assert life.transaction.attention is not None
    life.wait_until_due()
    life.answer("a")
    assert life.status == "committed"
    assert life.transaction.attention is None


@pytest.mark.parametrize(("decide", "operation"), [(Life.commit, "confirm"), (Life.abort, "cancel")])
def test_participant_that_says_no_to_phase_two_gets_attention_at_once(decide, operation):
    """A confirm or cancel may not be refused: that is a breach of the protocol."""
    life = Life.of("tcc", "a")
    decide(life)
    life.answer("a", "rejected")
    assert life.transaction.attention is not None
    assert f"{operation} of branch a: refused" in life.transaction.attention


def test_refused_compensation_gets_attention_at_once():
    """Failing to undo has its own words."""
    life = Life.of("saga", "a", "b")
    life.answer("a")
    life.answer("b", "rejected")
    life.answer("a", "rejected")
    assert life.transaction.attention is not None
    assert life.transaction.attention.startswith("compensate of branch a: refused")


def test_attention_names_the_first_of_several_and_goes_with_the_last():
    """One text, as long as any branch is in trouble."""
    life = Life.of("tcc", "a", "b")
    life.commit()
    life.answer("b", "not-tried")
    life.answer("a", "not-tried")
    assert life.transaction.attention is not None
    assert "branch a" in life.transaction.attention
    life.wait_until_due()
    life.answer("a")
    assert life.transaction.attention is not None
    assert "branch b" in life.transaction.attention


def test_attention_for_an_action_ends_when_the_saga_turns_back():
    """The cause was the action's; undoing it is a new matter."""
    life = Life.of("saga", {"branch_id": "a", "retry": {"for_ms": 1_000_000}})
    failing_for(life, "a", 999_000)
    assert life.transaction.attention is not None
    while life.status == "active":
        life.answer("a", "lost")
        if life.status == "active":
            life.wait_until_due()
    assert life.transaction.reason == "exhausted"
    assert life.transaction.attention is None
    assert life.calls == ["compensate a"]


def test_attention_for_a_pivot_ends_when_it_is_rejected():
    """What a human was told about is over."""
    life = Life.of("saga", "a", {"branch_id": "p", "pivot": True, "retry": {"max_attempts": 1}})
    life.answer("a")
    life.answer("p", "lost")
    assert life.transaction.attention is not None
    life.wait_until_due()
    life.answer("p", "rejected")
    assert life.transaction.attention is None


def test_attention_survives_a_change_of_owner():
    """The trouble is the participant's, not the owner's."""
    life = Life.of("tcc", "a")
    life.commit()
    life.answer("a", "not-tried")
    life.adopt()
    assert life.transaction.attention is not None


def test_operators_nudge_calls_at_once_what_waits_and_nothing_that_is_out():
    """`retry` decides nothing: it only shortens the waiting."""
    life = Life.of("tcc", "a", "b")
    life.commit()
    life.answer("a", "not-tried")
    life.retry()
    assert life.calls == ["confirm a"]
    life.retry()
    assert life.calls == []
