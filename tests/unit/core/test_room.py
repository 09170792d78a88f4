"""A transaction's row has to fit every store: branches past the limit are refused, results past it are null."""

import pytest

from placet_contract.limits import PLAN_BYTES_MAX, RESULTS_BYTES_MAX
from placet_coordinator.core.documents import encode_plan
from placet_coordinator.core.plan import check_room
from placet_coordinator.core.rule import RuleBroken
from unit.core.life import Life, further, plan_of

HALF = "x" * (RESULTS_BYTES_MAX // 2 - 2)
"""As JSON half of what all results of a transaction may have together."""


def parallel(*names: str) -> Life:
    return Life.of("saga", *({"branch_id": each, "after": []} for each in names))


@pytest.mark.parametrize("pattern", ["saga", "tcc"])
def test_result_without_room_is_null_and_noted(pattern):
    """The step is done all the same: its work was done, and 2xx says so."""
    life = parallel("a", "b", "c") if pattern == "saga" else Life.of("tcc", "a", "b", "c", drive=True)
    life.answer("a", result=HALF)
    life.answer("b", result=HALF)
    life.answer("c", result=[1, 2])
    assert len(life.progress("b").result) == len(HALF) + 2
    assert bytes(life.progress("c").result) == b"null"
    assert life.progress("c").note == "no room for 6 bytes, all results have 2097152; the result is null"
    life.finish()
    assert life.status == "committed"


def test_result_that_came_while_the_saga_goes_back_has_to_find_room_too():
    """Its compensation is called with null."""
    life = parallel("a", "b", "c", "d")
    life.answer("a", result=HALF)
    life.answer("b", result=HALF)
    life.answer("c", "rejected")
    life.answer("d", result={"seat": 4})
    assert bytes(life.progress("d").result) == b"null"
    assert life.progress("d").may_have_run
    life.finish()
    assert life.branch_statuses == {"a": "compensated", "b": "compensated", "c": "rejected", "d": "compensated"}


def test_result_that_fills_the_room_is_kept():
    """To the last byte; an answer without a result needs no room."""
    life = parallel("a", "b", "c")
    life.answer("a", result="x" * (RESULTS_BYTES_MAX - 2))
    life.answer("b")
    assert len(life.progress("a").result) == RESULTS_BYTES_MAX
    assert (life.progress("a").note, life.progress("b").note) == (None, None)


def large(branch_id: str) -> dict[str, str]:
    return {"branch_id": branch_id, "payload": "x" * 1_000_000}


def test_branches_past_the_plans_size_are_refused():
    """With the rule and the limit; the same branches again are no more than before."""
    transaction = plan_of("tcc", *map(large, "abcd"))
    check_room(transaction, further(*map(large, "abcd")), branches_max=4)
    check_room(transaction, further("e"), branches_max=5)
    with pytest.raises(RuleBroken, match="branches: all branches of a transaction") as broken:
        check_room(transaction, further(large("e")), branches_max=5)
    assert broken.value.limit == PLAN_BYTES_MAX


def test_no_begin_reaches_the_plans_size():
    """The body of a request has 1 MiB; branches that say the least, as many as may be, do not grow to the limit."""
    asked = [{"branch_id": f"{number}", "target": "s/a"} for number in range(10_000)]
    assert len(encode_plan(plan_of("saga", *asked[:1_000]))) * 10 + 1_048_576 < PLAN_BYTES_MAX
