"""Redis as a registry.

    redis://user:password@127.0.0.1:6379/0?lease_ms=15000&poll_ms=1000&prefix=placet

Three keys hold a service; their common `{…}` keeps them in one slot of a cluster:

    PREFIX:{SERVICE}:instances   hash: instance id → record
    PREFIX:{SERVICE}:leases      sorted set: instance id by the end of its lease, in milliseconds of Redis's clock
    PREFIX:{SERVICE}:state       hash: epoch, revision

Each change is one script, which Redis runs alone; each look first ends the leases that are over, so whoever looks
next after the end of a lease makes it a change like any other, and no expiry of a key goes unnoticed. A look costs
Redis one script of a few microseconds and, unless something has changed, answers with two numbers.

A revision is the time of its change, or one more than the last if that is later. So it grows through a restart that
has lost the last second, and through a failover to a replica that lagged behind: what the lost writes had changed is
changed again by the next renewals, under a later revision.
"""

import asyncio
import re
from collections.abc import AsyncGenerator
from datetime import timedelta
from typing import Any
from uuid import uuid4

import msgspec
from redis.asyncio import Redis
from redis.exceptions import AuthenticationError, AuthorizationError, NoPermissionError, RedisError

from placet_rpc.chance import Chance, new_chance
from placet_rpc.clock import SYSTEM_CLOCK, Clock
from placet_rpc.redis_client import open_client
from placet_rpc.registry.births import Births
from placet_rpc.registry.endpoint import Endpoint
from placet_rpc.registry.opening import RegistryContext
from placet_rpc.registry.record import age_ms, read_record, to_record
from placet_rpc.registry.registry import ASK_TIMEOUT, LEASE, RegistryRefused, RegistryUnavailable
from placet_rpc.registry.snapshot import Snapshot
from placet_rpc.url_options import take_options

POLL_MS = 1_000
PREFIX = "placet"
_CONNECTIONS_MAX = 16
_SCAN_SECONDS = 30
_SCAN_KEYS = 1_000
"""Looked at by one step of a scan."""

# Every script begins so: KEYS are instances, leases, state; ARGV[1] is an epoch for the case that there is none.
_BEGIN = """
local time = redis.call('time')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('hsetnx', KEYS[3], 'epoch', ARGV[1])
local function changed()
  local last = tonumber(redis.call('hget', KEYS[3], 'revision') or '0')
  redis.call('hset', KEYS[3], 'revision', string.format('%.0f', math.max(now, last + 1)))
end
local over = redis.call('zrangebyscore', KEYS[2], '-inf', now)
if #over > 0 then
  for _, id in ipairs(over) do
    redis.call('hdel', KEYS[1], id)
    redis.call('zrem', KEYS[2], id)
  end
  changed()
end
"""

# What nobody renews is gone an hour after its lease: no service leaves keys behind for ever.
_REGISTER = (
    _BEGIN
    + """
local id, lease, age, by, record = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[5], ARGV[6]
local known = redis.call('hget', KEYS[1], id)
local same = known and cjson.decode(known)
if not (same and same.by == by and same.record == record) then
  local entry = {by = by, record = record, began_at_ms = string.format('%.0f', now - age)}
  redis.call('hset', KEYS[1], id, cjson.encode(entry))
  changed()
end
redis.call('zadd', KEYS[2], now + lease, id)
for _, key in ipairs(KEYS) do
  redis.call('pexpire', key, lease + 3600000)
end
"""
)
_UNREGISTER = (
    _BEGIN
    + """
local known = redis.call('hget', KEYS[1], ARGV[2])
if known and cjson.decode(known).by == ARGV[3] then
  redis.call('hdel', KEYS[1], ARGV[2])
  redis.call('zrem', KEYS[2], ARGV[2])
  changed()
end
"""
)
_READ = (
    _BEGIN
    + """
if redis.call('pttl', KEYS[3]) < 0 then
  redis.call('pexpire', KEYS[3], 3600000)
end
local epoch, revision = redis.call('hget', KEYS[3], 'epoch'), redis.call('hget', KEYS[3], 'revision') or '0'
if epoch == ARGV[2] and revision == ARGV[3] then
  return {epoch, revision}
end
return {epoch, revision, string.format('%.0f', now), redis.call('hgetall', KEYS[1])}
"""
)


class Entry(msgspec.Struct, frozen=True):
    """What the hash holds of an instance.

    Attributes:
        by: the registry object that announced it.
        record: the `Record`.
        began_at_ms: when the instance started, by Redis's clock.
    """

    by: str
    record: str
    began_at_ms: str


_FOREIGN = Entry(by="", record="", began_at_ms="0")
_decode_entry = msgspec.json.Decoder(Entry).decode


