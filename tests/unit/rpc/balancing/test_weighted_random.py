"""Weighted random."""

from collections import Counter

import pytest

from placet_rpc.balancing import WeightedRandom
from unit.rpc.balancing.conftest import make_call, make_candidates


@pytest.mark.parametrize("weights", [(100, 100, 100), (1, 2, 3, 4), (1, 9_999)])
def test_each_instance_is_drawn_as_often_as_its_weight_says(weights, clock, chance):
    """Within 5 % of its share, over 40,000 draws."""
    balancer, candidates = WeightedRandom(clock, chance), make_candidates(*weights)
    drawn = Counter(balancer.pick(candidates, make_call(), ()).endpoint.weight for _ in range(40_000))
    for weight in set(weights):
        share = weights.count(weight) * weight / sum(weights)
        assert drawn[weight] / 40_000 == pytest.approx(share, rel=0.05, abs=0.001)


def test_the_others_keep_their_shares_when_one_is_excluded(clock, chance):
    """1 : 3, without the one that had as much as both."""
    balancer, candidates = WeightedRandom(clock, chance), make_candidates(1, 3, 4)
    excluded = {candidates.members[2]}
    drawn = Counter(balancer.pick(candidates, make_call(), excluded).endpoint.weight for _ in range(20_000))
    assert set(drawn) == {1, 3}
    assert drawn[3] / drawn[1] == pytest.approx(3, rel=0.1)
