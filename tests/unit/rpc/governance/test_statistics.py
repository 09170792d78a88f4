"""What rows of statistics say, as time passes."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from placet_rpc.governance.histogram import BUCKETS, MAX_US, Histogram, bucket_of, middle_us, percentiles_us
from placet_rpc.governance.statistics import OTHERS, Latency, Statistics, latency_of
from virtual_time import VirtualClock


@pytest.fixture
def clock():
    """Time that the test turns."""
    return VirtualClock()


@pytest.fixture
def statistics(clock):
    """Statistics in that time."""
    return Statistics(clock)


def call(row, clock, took=0.001, error=None, *, failed=False):
    """One call that took its time."""
    began_at = clock.monotonic()
    row.in_flight += 1
    clock.turn(took)
    if error is None:
        row.end(began_at)
    else:
        row.end_without_result(began_at, error, failed=failed)


@given(st.integers(min_value=0, max_value=MAX_US))
def test_a_latency_is_kept_to_within_a_thirtieth(value_us):
    """Whatever the latency, the middle of its bucket is at most 3.2 % away."""
    assert abs(middle_us(bucket_of(value_us)) - value_us) <= value_us * 0.032


@given(st.integers(min_value=0, max_value=MAX_US - 1))
def test_buckets_grow_with_latencies(value_us):
    """A longer latency never lands in an earlier bucket."""
    assert 0 <= bucket_of(value_us) <= bucket_of(value_us + 1) < BUCKETS


@pytest.mark.parametrize(("value_us", "bucket"), [(-5, 0), (MAX_US + 1, BUCKETS - 1), (2**60, BUCKETS - 1)])
def test_what_is_out_of_range_is_counted_at_the_end(value_us, bucket):
    """No latency breaks the counting."""
    assert bucket_of(value_us) == bucket


def test_percentiles_of_many_calls_are_those_of_the_sorted_list():
    """The histogram agrees with the exact answer to within its buckets' width."""
    chance = random.Random(7)
    values = sorted(int(chance.lognormvariate(7, 1.5)) for _ in range(20_000))
    counts = {}
    for value in values:
        counts[bucket_of(value)] = counts.get(bucket_of(value), 0) + 1
    for share, found in zip((0.5, 0.9, 0.99, 0.999), percentiles_us(counts, (0.5, 0.9, 0.99, 0.999)), strict=True):
        exact = values[int(share * len(values)) - 1]
        assert found == pytest.approx(exact, rel=0.05)


def test_a_row_counts_what_its_hot_path_writes_as_the_histogram_would(statistics, clock):
    """The bucket that a row computes by itself is `bucket_of`'s, over the whole range."""
    row = statistics.row("order", "stock/1", "reserve")
    for took_us in (0, 3, 15, 16, 17, 1_000, 123_456, 59_000_000):
        began_at = clock.monotonic() - took_us / 1_000_000
        row.in_flight += 1
        row.end(began_at)
        exact = int((clock.monotonic() - began_at) * 1_000_000)
        assert row.state().buckets.get(bucket_of(exact), 0) >= 1


def test_without_calls_nothing_is_claimed(statistics):
    """No calls means unknown, not 100 % and not 0 ms."""
    state = statistics.row("order", "stock/1", "reserve").state()
    assert state.latency == Latency()
    assert (state.availability.one_minute, state.availability.one_hour) == (None, None)


def test_errors_are_counted_by_class_and_only_some_against_the_service(statistics, clock):
    """A refusal for the caller's own fault leaves availability alone, an overload does not."""
    row = statistics.row("order", "stock/1", "reserve")
    for _ in range(7):
        call(row, clock)
    call(row, clock, error="arguments")
    for _ in range(2):
        call(row, clock, error="overloaded", failed=True)
    state = row.state()
    assert (state.calls, state.failed, state.in_flight) == (10, 2, 0)
    assert state.errors == {"arguments": 1, "overloaded": 2}
    assert state.availability.one_minute == pytest.approx(0.8)
    assert state.per_second == pytest.approx(10 / 60)


def test_a_call_under_way_is_in_flight_and_nothing_else(statistics):
    """Calls are counted when they end."""
    row = statistics.row("order", "stock/1", "reserve")
    row.in_flight += 1
    assert (row.state().in_flight, row.state().calls) == (1, 0)


def test_an_outage_leaves_the_short_windows_first(statistics, clock):
    """Ten bad minutes ago the last minute and the last five are clean, the hour is not."""
    row = statistics.row("order", "stock/1", "reserve")
    for _ in range(10):
        call(row, clock, error="timeout", failed=True)
    for minutes, expected in ((2, (1.0, 0.5, 0.5)), (10, (1.0, 1.0, pytest.approx(20 / 30))), (70, (1.0, 1.0, 1.0))):
        clock.turn(60 * minutes)
        for _ in range(10):
            call(row, clock)
        found = row.state().availability
        assert (found.one_minute, found.five_minutes, found.one_hour) == expected
        assert row.calls == row.state().calls


def test_a_call_after_a_long_silence_is_counted_now(statistics, clock):
    """The first call after hours belongs to the last minute, and the ones of before do not."""
    row = statistics.row("order", "stock/1", "reserve")
    call(row, clock, error="timeout", failed=True)
    clock.turn(7200)
    call(row, clock)
    state = row.state()
    assert (state.availability.one_minute, state.availability.one_hour) == (1.0, 1.0)
    assert state.per_second == pytest.approx(1 / 60)


def test_percentiles_forget_what_was_slow_two_minutes_ago(statistics, clock):
    """A slow start does not stay in the p99 for ever; the maximum does."""
    row = statistics.row("order", "stock/1", "reserve")
    for _ in range(5):
        call(row, clock, took=2.0)
    for _ in range(3):
        clock.turn(61)
        for _ in range(50):
            call(row, clock, took=0.001)
    state = row.state()
    assert state.latency.p999 == pytest.approx(1000, rel=0.05)
    assert state.max_us == pytest.approx(2_000_000, rel=0.01)


def test_a_histogram_keeps_two_periods():
    """What a rotation ends is still seen until the next one."""
    histogram = Histogram()
    histogram.counts[5] += 1
    histogram.rotate()
    histogram.counts[5] += 1
    assert histogram.recent() == {5: 2}
    histogram.rotate()
    assert histogram.recent() == {5: 1}
    histogram.rotate()
    assert histogram.recent() == {}


def test_percentiles_of_several_servers_come_from_all_calls(statistics, clock):
    """One slow server of two shows in the p90 of both, which no mean of their p90s would give."""
    fast, slow = (statistics.row("order", "stock/1", "reserve", instance) for instance in ("a", "b"))
    for _ in range(80):
        call(fast, clock, took=0.001)
    for _ in range(20):
        call(slow, clock, took=0.1)
    both = latency_of((fast.state(), slow.state()))
    assert both.p50 == pytest.approx(1000, rel=0.05)
    assert both.p90 == pytest.approx(100_000, rel=0.05)


def test_callers_without_number_share_a_row(clock):
    """A caller who takes a new name for each call costs no memory beyond the limit, and no call is lost."""
    statistics = Statistics(clock, max_rows=3)
    for number in range(50):
        call(statistics.row(f"caller-{number}", "stock/1", f"method-{number % 20}"), clock)
    states = statistics.states()
    assert len(states) <= 3 * 2 + 1
    assert sum(state.calls for state in states) == 50
    assert (OTHERS, OTHERS) in {(state.caller, state.service) for state in states}