class RedisRegistry:
    """Satisfies `Registry`.

    Args:
        client: of redis-py; the registry closes it.
        prefix: of all keys.
        lease: how long an announcement outlives its last renewal.
        poll: how often a watch looks, give or take a fifth.
        clock: where time comes from.
        chance: where jitter comes from.
    """

    def __init__(
        self,
        client: Redis,
        *,
        prefix: str = PREFIX,
        lease: timedelta = LEASE,
        poll: timedelta = timedelta(milliseconds=POLL_MS),
        clock: Clock = SYSTEM_CLOCK,
        chance: Chance | None = None,
    ) -> None:
        self.lease = lease
        self._client = client
        self._prefix = prefix
        self._lease_ms = lease // timedelta(milliseconds=1)
        self._poll_seconds = poll.total_seconds()
        self._clock = clock
        self._chance = chance or new_chance()
        self._me = uuid4().hex
        self._register = client.register_script(_REGISTER)
        self._unregister = client.register_script(_UNREGISTER)
        self._read = client.register_script(_READ)

    async def register(self, service: str, endpoint: Endpoint) -> None:
        """Announces an instance, or prolongs its announcement."""
        age = age_ms(endpoint, self._clock)
        await self._run(
            self._register, service, endpoint.instance_id, self._lease_ms, age, self._me, to_record(endpoint)
        )

    async def unregister(self, service: str, instance_id: str) -> None:
        """Withdraws what this object announced."""
        await self._run(self._unregister, service, instance_id, self._me)

    async def watch(self, service: str) -> AsyncGenerator[Snapshot, None]:
        """Yields the service's instances each time that it has looked."""
        births = Births()
        snapshot = Snapshot(service=service, revision=-1, endpoints=())
        while True:
            epoch, revision, *changed = await self._run(self._read, service, snapshot.epoch, snapshot.revision)
            if changed:
                now_ms, pairs = changed
                snapshot = Snapshot(
                    service=service,
                    revision=int(revision),
                    endpoints=self._endpoints(service, int(now_ms), pairs, births),
                    epoch=epoch.decode(),
                )
            yield snapshot
            await self._clock.sleep(self._poll_seconds * self._chance.uniform(0.8, 1.2))

    async def services(self) -> list[str]:
        """Returns the services whose keys are there, by a look through all keys, which leaves Redis time for others."""
        before, after = f"{self._prefix}:{{", "}:instances"
        found: set[str] = set()
        try:
            async with asyncio.timeout(_SCAN_SECONDS):
                async for key in self._client.scan_iter(f"{_literal(before)}*{_literal(after)}", count=_SCAN_KEYS):
                    found.add(key.decode(errors="replace").removeprefix(before).removesuffix(after))
        except TimeoutError:
            raise RegistryUnavailable(f"Redis has so many keys that {_SCAN_SECONDS} s are not enough") from None
        except (RedisError, OSError) as error:
            raise RegistryUnavailable(f"Redis: {type(error).__name__}: {error}") from None
        return sorted(found)

    async def aclose(self) -> None:
        """Closes the connections."""
        await self._client.aclose()

    async def _run(self, script: Any, service: str, *arguments: Any) -> Any:
        key = f"{self._prefix}:{{{service}}}"
        try:
            async with asyncio.timeout(ASK_TIMEOUT.total_seconds()):
                return await script(
                    keys=[f"{key}:instances", f"{key}:leases", f"{key}:state"], args=[uuid4().hex, *arguments]
                )
        except (AuthenticationError, AuthorizationError, NoPermissionError) as error:
            raise RegistryRefused(f"Redis: {error}") from None
        except TimeoutError:
            raise RegistryUnavailable(f"Redis does not answer within {ASK_TIMEOUT.total_seconds():g} s") from None
        except (RedisError, OSError) as error:
            raise RegistryUnavailable(f"Redis: {type(error).__name__}: {error}") from None

    def _endpoints(self, service: str, now_ms: int, pairs: list[bytes], births: Births) -> tuple[Endpoint, ...]:
        now = self._clock.monotonic()
        endpoints = {}
        for name, data in zip(pairs[::2], pairs[1::2], strict=True):
            instance_id = name.decode(errors="replace")
            try:
                entry = _decode_entry(data)
            except ValueError:
                entry = _FOREIGN
            record = read_record(service, instance_id, entry.record.encode())
            if record is not None:
                up_since = now - (now_ms - int(entry.began_at_ms)) / 1000
                life = (entry.by, entry.began_at_ms)
                endpoints[instance_id] = record.endpoint(instance_id, births.up_since(instance_id, life, up_since))
        births.keep_only(set(endpoints))
        return tuple(endpoints[instance_id] for instance_id in sorted(endpoints))


def _literal(text: str) -> str:
    """Takes the meaning of a pattern off the characters that have one."""
    return re.sub(r"([\\*?\[\]^-])", r"\\\1", text)


def open_redis(url: str, context: RegistryContext) -> RedisRegistry:
    """Opens `redis://HOST:PORT/DB` or `rediss://…`."""
    allowed = {"lease_ms": LEASE // timedelta(milliseconds=1), "poll_ms": POLL_MS, "prefix": PREFIX, "ca_file": ""}
    address, options = take_options(url, allowed, "registry")
    client = open_client(
        address, ca_file=options["ca_file"], answer_timeout=ASK_TIMEOUT, max_connections=_CONNECTIONS_MAX
    )
    return RedisRegistry(
        client,
        prefix=options["prefix"],
        lease=timedelta(milliseconds=options["lease_ms"]),
        poll=timedelta(milliseconds=options["poll_ms"]),
        clock=context.clock,
        chance=context.chance,
    )
