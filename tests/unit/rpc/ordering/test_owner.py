"""Who owns a key, and what moves when instances come and go."""

from collections import Counter

import pytest

from placet_rpc.ordering.owner import Owners
from placet_rpc.registry.endpoint import Endpoint

KEYS = [f"key-{number}" for number in range(4_000)]


def endpoints(*names, **options):
    return [Endpoint(instance_id=name, urls=(f"tcp://{name}:1",), **options) for name in names]


def test_all_who_know_the_same_instances_name_the_same_owner():
    """The order of a list, addresses and weights other than 0 have no say."""
    one = Owners(endpoints("a", "b", "c"))
    other = Owners([Endpoint(instance_id=name, urls=("http://x:2",), weight=7) for name in "cab"])
    assert [one.owner(key) for key in KEYS] == [other.owner(key) for key in KEYS]
    assert one == other
    assert one != Owners(endpoints("a", "b"))


def test_keys_are_spread_evenly():
    """No instance has more than a tenth above its share."""
    counts = Counter(map(Owners(endpoints("a", "b", "c", "d")).owner, KEYS))
    assert max(counts.values()) < 1.1 * len(KEYS) / 4


@pytest.mark.parametrize("count", [1, 2, 5, 20])
def test_only_the_keys_of_who_comes_or_goes_move(count):
    """A new instance takes its share from all others, and gives it back to them."""
    before = Owners(endpoints(*(f"i{number}" for number in range(count))))
    after = Owners(endpoints(*(f"i{number}" for number in range(count + 1))))
    moved = [key for key in KEYS if before.owner(key) != after.owner(key)]
    assert {after.owner(key) for key in moved} == {f"i{count}"}
    assert len(moved) == pytest.approx(len(KEYS) / (count + 1), rel=0.25)
    assert after.without(f"i{count}") == before


def test_who_is_drained_or_not_listed_owns_nothing():
    """Unless there is nobody else: then a key still has one owner."""
    drained, suspect = endpoints("a", weight=0), endpoints("b", suspect=True)
    assert set(map(Owners([*drained, *suspect, *endpoints("c", "d")]).owner, KEYS)) == {"c", "d"}
    assert set(map(Owners([*drained, *suspect]).owner, KEYS)) == {"a"}
    assert set(map(Owners(suspect).owner, KEYS)) == {"b"}
    assert Owners([]).owner("k") == ""
