"""Smooth weighted round robin, by scan and by deadlines."""

from collections import Counter

import pytest

from placet_rpc.balancing import Candidates, RoundRobin
from placet_rpc.balancing.round_robin import SCANNED_MAX
from unit.rpc.balancing.conftest import make_call, make_candidates, make_member


def turns(balancer, candidates, count, excluded=()):
    """Picks some."""
    return [balancer.pick(candidates, make_call(), excluded) for _ in range(count)]


def test_turns_are_spread_evenly(clock, chance):
    """Weights 5, 1, 1 give nginx's own example: a a b a c a a."""
    names = [member.instance_id[-1] for member in turns(RoundRobin(clock, chance), make_candidates(5, 1, 1), 7)]
    assert "".join(names) == "0010200"


@pytest.mark.parametrize("count", [7, 32, 33, 100])
def test_each_has_its_share_of_any_run_of_turns(count, clock, chance):
    """In each round of all weights everybody has exactly as many turns as its weight; by deadlines give or take one."""
    weights = [1 + place % 4 for place in range(count)]
    balancer, candidates = RoundRobin(clock, chance), make_candidates(*weights)
    balancer.prepare(candidates)
    for _ in range(5):
        had = Counter(turns(balancer, candidates, sum(weights)))
        off = 0 if count <= SCANNED_MAX else 1
        assert all(abs(had[member] - member.endpoint.weight) <= off for member in candidates.members)


@pytest.mark.parametrize("count", [5, 40])
def test_an_excluded_instance_does_not_catch_up(count, clock, chance):
    """When it is back it has its share, and not also the turns that it missed."""
    balancer, candidates = RoundRobin(clock, chance), make_candidates(*[1] * count)
    away = candidates.members[0]
    turns(balancer, candidates, 3 * count)
    assert away not in turns(balancer, candidates, 20 * count, {away})
    assert turns(balancer, candidates, 3 * count).count(away) in {2, 3, 4}


@pytest.mark.parametrize("count", [5, 40])
def test_a_new_snapshot_takes_nobodys_turn(count, clock, chance):
    """Those that stay go on where they were; whoever is gone gets nothing, a new one its share."""
    balancer, before = RoundRobin(clock, chance), make_candidates(*[1] * count)
    had = Counter(turns(balancer, before, count // 2))
    newcomer = make_member("z", weight=1)
    after = Candidates([*before.members[1:], newcomer])
    balancer.prepare(after)
    had.update(turns(balancer, after, count * 10))
    assert before.members[0] not in turns(balancer, after, count)
    stayed = [had[member] for member in before.members[1:]]
    assert max(stayed) - min(stayed) <= 2
    assert had[newcomer] == pytest.approx(10, abs=1)


def test_a_warming_instance_gets_more_turns_as_it_warms(clock, chance):
    """A change of weight counts from the next turn on."""
    members = [make_member("a"), make_member("b", up_since=clock.monotonic())]
    balancer, candidates = RoundRobin(clock, chance), Candidates(members)
    shares = []
    for _ in range(3):
        clock.turn(150)
        shares.append(turns(balancer, candidates, 1000).count(members[1]))
    assert shares == pytest.approx([200, 333, 428], abs=2)
