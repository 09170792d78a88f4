"""The instances of a snapshot and their weights."""

import pytest

from placet_rpc.balancing import Candidates
from placet_rpc.balancing.warm_up import effective_weight
from unit.rpc.balancing.conftest import make_candidates, make_member


@pytest.mark.parametrize(
    ("age", "weight", "expected"),
    [
        (0, 100, 1),
        (6, 100, 1),
        (60, 100, 10),
        (300, 100, 50),
        (599, 100, 99),
        (600, 100, 100),
        (-5, 100, 1),
        (60, 1, 1),
        (60, 0, 0),
    ],
)
def test_a_new_instance_gets_its_weight_in_proportion_to_its_age(age, weight, expected):
    """Over ten minutes, from 1 on; one that is drained stays at nothing, one from the future begins."""
    member = make_member("a", weight=weight, up_since=1000.0)
    assert effective_weight(member.endpoint, 1000.0 + age) == expected


def test_an_instance_of_unknown_age_is_warm():
    """What the registry does not know does not count against an instance."""
    assert effective_weight(make_member("a").endpoint, 0.0) == 100


def test_drained_instances_are_no_candidates():
    """Weight 0 takes no calls."""
    assert [member.instance_id for member in make_candidates(100, 0, 50).members] == ["m000", "m002"]


def test_weights_are_computed_once_when_all_are_warm():
    """The same object, however long it is asked for."""
    candidates = make_candidates(100, 50)
    weights = candidates.weights(0.0)
    assert (weights.each, weights.sums, weights.total, weights.equal) == ([100, 50], [100, 150], 150, False)
    assert candidates.weights(1e9) is weights


def test_weights_follow_the_warm_up_once_a_second_and_then_stay():
    """While one warms up they are at most a second old."""
    candidates = Candidates([make_member("a"), make_member("b", up_since=1000.0)])
    first = candidates.weights(1060.0)
    assert first.each == [100, 10]
    assert candidates.weights(1060.9) is first
    assert candidates.weights(1120.0).each == [100, 20]
    last = candidates.weights(1600.0)
    assert last.each == [100, 100]
    assert last.equal
    assert candidates.weights(9999.0) is last


def test_what_is_made_of_candidates_is_made_once():
    """And kept with them."""
    candidates = make_candidates(1)
    assert candidates.keep("x", lambda _: ["made"]) is candidates.keep("x", lambda _: ["again"])
