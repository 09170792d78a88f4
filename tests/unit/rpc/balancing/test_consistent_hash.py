"""Consistent hash."""

from collections import Counter

import pytest
from msgspec.structs import replace

from placet_rpc.balancing import Candidates, ConsistentHash
from placet_rpc.balancing.consistent_hash import NO_RING, POINTS, points_count, points_of, ring_of
from unit.rpc.balancing.conftest import make_call, make_candidates, make_member

KEYS = [f"key-{number}" for number in range(10_000)]


@pytest.fixture
def balancer(clock, chance):
    """One of them."""
    return ConsistentHash(clock, chance)


def owners(balancer, candidates, excluded=()):
    """Returns the owner of each key, by id."""
    return {key: balancer.pick(candidates, make_call(key), excluded).instance_id for key in KEYS}


def test_a_key_has_one_owner_in_every_process_and_order(balancer, clock, chance):
    """It follows from ids alone: another list, another address and another start time change nothing."""
    one = make_candidates(*[100] * 10)
    other = Candidates(
        [make_member(member.instance_id, up_since=clock.monotonic(), zone="b") for member in reversed(one.members)]
    )
    assert owners(balancer, one) == owners(ConsistentHash(clock, chance), other)


def test_the_owner_of_a_key_is_known_for_good(balancer):
    """A release that moved keys would break the order of calls in a cluster that runs two releases."""
    candidates = make_candidates(*[100] * 5)
    assert [balancer.pick(candidates, make_call(f"key-{n}"), ()).instance_id for n in range(6)] == KNOWN


KNOWN = ["m000", "m004", "m004", "m001", "m004", "m000"]


def test_when_an_instance_leaves_only_its_keys_move(balancer):
    """All others stay where they were; its own are spread over the rest."""
    candidates = make_candidates(*[100] * 10)
    before = owners(balancer, candidates)
    gone = candidates.members[3]
    after = owners(balancer, Candidates([member for member in candidates.members if member is not gone]))
    moved = {key for key in KEYS if before[key] != after[key]}
    assert moved == {key for key in KEYS if before[key] == gone.instance_id}
    assert len({after[key] for key in moved}) == 9


def test_when_an_instance_comes_keys_move_only_to_it(balancer):
    """About its share of them."""
    candidates = make_candidates(*[100] * 9)
    before = owners(balancer, candidates)
    newcomer = make_member("new")
    after = owners(balancer, Candidates([*candidates.members, newcomer]))
    moved = {key for key in KEYS if before[key] != after[key]}
    assert {after[key] for key in moved} == {"new"}
    assert len(moved) / len(KEYS) == pytest.approx(0.1, rel=0.3)


def test_an_exclusion_moves_keys_as_a_departure_would(balancer):
    """So a repeat goes where the key will live, should the owner be gone for good."""
    candidates = make_candidates(*[100] * 6)
    gone = candidates.members[2]
    assert owners(balancer, candidates, {gone}) == owners(
        balancer, Candidates([member for member in candidates.members if member is not gone])
    )


def test_keys_are_spread_evenly(balancer):
    """The busiest of ten has at most a quarter more than its share, and a double weight twice as many."""
    counts = Counter(owners(balancer, make_candidates(*[100] * 10)).values())
    assert max(counts.values()) < 1250
    counts = Counter(owners(balancer, make_candidates(100, 100, 200)).values())
    assert counts["m002"] / len(KEYS) == pytest.approx(0.5, rel=0.15)


def test_weights_add_points_and_move_none():
    """A heavier instance keeps every point that it had; none has more than sixteen times the usual."""
    usual, heavy = points_of("a", points_count(100)), points_of("a", points_count(150))
    assert (len(usual), len(heavy), heavy[: len(usual)]) == (POINTS, 240, usual)
    assert points_count(10_000) == 16 * POINTS
    assert points_count(1) == 1


def test_a_ring_that_has_grown_is_the_ring_that_was_built_at_once(balancer, clock, chance):
    """Through arrivals, departures, changed weights and replaced instances, in any order."""
    members = {f"m{n}": make_member(f"m{n}") for n in range(8)}
    for step in range(60):
        name = chance.choice(sorted(members))
        match step % 4:
            case 0 if len(members) > 2:
                del members[name]
            case 1:
                members[f"n{step}"] = make_member(f"n{step}", weight=chance.choice([50, 100, 300]))
            case 2:
                members[name] = make_member(name, weight=chance.choice([0, 50, 100, 300]))
            case _:
                endpoint = members[name].endpoint
                members[name].endpoint = replace(endpoint, weight=chance.choice([50, 100, 200]))
        candidates = Candidates(list(members.values()))
        balancer.prepare(candidates)
        assert candidates._kept["consistent_hash"] == ring_of(candidates, NO_RING)


def test_without_a_key_the_first_argument_is_one(balancer):
    """And without arguments any instance will do."""
    candidates = make_candidates(*[100] * 10)
    by_argument = [balancer.pick(candidates, make_call(sku=key), ()).instance_id for key in KEYS[:100]]
    by_key = owners(balancer, candidates)
    assert by_argument == [by_key[key] for key in KEYS[:100]]
    assert len({balancer.pick(candidates, make_call(sku=None), ()) for _ in range(200)}) == 10


def test_the_ring_is_built_once_for_all_methods(balancer, clock, chance):
    """Outside of calls, and shared by all balancers of the service."""
    candidates = make_candidates(100, 100)
    balancer.prepare(candidates)
    ring = candidates._kept["consistent_hash"]
    ConsistentHash(clock, chance).pick(candidates, make_call("k"), ())
    assert candidates._kept["consistent_hash"] is ring
