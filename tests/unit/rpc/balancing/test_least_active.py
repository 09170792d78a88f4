"""Least active."""

from collections import Counter

import pytest

from placet_rpc.balancing import LeastActive
from unit.rpc.balancing.conftest import make_call, make_candidates


def test_the_idlest_is_picked(clock, chance):
    """By its calls under way, whatever else."""
    balancer, candidates = LeastActive(clock, chance), make_candidates(100, 100, 100)
    for member, active in zip(candidates.members, (4, 2, 3), strict=True):
        member.active = active
    assert balancer.pick(candidates, make_call(), ()) is candidates.members[1]
    assert balancer.pick(candidates, make_call(), {candidates.members[1]}) is candidates.members[2]


def test_activity_counts_in_proportion_to_weight(clock, chance):
    """Six calls on a weight of 300 are less than three on 100."""
    balancer, candidates = LeastActive(clock, chance), make_candidates(300, 100)
    candidates.members[0].active, candidates.members[1].active = 6, 3
    assert balancer.pick(candidates, make_call(), ()) is candidates.members[0]


def test_among_equals_it_is_a_draw(clock, chance):
    """No instance is the first one for all clients."""
    balancer, candidates = LeastActive(clock, chance), make_candidates(1, 1, 1)
    drawn = Counter(balancer.pick(candidates, make_call(), ()) for _ in range(3000))
    assert all(count == pytest.approx(1000, rel=0.15) for count in drawn.values())


def test_a_slow_instance_gets_fewer_calls(clock, chance):
    """One that takes ten times as long ends with about a tenth of the calls."""
    balancer, candidates = LeastActive(clock, chance), make_candidates(1, 1, 1)
    slow = candidates.members[0]
    had, ends = Counter(), []
    for now in range(20_000):
        for end in [end for end in ends if end[0] <= now]:
            ends.remove(end)
            end[1].active -= 1
        if sum(member.active for member in candidates.members) < 30:
            member = balancer.pick(candidates, make_call(), ())
            member.active += 1
            had[member] += 1
            ends.append((now + (400 if member is slow else 40), member))
    assert had[slow] / sum(had.values()) < 0.1
