"""Locks in Redis, by scripts that it runs alone. Needs the extra `redis`.

Two keys per lock, in one slot of a cluster: `PREFIX:{NAME}:lock` (holder and token, expires) and `PREFIX:{NAME}:token`
(the last token, stays).

A token is Redis's time in microseconds, or one more than the last if that is later: so tokens grow even through a
restart that lost the last one. Such a restart loses the lock too, while its holder still counts on it. Therefore a
Redis that knows no token of a lock, and has been up for less than `longest`, grants nobody that lock yet. What this
can't see is a loss of the last second only (`appendfsync everysec`) and a failover to a replica that lags: there two
may hold the lock, and the token alone decides.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from placet_rpc.clock import SYSTEM_CLOCK, Clock
from placet_rpc.locks.store import Holder, LockUnavailable

ANSWER_TIMEOUT = timedelta(seconds=3)
LONGEST = timedelta(minutes=1)
PREFIX = "placet"

# KEYS: lock, token. ARGV: holder, ttl, longest.
_TAKE = """
local held = redis.call('hmget', KEYS[1], 'holder', 'token')
if held[1] == ARGV[1] then
  redis.call('pexpire', KEYS[1], ARGV[2])
  return held[2]
end
if held[1] then
  return false
end
local last = redis.call('get', KEYS[2])
if not last then
  -- A difference of two clock readings that were both cut to whole seconds: up to one second more than the truth.
  local up = string.match(redis.call('info', 'server'), 'uptime_in_seconds:(%d+)')
  if (tonumber(up) - 1) * 1000 < tonumber(ARGV[3]) then
    return false
  end
end
local time = redis.call('time')
local token = string.format('%.0f', math.max(time[1] * 1000000 + time[2], tonumber(last or '0') + 1))
redis.call('set', KEYS[2], token)
redis.call('hset', KEYS[1], 'holder', ARGV[1], 'token', token)
redis.call('pexpire', KEYS[1], ARGV[2])
return token
"""

# KEYS: lock. ARGV: holder, token, ttl; 0 gives the lock back.
_EXTEND = """
local held = redis.call('hmget', KEYS[1], 'holder', 'token')
if held[1] ~= ARGV[1] or held[2] ~= ARGV[2] then
  return 0
end
return redis.call('pexpire', KEYS[1], ARGV[3])
"""


class RedisLocks:
    """Locks in Redis; satisfies `LockStore`.

    Args:
        client: of redis-py; closing it stays the user's. Its Redis must not evict keys (`maxmemory-policy noeviction`).
        prefix: of all keys.
        longest: the longest lease that anybody takes here; longer ones are refused.
        clock: for waiting only.
    """

    def __init__(
        self, client: Redis, *, prefix: str = PREFIX, longest: timedelta = LONGEST, clock: Clock = SYSTEM_CLOCK
    ) -> None:
        self._client = client
        self._prefix = prefix
        self._longest_ms = longest // timedelta(milliseconds=1)
        self._sleep = clock.sleep
        self._take = client.register_script(_TAKE)
        self._extend = client.register_script(_EXTEND)

    async def take(self, name: str, holder: str, ttl_ms: int) -> int | None:
        """Takes a lock that is free."""
        if ttl_ms > self._longest_ms:
            raise ValueError(
                f"a lease of {ttl_ms} ms is over `longest` ({self._longest_ms} ms), which all must agree on"
            )
        keys = [self._lock(name), self._token(name)]
        token = await self._answer(self._take(keys=keys, args=[holder, ttl_ms, self._longest_ms]))
        return None if token is None else int(token)

    async def extend(self, name: str, holder: str, token: int, ttl_ms: int) -> bool:
        """Holds a lock longer."""
        return bool(await self._answer(self._extend(keys=[self._lock(name)], args=[holder, token, ttl_ms])))

    async def give_back(self, name: str, holder: str, token: int) -> None:
        """Frees a lock."""
        await self._answer(self._extend(keys=[self._lock(name)], args=[holder, token, 0]))

    async def holder(self, name: str) -> Holder | None:
        """Returns who holds a lock."""
        holder, token = await self._answer(self._client.hmget(self._lock(name), "holder", "token"))
        return None if holder is None else Holder(_text(holder), int(token))

    async def changed(self, name: str, seconds: float) -> None:  # noqa: ARG002 - expiry is told to nobody
        """Returns after the time."""
        await self._sleep(seconds)

    def _lock(self, name: str) -> str:
        return f"{self._prefix}:{{{name}}}:lock"

    def _token(self, name: str) -> str:
        return f"{self._prefix}:{{{name}}}:token"

    @staticmethod
    async def _answer(asked: Any) -> Any:
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT.total_seconds()):
                return await asked
        except TimeoutError:
            raise LockUnavailable(f"Redis does not answer within {ANSWER_TIMEOUT.total_seconds():g} s") from None
        except (RedisError, OSError) as error:
            raise LockUnavailable(f"Redis: {type(error).__name__}") from error


def _text(value: str | bytes) -> str:
    return value if isinstance(value, str) else value.decode()


@asynccontextmanager
async def open_redis_locks(url: str) -> AsyncIterator[RedisLocks]:
    """Opens `redis://host:port/0` or `rediss://…` for the length of a block."""
    seconds = ANSWER_TIMEOUT.total_seconds()
    client = Redis.from_url(
        url, socket_timeout=seconds, socket_connect_timeout=seconds, retry=Retry(NoBackoff(), 0), client_name="placet"
    )
    try:
        yield RedisLocks(client)
    finally:
        await client.aclose()
