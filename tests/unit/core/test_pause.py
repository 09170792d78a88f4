"""While `paused_at` is set nothing is sent and nothing is timed out; what comes in still counts."""

import pytest

from unit.core.life import Life


def test_paused_tcc_is_not_timed_out():
    """Time passes over it."""
    life = Life.of("tcc", "a", timeout_ms=1_000)
    life.pause()
    life.wait(5_000)
    assert life.status == "active"
    life.adopt()
    assert life.status == "active"
    life.resume()
    assert (life.status, life.transaction.reason) == ("aborting", "timeout")


@pytest.mark.parametrize("happen", [Life.retry, Life.adopt, lambda life: life.wait(100_000)])
def test_paused_transaction_sends_nothing(happen):
    """Neither time, nor a new owner, nor an operator's nudge makes a call."""
    for life in (Life.of("tcc", "a"), Life.of("saga", "a")):
        if life.transaction.pattern == "tcc":
            life.commit()
        life.answer("a", "lost")
        life.pause()
        happen(life)
        assert life.calls == []
        life.resume()
        assert len(life.calls) == 1


def test_answers_to_calls_that_were_out_are_taken():
    """What was sent before the pause comes to its end; what follows from it waits."""
    life = Life.of("saga", "a", "b")
    life.pause()
    life.answer("a")
    assert life.branch_statuses["a"] == "done"
    assert life.calls == []
    life.resume()
    assert life.calls == ["action b"]


def test_last_answer_ends_a_paused_transaction():
    """Nothing has to be sent for that."""
    life = Life.of("tcc", "a")
    life.commit()
    life.pause()
    life.answer("a")
    assert life.status == "committed"


def test_decision_may_be_taken_while_paused_and_is_carried_out_afterwards():
    """A commit is a promise to the initiator: it is recorded, its confirms wait."""
    life = Life.of("tcc", "a")
    life.pause()
    life.commit()
    assert (life.status, life.calls) == ("committing", [])
    life.resume()
    assert life.calls == ["confirm a"]


def test_rejection_while_paused_aborts_and_compensates_afterwards():
    """The decision follows from the answer, not from time."""
    life = Life.of("saga", "a", "b")
    life.answer("a")
    life.pause()
    life.answer("b", "rejected")
    assert (life.status, life.calls) == ("aborting", [])
    life.resume()
    assert life.calls == ["compensate a"]


def test_paused_pivot_is_neither_marked_nor_sent():
    """The mark says that it may have been sent: it must not be set for nothing."""
    life = Life.of("saga", "a", {"branch_id": "p", "pivot": True})
    life.pause()
    life.answer("a")
    assert not life.progress("p").pivot_sent
    assert life.abort().refusal is None


@pytest.mark.parametrize("pattern", ["tcc", "saga"])
def test_paused_transaction_is_looked_at_seldom_and_in_time_to_come(pattern):
    """A retry or timeout that is over must not be looked at again at once, and for ever."""
    life = Life.of(pattern, "a", "b", timeout_ms=5_000)
    if pattern == "saga":
        life.answer("a", "lost")
    life.pause()
    life.wait(60_000)
    for _ in range(3):
        assert life.due_in_ms == 60_000
        life.wait_until_due()
        assert life.status == "active"


def test_paused_driven_tcc_does_not_abort_for_an_overdue_try():
    """That would be a timeout by another name."""
    life = Life.of("tcc", "a", drive=True, timeout_ms=900_000)
    life.pause()
    life.wait(100_000)
    assert life.status == "active"
    life.resume()
    assert (life.status, life.transaction.reason) == ("aborting", "unknown")


def test_answer_to_a_try_that_was_out_says_nothing_of_its_cancel():
    """The pause kept the cancel from being sent: a try that is done must not be taken for a cancel that is."""
    life = Life.of("tcc", "a", drive=True)
    life.pause()
    life.abort()
    assert life.out == {"try a"}
    life.answer("a")
    assert (life.status, life.branch_statuses) == ("aborting", {"a": "pending"})
    life.resume()
    assert life.calls == ["cancel a"]
    life.answer("a")
    assert life.status == "aborted"
