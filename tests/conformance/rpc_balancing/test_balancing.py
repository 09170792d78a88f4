"""What holds for every balancer, whatever it looks at. A package that brings one runs this suite on it."""

import random
from collections import Counter, deque

import pytest

from placet_rpc.balancing import BUILTIN_BALANCERS, Candidates, make_balancer
from unit.rpc.balancing.conftest import make_call, make_candidates, make_member
from virtual_time import VirtualClock


@pytest.fixture
def clock() -> VirtualClock:
    """Time, turned by hand."""
    return VirtualClock()


@pytest.fixture(params=BUILTIN_BALANCERS)
def make(request, clock):
    """Makes the balancer with a seed."""
    return lambda seed=7: make_balancer(request.param, clock, random.Random(seed))


def run(balancer, candidates, clock, picks, *, under_way=300, excluded=()):
    """Picks for calls with keys of their own, each of which ends when `under_way` later ones have begun."""
    had, busy = Counter(), deque()
    for number in range(picks):
        clock.turn(0.001)
        member = balancer.pick(candidates, make_call(f"key-{number}"), excluded)
        member.active += 1
        had[member] += 1
        busy.append((clock.monotonic(), member))
        if len(busy) > under_way:
            began_at, member = busy.popleft()
            member.active -= 1
            member.latency.observe(clock.monotonic() - began_at, clock.monotonic())
    for _, member in busy:
        member.active -= 1
    return had


@pytest.mark.parametrize("count", [2, 3, 10, 40])
def test_equal_instances_have_equal_shares(make, clock, count):
    """Give or take a third, over 200 calls each."""
    candidates = make_candidates(*[100] * count)
    had = run(make(), candidates, clock, 200 * count)
    assert len(had) == count
    assert all(200 * 2 / 3 <= calls <= 200 * 4 / 3 for calls in had.values())


def test_shares_follow_weights(make, clock):
    """Weights 100, 200, 300 have a sixth, a third and a half, give or take a fifth of it, while all are busy."""
    candidates = make_candidates(100, 200, 300)
    had = run(make(), candidates, clock, 6000)
    assert [had[member] for member in candidates.members] == pytest.approx([1000, 2000, 3000], rel=0.2)


@pytest.mark.parametrize("count", [1, 2, 5, 40])
def test_whoever_is_excluded_is_not_picked(make, clock, count):
    """Down to the last one, and then there is nobody."""
    candidates = make_candidates(*[100] * count)
    balancer = make()
    excluded = set()
    for _ in range(count):
        member = balancer.pick(candidates, make_call("k"), excluded)
        assert member not in excluded
        excluded.add(member)
    assert balancer.pick(candidates, make_call("k"), excluded) is None


@pytest.mark.parametrize("count", [3, 40])
def test_the_others_share_what_an_excluded_one_had(make, clock, count):
    """Nobody inherits it all, and nobody gets nothing."""
    candidates = make_candidates(*[100] * count)
    away = candidates.members[0]
    had = run(make(), candidates, clock, 200 * count, excluded={away})
    assert away not in had
    assert len(had) == count - 1
    assert max(had.values()) < 2.2 * min(had.values())


def test_without_candidates_nobody_is_picked(make):
    """None at all, or all of them drained."""
    assert make().pick(Candidates([]), make_call(), ()) is None
    assert make().pick(make_candidates(0, 0), make_call(), ()) is None


def test_a_drained_instance_gets_nothing(make, clock):
    """Weight 0."""
    candidates = make_candidates(100, 0, 100)
    had = run(make(), candidates, clock, 200)
    assert {member.endpoint.weight for member in had} == {100}


def test_a_new_snapshot_holds_from_the_next_call_on(make, clock):
    """Whoever left is not picked, whoever came is; with and without `prepare`."""
    for prepares in (True, False):
        balancer, before = make(), make_candidates(*[100] * 4)
        run(balancer, before, clock, 40)
        newcomer = make_member("z")
        after = Candidates([*before.members[1:], newcomer])
        if prepares:
            balancer.prepare(after)
        had = run(balancer, after, clock, 400)
        assert set(had) == {*before.members[1:], newcomer}


@pytest.mark.parametrize("count", [3, 40])
def test_the_same_seed_picks_the_same(make, clock, count):
    """Nothing but the clock, the chance and the members' state decides."""
    runs = []
    for _ in range(2):
        candidates, began = make_candidates(*[100] * count), clock.monotonic()
        runs.append([member.instance_id for member in run(make(), candidates, clock, 300).elements()])
        clock.turn(began - clock.monotonic())
    assert runs[0] == runs[1]


def test_it_states_the_version_that_it_is_written_for(make):
    """The factory's `spi_version`, which is looked at before it is called."""
    assert type(make()).spi_version == 1


@pytest.mark.parametrize("text", ["p2c_ewma?unknown=1", "nobody", "p2c_ewma?x", "?a=1"])
def test_a_choice_that_can_not_be_made_is_an_error(text, clock):
    """The message says what is offered, or what is wrong."""
    with pytest.raises(ValueError, match=r"does not take|nothing offers|no choice"):
        make_balancer(text, clock, random.Random(1))
