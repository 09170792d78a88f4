"""The order of a saga's steps, forward."""

from placet_contract.outcomes import Verdict
from placet_contract.vocabulary import Outcome
from placet_coordinator.core.moves import RefusalKind
from unit.core.life import Life

DIAMOND = (
    "a",
    {"branch_id": "b", "after": ["a"]},
    {"branch_id": "c", "after": ["a"]},
    {"branch_id": "d", "after": ["b", "c"]},
)


def test_steps_follow_one_another_unless_told_otherwise():
    """Left out, `after` names the step before."""
    life = Life.of("saga", "a", "b", "c")
    assert life.calls == ["action a"]
    life.answer("a")
    assert life.calls == ["action b"]
    life.answer("b")
    assert life.calls == ["action c"]


def test_empty_after_starts_at_once():
    """Steps without predecessors run in parallel."""
    life = Life.of("saga", "a", {"branch_id": "b", "after": []}, "c")
    assert life.calls == ["action a", "action b"]
    life.answer("a")
    assert life.calls == []
    life.answer("b")
    assert life.calls == ["action c"]


def test_step_waits_for_all_that_it_names():
    """A diamond: both in the middle start together, the last starts when both are done."""
    life = Life.of("saga", *DIAMOND)
    life.answer("a")
    assert life.calls == ["action b", "action c"]
    life.answer("c")
    assert life.calls == []
    life.answer("b")
    assert life.calls == ["action d"]


def test_last_step_done_commits_in_one_move():
    """No second phase: active becomes committed in the step that takes the last answer."""
    life = Life.of("saga", "a", "b")
    life.answer("a")
    life.answer("b")
    assert life.status == "committed"
    assert life.branch_statuses == {"a": "done", "b": "done"}


def test_results_are_kept():
    """What an action answered is there for the steps after it and for its compensation."""
    life = Life.of("saga", "a", "b")
    life.answer("a", result={"booking": "x-1"})
    assert bytes(life.progress("a").result) == b'{"booking": "x-1"}'


def test_result_that_could_not_be_kept_leaves_a_note():
    """The outcome stays done; the words say why the result is null."""
    life = Life.of("saga", "a", "b")
    done = life.answer("a", verdict=Verdict(Outcome.DONE, answered=True, detail="the answer's body is not JSON"))
    assert done.transaction.progress[0].status == "done"
    assert life.progress("a").note == "the answer's body is not JSON"


def test_unknown_action_is_called_again_after_its_backoff():
    """Its followers wait; those in parallel go on."""
    life = Life.of("saga", "a", {"branch_id": "b", "after": []}, {"branch_id": "c", "after": ["b"]})
    life.answer("a", "lost")
    life.answer("b")
    assert life.calls == ["action c"]
    life.wait_until_due()
    assert life.calls == ["action a"]
    assert life.progress("a").attempts == 2


def test_saga_takes_neither_branches_nor_commit_in_any_status():
    """Its steps are those of begin, and it commits by itself: 422."""
    life = Life.of("saga", "a", "b")
    for happen in (lambda: None, life.abort, life.finish):
        happen()
        for ask in (life.commit, lambda: life.register("c")):
            refusal = ask().refusal
            assert refusal is not None
            assert refusal.kind is RefusalKind.RULE
