"""Driven TCC: one request; the coordinator tries everywhere, once, and decides."""

import pytest

from placet_contract.vocabulary import Status
from placet_coordinator.core.moves import RefusalKind
from unit.core.life import Life


def driven(*branches, **fields) -> Life:
    return Life.of("tcc", *(branches or ("a", "b")), drive=True, **fields)


def test_tries_go_out_at_once_when_the_begin_is_durable():
    """All tries in parallel; nothing before the begin is written."""
    life = driven()
    assert life.calls == ["try a", "try b"]
    assert life.last.awaited is True


def test_last_try_done_commits():
    """The decision is durable before the confirms go out."""
    life = driven()
    life.answer("b", result={"seat": 4})
    assert (life.status, life.calls) == ("active", [])
    decision = life.answer("a")
    assert (life.status, life.calls) == ("committing", ["confirm a", "confirm b"])
    assert decision.awaited is True
    assert bytes(life.progress("b").result) == b'{"seat": 4}'
    life.finish()
    assert life.status == "committed"


@pytest.mark.parametrize(
    ("word", "reason"),
    [("rejected", "rejected"), ("late", "late"), ("lost", "unknown"), ("unsent", "unknown"), ("ongoing", "unknown")],
)
def test_anything_but_done_aborts_and_cancels_everywhere(word, reason):
    """Done, refused, and still out: each branch is cancelled, for its barrier makes that safe."""
    life = driven("a", "b", "c")
    life.answer("a")
    life.answer("b", word)
    assert (life.status, life.transaction.reason) == ("aborting", reason)
    assert life.calls == ["cancel a", "cancel b", "cancel c"]
    life.finish()
    assert life.branch_statuses == {"a": "cancelled", "b": "cancelled", "c": "cancelled"}


def test_no_try_is_ever_sent_twice():
    """Neither time nor an operator makes a second call of it."""
    life = driven()
    life.answer("a")
    for _ in range(5):
        life.wait(1_000)
        assert life.calls == []
        life.retry()
        assert life.calls == []
    assert life.progress("b").attempts == 1


def test_try_answered_after_the_abort_changes_nothing():
    """Its branch is cancelled already, and what a late answer says can't undo the decision."""
    life = driven()
    life.abort()
    before = life.transaction
    assert life.answer("a", operation="try", attempt=1).transaction is before


@pytest.mark.parametrize("status", list(Status))
def test_driven_tcc_takes_neither_branches_nor_commit(status):
    """Its plan is whole from the start and the coordinator decides: 422 in every status, whatever was decided."""
    life = driven()
    if status is not Status.ACTIVE:
        for branch_id in ("a", "b"):
            if status in (Status.COMMITTING, Status.COMMITTED):
                life.answer(branch_id)
        if status in (Status.ABORTING, Status.ABORTED):
            life.abort()
        if status in (Status.COMMITTED, Status.ABORTED):
            life.finish()
    assert life.transaction.status is status
    for ask in (life.commit, lambda: life.register("c"), lambda: life.register("a")):
        refusal = ask().refusal
        assert refusal is not None
        assert refusal.kind is RefusalKind.RULE


def test_driven_tcc_takes_an_abort():
    """The initiator may change its mind until the last try is done."""
    life = driven()
    life.answer("a")
    assert life.abort("no more").refusal is None
    assert (life.transaction.reason, life.transaction.reason_text) == ("initiator", "no more")


def test_broken_ownership_aborts():
    """Whoever takes it up can't know which tries went out, so it aborts, and cancels everywhere."""
    life = driven()
    life.answer("a")
    adoption = life.adopt()
    assert (life.status, life.transaction.reason) == ("aborting", "unknown")
    assert life.calls == ["cancel a", "cancel b"]
    assert adoption.awaited is True


def test_broken_ownership_after_the_decision_goes_on_with_it():
    """A decision never changes: confirms are called again."""
    life = driven("a")
    life.answer("a")
    life.adopt()
    assert (life.status, life.calls) == ("committing", ["confirm a"])


def test_timeout_aborts():
    """Time is up for the whole, whatever a single call might still bring."""
    life = driven(timeout_ms=5_000)
    life.answer("a")
    life.wait(5_000)
    assert (life.status, life.transaction.reason) == ("aborting", "timeout")


def test_try_that_comes_to_no_end_aborts():
    """An answer that is overdue is unknown, and unknown in the first phase aborts."""
    life = driven({"branch_id": "a", "timeout_ms": 1_000}, timeout_ms=600_000)
    life.wait_until_due()
    assert (life.status, life.transaction.reason) == ("aborting", "unknown")
    assert life.calls == ["cancel a"]
