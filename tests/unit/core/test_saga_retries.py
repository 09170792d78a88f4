"""An action of unknown outcome is repeated until its limits are used up; then the saga aborts."""

import pytest

from unit.core.life import Life


def limited(**retry) -> Life:
    return Life.of("saga", {"branch_id": "a", "retry": retry}, "b")


@pytest.mark.parametrize("word", ["lost", "error", "unsent"])
def test_attempts_used_up_abort(word):
    """The third of three that brings nothing is the last, and the reason says so."""
    life = limited(max_attempts=3)
    for attempt in (1, 2, 3):
        assert life.progress("a").attempts == attempt
        life.answer("a", word)
        if attempt < 3:
            assert life.status == "active"
            life.wait_until_due()
    assert life.status == ("aborted" if word == "unsent" else "aborting")
    assert life.transaction.reason == "exhausted"
    assert life.transaction.reason_text is not None
    assert life.transaction.reason_text.startswith("step a: ")


def test_step_whose_attempts_are_used_up_is_undone():
    """Unknown is not no: any of them may have run."""
    life = limited(max_attempts=1)
    life.answer("a", "lost")
    assert life.calls == ["compensate a"]


def test_425_counts_as_an_attempt_number_but_not_against_max_attempts():
    """It is being worked on: asking again uses nothing up."""
    life = limited(max_attempts=2)
    for attempt in range(1, 8):
        assert life.progress("a").attempts == attempt
        life.answer("a", "ongoing")
        life.wait_until_due()
    life.answer("a", "lost")
    assert life.status == "active"
    life.wait_until_due()
    life.answer("a", "ongoing")
    life.wait_until_due()
    life.answer("a", "lost")
    assert life.transaction.reason == "exhausted"


@pytest.mark.parametrize("word", ["lost", "ongoing"])
def test_for_ms_counts_from_the_first_attempt_whatever_the_answers(word):
    """Time is time, for 425 as well."""
    life = limited(for_ms=5_000)
    begun_at_ms = life.now_ms
    while life.status == "active":
        life.answer("a", word, chance=0.9)
        if life.status == "active":
            life.wait_until_due()
    assert life.transaction.reason == "exhausted"
    assert life.now_ms == begun_at_ms + 5_000


def test_last_attempt_comes_at_for_ms_not_a_backoff_later():
    """A long backoff is cut at the limit, so that the whole of the time is used and no more."""
    life = limited(for_ms=5_000, first_ms=60_000)
    life.answer("a", "lost", chance=0.99)
    assert life.due_in_ms == 5_000


def test_without_max_attempts_only_time_ends_it():
    """Attempts are unlimited by default; 24 hours are the default's end."""
    life = Life.of("saga", "a")
    begun_at_ms = life.now_ms
    while life.status == "active":
        life.answer("a", "lost", chance=0.999)
        if life.status == "active":
            life.wait_until_due()
    assert life.transaction.reason == "exhausted"
    assert life.now_ms == begun_at_ms + 86_400_000


def test_limits_do_not_bind_compensations():
    """A compensation is retried for ever."""
    life = limited(max_attempts=1, for_ms=1)
    life.answer("a", "lost")
    for _ in range(20):
        life.answer("a", "lost")
        assert life.status == "aborting"
        life.wait_until_due()


def test_limits_do_not_bind_confirms_and_cancels():
    """In a tcc they are of no effect."""
    life = Life.of("tcc", {"branch_id": "a", "retry": {"max_attempts": 1, "for_ms": 1}})
    life.commit()
    for _ in range(20):
        life.answer("a", "lost")
        assert life.status == "committing"
        life.wait_until_due()


def test_done_on_the_last_attempt_goes_on():
    """Limits end the asking, not the success."""
    life = limited(max_attempts=2)
    life.answer("a", "lost")
    life.wait_until_due()
    life.answer("a")
    assert life.calls == ["action b"]


def test_limits_are_of_one_step():
    """Another step's attempts don't count."""
    life = Life.of("saga", {"branch_id": "a", "retry": {"max_attempts": 1}}, {"branch_id": "b", "after": []})
    life.answer("b", "lost")
    life.wait_until_due()
    life.answer("b", "lost")
    assert life.status == "active"
