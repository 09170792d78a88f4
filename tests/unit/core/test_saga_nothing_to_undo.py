"""Steps that leave nothing to undo: `"compensate": false`, or an object target without it."""

import pytest

from unit.core.life import Life

NOTHING = {"branch_id": "b", "compensate": False}
OBJECT = {"branch_id": "b", "target": {"action": "http://127.0.0.1:7001/read"}}


@pytest.mark.parametrize("step", [NOTHING, OBJECT])
def test_step_with_nothing_to_undo_is_skipped(step):
    """It was done, and its compensation is never called; the steps before it are undone."""
    life = Life.of("saga", "a", step, "c")
    life.answer("a")
    life.answer("b")
    life.answer("c", "rejected")
    assert life.calls == ["compensate a"]
    life.finish()
    assert life.branch_statuses == {"a": "compensated", "b": "skipped", "c": "rejected"}


@pytest.mark.parametrize("step", [NOTHING, OBJECT])
def test_steps_before_it_wait_until_its_call_is_over(step):
    """It may still be at work, and what it works on must not be undone under it."""
    life = Life.of("saga", "a", step)
    life.answer("a")
    life.answer("b", "lost", open_for_ms=3_000)
    life.abort()
    assert life.calls == []
    life.wait(3_000)
    assert life.calls == ["compensate a"]


def test_saga_of_nothing_to_undo_is_aborted_without_a_call():
    """An abort asks nobody."""
    life = Life.of("saga", NOTHING)
    life.answer("b", "lost")
    life.abort()
    assert life.status == "aborted"
    assert life.branch_statuses == {"b": "skipped"}


def test_compensate_true_stands_for_the_default():
    """A step that says so is undone like one that says nothing."""
    life = Life.of("saga", {"branch_id": "a", "compensate": True}, "b")
    life.answer("a")
    life.answer("b", "rejected")
    assert life.calls == ["compensate a"]


def test_object_target_with_compensate_is_undone():
    """It names where."""
    target = {"action": "http://127.0.0.1:7001/book", "compensate": "http://127.0.0.1:7001/unbook"}
    life = Life.of("saga", {"branch_id": "a", "target": target}, "b")
    life.answer("a")
    life.answer("b", "rejected")
    assert life.calls == ["compensate a"]
