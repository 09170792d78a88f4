"""A rate that many processes keep together, in Redis, by the package `limits` (extra `redis`)."""

import asyncio
from datetime import timedelta
from typing import Any

from limits import RateLimitItemPerSecond
from limits.aio.storage import RedisStorage
from limits.aio.strategies import SlidingWindowCounterRateLimiter
from redis.asyncio import BlockingConnectionPool

from placet_rpc.clock import SYSTEM_CLOCK, Clock
from placet_rpc.policies.rate_limit import Rate, TokenBuckets

REPLY_TIMEOUT = timedelta(milliseconds=50)
CONNECTIONS_MAX = 16


class SharedRate:
    """A limiter whose windows lie in Redis: `Rate.depth` calls in the time that the rate needs for them.

    While Redis does not answer in time, each process keeps the whole rate by itself: a limiter must not become the
    reason that nothing is called.

    Args:
        url: of Redis, such as `redis://127.0.0.1:6379/0`.
        rate: of all processes together.
        clock: where time comes from, for the time without Redis.
        prefix: of the keys in Redis; processes with the same one share.
        reply_timeout: how long Redis may take.

    Attributes:
        unshared: calls that were counted here because Redis did not answer.

    Raises:
        ValueError: the URL is none of Redis.
    """

    def __init__(
        self,
        url: str,
        rate: Rate,
        clock: Clock = SYSTEM_CLOCK,
        *,
        prefix: str = "placet-rpc",
        reply_timeout: timedelta = REPLY_TIMEOUT,
    ) -> None:
        if not url.startswith(("redis://", "rediss://")):
            raise ValueError("a shared rate lies in Redis: give a URL such as redis://127.0.0.1:6379/0")
        self.unshared = 0
        self._reply_seconds = seconds = reply_timeout.total_seconds()
        pool: Any = BlockingConnectionPool.from_url(
            url, max_connections=CONNECTIONS_MAX, timeout=seconds, socket_connect_timeout=seconds
        )
        self._pool = pool
        storage = RedisStorage(f"async+{url}", implementation="redispy", key_prefix=prefix, connection_pool=pool)
        self._limiter = SlidingWindowCounterRateLimiter(storage)
        window_seconds = max(1, round(rate.depth / rate.per_second))
        calls = max(1, round(rate.per_second * window_seconds))
        self._item = RateLimitItemPerSecond(calls, window_seconds)
        self._interval = window_seconds / calls
        self._here = TokenBuckets(clock, rate)

    async def take(self, key: str) -> float:
        """Takes a token; returns 0, or about the seconds until there is one."""
        try:
            async with asyncio.timeout(self._reply_seconds):
                taken = await self._limiter.hit(self._item, key)
        except Exception:  # noqa: BLE001 - whatever the driver raises: there is no answer from Redis
            self.unshared += 1
            return self._here.take_now(key)
        return 0.0 if taken else self._interval

    async def aclose(self) -> None:
        """Closes the connections to Redis."""
        await self._pool.disconnect()
