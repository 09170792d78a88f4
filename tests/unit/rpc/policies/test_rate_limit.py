"""How many calls a second may leave."""

import pytest

from placet_rpc import LimitReached, Safety
from placet_rpc.policies import rate_limit
from placet_rpc.policies.rate_limit import Rate, RateLimit, TokenBuckets, by_service


def taken(buckets, key="k"):
    """Takes tokens until there are none."""
    count = 0
    while buckets.take_now(key) == 0:
        count += 1
    return count


@pytest.mark.parametrize(
    ("rate", "burst"), [(Rate(per_second=50), 50), (Rate(per_second=0.5), 1), (Rate(per_second=7, burst=3), 3)]
)
def test_a_full_bucket_gives_its_burst_and_then_the_rate(clock, rate, burst):
    """Over a long time exactly the rate goes through, and never more at once than the burst."""
    buckets = TokenBuckets(clock, rate)
    assert taken(buckets) == burst
    total = 0
    for _ in range(1000):
        clock.turn(0.1)
        total += taken(buckets)
    assert total == pytest.approx(100 * rate.per_second, abs=1)
    clock.turn(3600)
    assert taken(buckets) == burst


def test_the_edge_of_a_second_lets_nothing_more_through(clock):
    """No window of a second sees more than burst and rate, wherever it begins; fixed windows let twice as much pass."""
    buckets = TokenBuckets(clock, Rate(per_second=10, burst=1))
    passed = []
    for step in range(300):
        if buckets.take_now("k") == 0:
            passed.append(step)
        clock.turn(0.01)
    assert all(sum(begin <= step < begin + 100 for step in passed) <= 11 for begin in range(200))


def test_the_time_until_the_next_token_is_told(clock):
    """Waiting that long is enough, and no less is."""
    buckets = TokenBuckets(clock, Rate(per_second=4, burst=1))
    assert buckets.take_now("k") == 0
    seconds = buckets.take_now("k")
    assert seconds == pytest.approx(0.25)
    clock.turn(seconds * 0.99)
    assert buckets.take_now("k") > 0
    clock.turn(seconds * 0.02)
    assert buckets.take_now("k") == 0


def test_keys_do_not_share_and_are_not_kept_for_ever(clock, monkeypatch):
    """Each has its bucket; past the limit the one unused for longest is forgotten."""
    monkeypatch.setattr(rate_limit, "KEYS_MAX", 2)
    buckets = TokenBuckets(clock, Rate(per_second=1))
    assert [buckets.take_now(key) for key in ("a", "b", "c")] == [0, 0, 0]
    assert len(buckets._full_at) == 2
    assert buckets.take_now("c") > 0


async def test_a_call_beyond_the_rate_is_not_sent(clock, make_call):
    """The error says so, and when the next may go; methods have buckets of their own unless told otherwise."""

    async def answer(call):
        return call.method.name

    each = RateLimit(TokenBuckets(clock, Rate(per_second=1)))
    assert [await each.invoke(make_call(name), answer) for name in ("peek", "reserve")] == ["peek", "reserve"]
    together = RateLimit(TokenBuckets(clock, Rate(per_second=1)), key=by_service)
    await together.invoke(make_call("peek"), answer)
    with pytest.raises(LimitReached, match="'stock/1' is reached") as refusal:
        await together.invoke(make_call("reserve"), answer)
    assert (refusal.value.safety, refusal.value.limit, together.refused) == (Safety.NOT_SENT, "rate_limit", 1)


async def test_any_limiter_can_be_asked(make_call):
    """What counts elsewhere is awaited."""

    class Elsewhere:
        async def take(self, key):
            return 0.0 if key == "stock/1.peek" else 1.5

    async def answer(_call):
        return 1

    limit = RateLimit(Elsewhere())
    assert await limit.invoke(make_call("peek"), answer) == 1
    with pytest.raises(LimitReached, match="1500 ms"):
        await limit.invoke(make_call("reserve"), answer)


@pytest.mark.parametrize("rate", [{"per_second": 0}, {"per_second": 1, "burst": -1}])
def test_rates_that_make_no_sense_are_refused(rate):
    """The message names the rule."""
    with pytest.raises(ValueError, match="a rate needs"):
        Rate(**rate)
