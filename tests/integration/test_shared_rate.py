"""A rate that processes keep together in Redis; without Redis each keeps it alone."""

import asyncio
from contextlib import AsyncExitStack
from datetime import timedelta
from uuid import uuid4

import pytest
from redis.asyncio import Redis

from acceptance.processes import free_port
from placet_rpc.policies.rate_limit import Rate
from placet_rpc.policies.shared_rate_limit import SharedRate

PATIENCE = timedelta(seconds=5)
"""For a Redis that answers at once, on a machine that may be busy."""


@pytest.fixture
async def make_rate(redis_server):
    """Makes limiters that share a prefix of this test's own, which is removed at the end."""
    shared, prefix = f"redis://{redis_server.removeprefix('redis://')}", f"placet-test-{uuid4().hex[:8]}"
    async with AsyncExitStack() as stack:

        def make(rate, url=""):
            limiter = SharedRate(url or shared, rate, prefix=prefix, reply_timeout=PATIENCE)
            stack.push_async_callback(limiter.aclose)
            return limiter

        yield make
    async with Redis.from_url(shared) as redis:
        async for key in redis.scan_iter(f"*{prefix}*"):
            await redis.delete(key)


async def taken(limiter, key="k", tries=40):
    """Tries to take tokens, one after another, and returns how many it got."""
    return sum([await limiter.take(key) == 0 for _ in range(tries)])


async def test_two_limiters_keep_one_rate(make_rate):
    """What one takes the other has not; another key has its own."""
    one, other = make_rate(Rate(per_second=0.5, burst=10)), make_rate(Rate(per_second=0.5, burst=10))
    assert await taken(one, tries=6) + await taken(other) == 10
    assert 0 < await one.take("k") <= 20
    assert await other.take("another") == 0
    assert (one.unshared, other.unshared) == (0, 0)


async def test_many_at_once_take_no_more_than_there_is(make_rate):
    """The count is Redis's, and so is its order."""
    limiters = [make_rate(Rate(per_second=0.5, burst=10)) for _ in range(3)]
    outcomes = await asyncio.gather(*(limiter.take("k") for limiter in limiters for _ in range(20)))
    assert outcomes.count(0.0) == 10


async def test_without_redis_each_keeps_the_rate_alone(make_rate):
    """Nothing is refused because the limiter can't be asked, and the rate still holds here."""
    lonely = make_rate(Rate(per_second=0.5, burst=5), url=f"redis://127.0.0.1:{free_port()}/0")
    assert await taken(lonely) == 5
    assert lonely.unshared == 40


def test_only_redis_keeps_rates():
    """Another URL is an error when the limiter is made."""
    with pytest.raises(ValueError, match="redis://127"):
        SharedRate("memory://", Rate(per_second=1))
