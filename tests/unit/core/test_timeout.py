"""Timeouts: an active transaction past its time is aborted; a decided one never is."""

import pytest

from unit.core.life import Life


def test_active_tcc_past_its_timeout_is_aborted():
    """Its initiator is gone or too slow: every branch is cancelled."""
    life = Life.of("tcc", "a", timeout_ms=2_000)
    life.wait(1_999)
    assert life.status == "active"
    decision = life.wait(1)
    assert (life.status, life.transaction.reason) == ("aborting", "timeout")
    assert life.calls == ["cancel a"]
    assert decision.awaited is True


def test_registering_does_not_prolong_the_timeout():
    """It counts from begin."""
    life = Life.of("tcc", timeout_ms=2_000)
    life.wait(1_500)
    life.register("a")
    assert life.due_in_ms == 500


@pytest.mark.parametrize("decide", [Life.commit, Life.abort])
def test_decided_tcc_has_no_timeout(decide):
    """After the decision time ends nothing."""
    life = Life.of("tcc", "a", timeout_ms=2_000)
    decide(life)
    status = life.status
    life.answer("a", "lost")
    life.wait(10_000_000)
    assert life.status == status


def test_saga_has_no_timeout_unless_it_is_given_one():
    """It is looked at all the same, so that it is not forgotten."""
    life = Life.of("saga", "a")
    life.answer("a", "ongoing")
    life.wait(80_000_000)
    assert life.status == "active"
    assert life.due_in_ms is not None


def test_saga_past_its_timeout_is_aborted_and_undone():
    """Its timeout is of the whole; a call that is out is waited for."""
    life = Life.of("saga", "a", "b", timeout_ms=2_000)
    life.answer("a")
    life.wait_until_due()
    assert (life.status, life.transaction.reason) == ("aborting", "timeout")
    assert (life.calls, life.out) == ([], {"action b"})
    life.answer("b", "lost", open_for_ms=500)
    life.wait(500)
    assert life.calls == ["compensate b"]


def test_saga_whose_pivot_was_sent_has_no_timeout_any_more():
    """A pivot once sent is never given up for time."""
    life = Life.of("saga", {"branch_id": "p", "pivot": True}, timeout_ms=2_000)
    life.answer("p", "lost")
    life.wait(1_000_000)
    assert life.status == "active"
    life.adopt()
    assert life.status == "active"


def test_answer_that_comes_after_the_time_but_before_the_look_counts():
    """The decision is whichever is written first: time alone decides nothing."""
    life = Life.of("saga", "a", timeout_ms=2_000)
    life.now_ms += 5_000
    life.answer("a")
    assert life.status == "committed"
    late = Life.of("tcc", "a", timeout_ms=2_000)
    late.now_ms += 5_000
    late.commit()
    assert late.status == "committing"


def test_longest_times_stay_within_64_bits():
    """A year is the longest time of the wire: no sum of such times outgrows a database's bigint."""
    year_ms = 31_536_000_000
    retry = {"first_ms": year_ms, "cap_ms": year_ms, "for_ms": year_ms}
    life = Life.of("saga", {"branch_id": "a", "timeout_ms": year_ms, "retry": retry}, timeout_ms=year_ms)
    for _ in range(100):
        life.answer("a", "lost", chance=0.999, open_for_ms=year_ms)
        if life.status != "active":
            break
        life.wait_until_due()
    life.wait(2 * year_ms)
    life.finish()
    figures = [life.now_ms, *(each.open_until_ms for each in life.transaction.progress)]
    assert all(figure < 2**63 for figure in figures)
    assert life.status == "aborted"
