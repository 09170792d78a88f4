"""Power of two choices by peak EWMA."""

import math
from collections import Counter

import pytest

from placet_rpc.balancing import P2cEwma
from placet_rpc.balancing.peak_ewma import PeakEwma
from unit.rpc.balancing.conftest import make_call, make_candidates


def test_a_peak_is_believed_at_once_and_forgotten_slowly():
    """Up in one sample; down by 1/e in ten seconds without any."""
    latency = PeakEwma()
    assert latency.cost(0.0) == 0.0
    latency.observe(0.010, 0.0)
    latency.observe(0.500, 1.0)
    assert latency.cost(1.0) == 0.5
    assert latency.cost(11.0) == pytest.approx(0.5 / math.e)
    latency.observe(0.010, 11.0)
    assert latency.cost(11.0) == pytest.approx(0.5 / math.e + 0.01 * (1 - 1 / math.e))


def test_samples_at_one_moment_do_not_pull_the_cost_down():
    """Weight follows from time, not from the number of samples."""
    latency = PeakEwma()
    latency.observe(0.5, 1.0)
    for _ in range(1000):
        latency.observe(0.001, 1.0)
    assert latency.cost(1.0) == 0.5


def test_load_is_cost_times_calls_under_way():
    """One that has never answered counts as free while idle, and as hopeless while it has a first call."""
    latency = PeakEwma()
    assert latency.load(0, 0.0) == 0.0
    assert latency.load(2, 0.0) > latency.load(1, 0.0) > 3600
    latency.observe(0.02, 0.0)
    assert latency.load(1, 0.0) == pytest.approx(0.04)


def test_the_faster_of_two_is_picked(clock, chance):
    """With two instances both are looked at."""
    balancer, candidates = P2cEwma(clock, chance), make_candidates(100, 100)
    slow, fast = candidates.members
    slow.latency.observe(0.2, clock.monotonic())
    fast.latency.observe(0.1, clock.monotonic())
    assert {balancer.pick(candidates, make_call(), ()) for _ in range(50)} == {fast}
    fast.active = 2
    assert {balancer.pick(candidates, make_call(), ()) for _ in range(50)} == {slow}


def test_weight_divides_load(clock, chance):
    """Twice the weight, twice the calls under way at the same load."""
    balancer, candidates = P2cEwma(clock, chance), make_candidates(200, 100)
    heavy, light = candidates.members
    for member in candidates.members:
        member.latency.observe(0.1, clock.monotonic())
    heavy.active = 2
    light.active = 1
    assert {balancer.pick(candidates, make_call(), ()) for _ in range(50)} == {heavy}
    heavy.active = 4
    assert {balancer.pick(candidates, make_call(), ()) for _ in range(50)} == {light}


def test_equals_share_evenly(clock, chance):
    """Any two of them are as likely as any other two."""
    balancer, candidates = P2cEwma(clock, chance), make_candidates(*[100] * 5)
    drawn = Counter(balancer.pick(candidates, make_call(), ()) for _ in range(5000))
    assert all(count == pytest.approx(1000, rel=0.15) for count in drawn.values())
