"""A configuration in Redis, under one key: `PREFIX:configuration:NAME`. Needs the extra `redis`.

    redis://user:password@127.0.0.1:6379/0?name=order&poll_ms=1000&prefix=placet

It is put there as a whole: `redis-cli -x set placet:configuration:order < order.json`.
"""

import asyncio
from collections.abc import AsyncGenerator
from datetime import timedelta

from redis.asyncio import Redis
from redis.exceptions import RedisError

from placet_rpc.chance import Chance, new_chance
from placet_rpc.clock import SYSTEM_CLOCK, Clock
from placet_rpc.configuration.opening import SourceContext
from placet_rpc.configuration.source import (
    ASK_TIMEOUT,
    DOCUMENT_BYTES_MAX,
    POLL_MS,
    SourceUnavailable,
    Stored,
    polled,
    revision_of,
)
from placet_rpc.redis_client import open_client
from placet_rpc.url_options import take_options

PREFIX = "placet"
_CONNECTIONS_MAX = 2


class RedisSource:
    """Satisfies `ConfigurationSource`.

    Args:
        client: of redis-py; the source closes it.
        name: of the configuration.
        prefix: of all keys.
        poll: how often a watch looks, give or take a fifth.
        clock: where time comes from.
        chance: where jitter comes from.
    """

    def __init__(
        self,
        client: Redis,
        name: str,
        *,
        prefix: str = PREFIX,
        poll: timedelta = timedelta(milliseconds=POLL_MS),
        clock: Clock = SYSTEM_CLOCK,
        chance: Chance | None = None,
    ) -> None:
        self._client = client
        self._key = f"{prefix}:configuration:{name}"
        self._poll, self._clock, self._chance = poll, clock, chance or new_chance()

    async def read(self) -> Stored | None:
        """Returns the key's value; None: there is no key, or nothing in it."""
        try:
            async with asyncio.timeout(ASK_TIMEOUT.total_seconds()):
                document = await self._client.getrange(self._key, 0, DOCUMENT_BYTES_MAX)
        except TimeoutError:
            raise SourceUnavailable(f"Redis does not answer within {ASK_TIMEOUT.total_seconds():g} s") from None
        except (RedisError, OSError) as error:
            raise SourceUnavailable(f"Redis: {type(error).__name__}: {error}") from None
        data = document.encode() if isinstance(document, str) else document
        return Stored(revision_of(data), data) if data else None

    def watch(self) -> AsyncGenerator[Stored | None, None]:
        """Yields the key's value each time that it has looked."""
        return polled(self.read, clock=self._clock, chance=self._chance, poll=self._poll)

    async def aclose(self) -> None:
        """Closes the connections."""
        await self._client.aclose()


def open_redis(url: str, context: SourceContext) -> RedisSource:
    """Opens `redis://HOST:PORT/DB?name=NAME` or `rediss://…`."""
    allowed = {"name": "", "prefix": PREFIX, "poll_ms": POLL_MS, "ca_file": ""}
    address, options = take_options(url, allowed, "configuration")
    if not options["name"]:
        raise ValueError("a configuration in Redis has a name: write redis://host:port/0?name=…")
    client = open_client(
        address, ca_file=options["ca_file"], answer_timeout=ASK_TIMEOUT, max_connections=_CONNECTIONS_MAX
    )
    return RedisSource(
        client,
        options["name"],
        prefix=options["prefix"],
        poll=timedelta(milliseconds=options["poll_ms"]),
        clock=context.clock,
        chance=context.chance,
    )
