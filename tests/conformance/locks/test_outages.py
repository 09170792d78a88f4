"""What locks do when their server is killed and comes back, or lives and answers nothing."""

import asyncio
import time
from datetime import timedelta

import pytest

from conformance.locks.kinds import KINDS
from placet_rpc.locks.lock import Locks
from placet_rpc.locks.redis import RedisLocks
from placet_rpc.locks.store import LockUnavailable

LONG_MS = 30_000
LONGEST = timedelta(seconds=2)


@pytest.fixture(params=["postgres", "mariadb", "redis", "zookeeper"])
async def kind(request, private_server):
    """The stores that have a server, each with one of the test's own."""
    server = private_server(request.param)
    kind = KINDS[request.param][0](server.url)
    kind.server = server
    kind.ttl_ms = LONG_MS if kind.survives else LONGEST // timedelta(milliseconds=1)
    if request.param == "redis":
        await _outlive_quarantine(kind)
    await kind.prepare()
    return kind


async def _outlive_quarantine(kind):
    """A Redis that is new gives nothing away for a while; what follows is about one that is not."""

    async def open_soon():
        client = kind.client()
        store = RedisLocks(client, prefix=kind.space, longest=LONGEST)
        store.client = client
        return store

    kind.open = open_soon
    store = await kind.open()
    async with asyncio.timeout(20):
        while (token := await store.take("m", "first", 300)) is None:  # noqa: ASYNC110 - no event crosses processes
            await asyncio.sleep(0.05)
    await store.give_back("m", "first", token)
    await kind.close(store)


async def answered(ask):
    """The store's answer, as soon as it gives one again."""
    async with asyncio.timeout(40):
        while True:
            try:
                return await ask()
            except LockUnavailable:
                await asyncio.sleep(0.05)


async def test_a_killed_server_gives_no_token_twice_and_no_lock_to_two(kind, store, other):
    """After its restart the lock is still held, or given to nobody until the old lease must be over."""
    asked_at = time.monotonic()
    ttl_ms = kind.ttl_ms
    token = await store.take("m", "a", ttl_ms)
    kind.server.kill()
    with pytest.raises(LockUnavailable):
        await other.take("m", "b", ttl_ms)
    kind.server.start()
    assert await answered(lambda: other.take("m", "b", ttl_ms)) is None or time.monotonic() - asked_at > ttl_ms / 1000
    if kind.survives:
        assert await answered(lambda: store.extend("m", "a", token, ttl_ms))
        await store.give_back("m", "a", token)
    else:
        assert not await answered(lambda: store.extend("m", "a", token, ttl_ms))
    async with asyncio.timeout(20):
        while (following := await answered(lambda: other.take("m", "b", ttl_ms))) is None:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.05)
    assert following > token
    assert kind.survives or time.monotonic() - asked_at > ttl_ms / 1000


async def test_a_lease_that_can_not_be_extended_is_given_up_before_another_can_have_it(kind, store):
    """A server that answers nothing costs the holder its lease, in time, by its own clock."""
    ttl = timedelta(seconds=2)
    lost = asyncio.Event()
    lease = await Locks(store).acquire("m", ttl)
    lease.on_lost(lost.set)
    kind.server.stop()
    try:
        stopped_at = time.monotonic()
        async with asyncio.timeout(20):
            await lost.wait()
        assert not lease.is_held
        assert time.monotonic() - stopped_at < ttl.total_seconds() + 1
    finally:
        kind.server.go_on()
    async with asyncio.timeout(30):
        async with await answered(lambda: Locks(store).acquire("m", ttl)) as following:
            assert following.token > lease.token
