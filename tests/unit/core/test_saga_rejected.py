"""Rejected is final only for what it is, and late means that nothing more will run."""

import pytest

from unit.core.life import Life


def test_rejection_of_a_first_attempt_is_final():
    """No other attempt can have run."""
    life = Life.of("saga", "a")
    life.answer("a", "rejected")
    assert life.status == "aborted"
    assert life.branch_statuses == {"a": "rejected"}


@pytest.mark.parametrize("word", ["lost", "error"])
def test_rejection_after_an_unanswered_attempt_is_undone(word):
    """The earlier attempt may have run: a cut connection and a 500 say nothing about it."""
    life = Life.of("saga", "a")
    life.answer("a", word)
    life.wait_until_due()
    life.answer("a", "rejected")
    assert life.calls == ["compensate a"]
    life.answer("a")
    assert life.status == "aborted"
    assert life.branch_statuses == {"a": "compensated"}


@pytest.mark.parametrize("word", ["unsent", "ongoing"])
def test_rejection_after_an_attempt_that_is_accounted_for_is_final(word):
    """One that never left did nothing, and a 425 is an answer: the later no is the answer to both."""
    life = Life.of("saga", "a")
    life.answer("a", word)
    life.wait_until_due()
    life.answer("a", "rejected")
    assert life.status == "aborted"
    assert life.branch_statuses == {"a": "rejected"}


def test_undo_of_a_rejected_step_waits_for_the_unanswered_attempt():
    """It may still be at work until its deadline."""
    life = Life.of("saga", "a")
    life.answer("a", "lost", open_for_ms=7_000)
    life.wait(1_000)
    life.answer("a", "rejected")
    assert (life.status, life.calls, life.due_in_ms) == ("aborting", [], 6_000)
    life.wait_until_due()
    assert life.calls == ["compensate a"]


def test_rejection_after_a_change_of_owner_is_undone():
    """Sends are not journaled: another owner's attempt may have run."""
    life = Life.of("saga", "a")
    life.adopt()
    life.answer("a", "rejected")
    life.wait_until_due()
    assert life.calls == ["compensate a"]


def test_rejection_known_before_a_change_of_owner_stays_final():
    """What the row shows as rejected, with nothing unanswered, is over."""
    life = Life.of("saga", "a", "b")
    life.answer("a")
    life.answer("b", "rejected")
    life.adopt()
    life.wait_until_due()
    life.finish()
    assert life.branch_statuses == {"a": "compensated", "b": "rejected"}


def test_late_aborts_and_that_step_is_undone_like_the_others():
    """A compensation or cancel came first there, so nothing more will run; what ran before is undone."""
    life = Life.of("saga", "a", "b")
    life.answer("a")
    life.answer("b", "late")
    assert (life.status, life.transaction.reason) == ("aborting", "late")
    assert life.branch_statuses["b"] == "rejected"
    assert life.progress("b").note == "late"
    assert life.calls == ["compensate b"]
    life.finish()
    assert life.branch_statuses == {"a": "compensated", "b": "compensated"}


def test_late_after_an_unanswered_attempt_waits_for_that_attempt():
    """It may be the one that runs."""
    life = Life.of("saga", "a")
    life.answer("a", "lost", open_for_ms=5_000)
    life.wait(1_000)
    life.answer("a", "late")
    assert life.calls == []
    life.wait_until_due()
    assert life.calls == ["compensate a"]


def test_rejected_step_with_nothing_to_undo_is_skipped_even_if_an_attempt_is_unanswered():
    """There is nothing to call."""
    life = Life.of("saga", {"branch_id": "a", "compensate": False})
    life.answer("a", "lost")
    life.wait_until_due()
    life.answer("a", "rejected")
    assert life.status == "aborted"
    assert life.branch_statuses == {"a": "skipped"}
