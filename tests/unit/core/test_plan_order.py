"""The order of a saga's steps at begin: known names, no cycle, and each step before or after a pivot."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from placet_coordinator.core.order import in_order
from placet_coordinator.core.rule import RuleBroken
from unit.core.life import plan_of

PIVOT = {"branch_id": "p", "pivot": True}


def step(name: str, *after: str, **fields) -> dict:
    return {"branch_id": name, "after": list(after), **fields}


def broken(*steps) -> RuleBroken:
    with pytest.raises(RuleBroken) as caught:
        plan_of("saga", *steps)
    return caught.value


def test_unknown_name_is_refused():
    """With the step that names it."""
    error = broken("a", step("b", "nobody"))
    assert error.field == "branches[1].after"
    assert "nobody is not a step" in error.rule


def test_name_may_stand_before_its_step():
    """The list's order is no order: a step may name a later one."""
    saga = plan_of("saga", step("a", "b"), step("b"))
    assert in_order(saga.branches) == [1, 0]


@pytest.mark.parametrize(
    "steps",
    [
        [step("a", "a")],
        [step("a", "b"), step("b", "a")],
        [step("x"), step("a", "x", "c"), step("b", "a"), step("c", "b")],
    ],
)
def test_cycle_is_refused(steps):
    """No step of it could ever start."""
    error = broken(*steps)
    assert error.field.endswith(".after")
    assert "cycle" in error.rule


def test_name_stands_once_in_after():
    """Twice is a mistake."""
    assert broken("a", step("b", "a", "a")).field == "branches[1].after"


def test_sequence_with_a_pivot_is_fine():
    """Each step is before it or after it, if only through others."""
    plan_of("saga", "a", PIVOT, "c")
    plan_of("saga", step("a"), step("b"), step("p", "a", "b", pivot=True), step("c", "p"), step("d", "p"))


@pytest.mark.parametrize(
    "steps",
    [
        [step("p", pivot=True), step("x")],
        [step("a"), step("p", "a", pivot=True), step("x", "a")],
        [step("a"), step("b"), step("p", "a", pivot=True), step("c", "p", "b")],
    ],
)
def test_step_beside_a_pivot_is_refused(steps):
    """From the pivot there is only forward: a step that might run before or after it has no rule to go by."""
    error = broken(*steps)
    assert error.field.endswith(".after")
    assert "neither before nor after the pivot p" in error.rule


def test_two_pivots_follow_one_another():
    """Each is a step to the other."""
    plan_of("saga", PIVOT, "b", {"branch_id": "q", "pivot": True})
    assert "pivot" in broken(step("p", pivot=True), step("q", pivot=True)).rule


@st.composite
def orders(draw: st.DrawFn) -> list[dict]:
    """Draw steps without a cycle, listed in any order."""
    count = draw(st.integers(1, 8))
    steps = [
        step(f"s{index}", *draw(st.lists(st.sampled_from([f"s{other}" for other in range(index)]), unique=True)))
        if index
        else step("s0")
        for index in range(count)
    ]
    return draw(st.permutations(steps))


@given(orders())
def test_order_puts_each_step_behind_those_it_names(steps):
    """Whatever order they are listed in."""
    saga = plan_of("saga", *steps)
    place = {saga.branches[index].branch_id: at for at, index in enumerate(in_order(saga.branches))}
    assert len(place) == len(steps)
    assert all(place[name] < place[branch.branch_id] for branch in saga.branches for name in branch.after)


@given(orders(), st.data())
def test_pivot_is_accepted_exactly_if_every_step_is_ordered_before_or_after_it(steps, data):
    """The check agrees with the definition, spelt out as reachability."""
    pivot = data.draw(st.integers(0, len(steps) - 1))
    marked = [{**each, "pivot": at == pivot} for at, each in enumerate(steps)]
    after = {each["branch_id"]: set(each["after"]) for each in steps}

    def before(name: str) -> set[str]:
        return after[name].union(*(before(other) for other in after[name]))

    name = steps[pivot]["branch_id"]
    is_ordered = all(other == name or other in before(name) or name in before(other) for other in after)
    if is_ordered:
        plan_of("saga", *marked)
    else:
        assert "neither before nor after" in broken(*marked).rule
