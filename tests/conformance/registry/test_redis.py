"""What is Redis's alone: memory that is lost, replicas that lag, keys that would stay."""

from contextlib import aclosing

import pytest
from redis import Redis

from conformance.registry.announce import endpoint
from conformance.registry.kinds import RedisKind
from conformance.registry.test_registry import ids, seen, until

SERVICE = "stock/1"


@pytest.fixture
def kind(redis_server):
    kind = RedisKind(redis_server)
    yield kind
    kind.clear()


@pytest.fixture
def server(kind):
    """Redis itself."""
    with Redis.from_url(f"redis://{kind.address}/0") as client:
        yield client


def keys(kind, server) -> list[bytes]:
    return sorted(server.scan_iter(f"{kind.space}:*"))


async def test_lost_memory_is_a_new_epoch(kind, registry, server):
    """A watch under way sees an emptied Redis as empty, and what is announced again as later."""
    await registry.register(SERVICE, endpoint("a"))
    async with aclosing(registry.watch(SERVICE)) as watch:
        first = await anext(watch)
        server.delete(*keys(kind, server))
        lost = await until(watch, lambda snapshot: ids(snapshot) == [])
        assert lost.epoch != first.epoch
        await registry.register(SERVICE, endpoint("a"))
        again = await until(watch, lambda snapshot: ids(snapshot) == ["a"])
    assert again.epoch == lost.epoch
    assert again.revision > first.revision


async def test_what_a_lagging_replica_lost_is_later_again(kind, registry, opened, server):
    """After a failover to an older state a client ignores it, and believes the renewals that mend it."""
    await registry.register(SERVICE, endpoint("a"))
    older = {key: server.dump(key) for key in keys(kind, server)}
    await registry.register(SERVICE, endpoint("b"))
    before = await seen(registry, SERVICE)
    for key, value in older.items():
        server.restore(key, 60_000, value, replace=True)
    failed_over = await seen(opened(), SERVICE)
    assert (ids(failed_over), failed_over.epoch) == (["a"], before.epoch)
    assert failed_over.revision < before.revision
    await registry.register(SERVICE, endpoint("b"))
    mended = await seen(opened(), SERVICE)
    assert ids(mended) == ["a", "b"]
    assert mended.revision > before.revision


async def test_no_service_leaves_keys_for_ever(kind, registry, server):
    """Every key has an end, also that of a service which was only asked for."""
    await registry.register(SERVICE, endpoint("a"))
    await seen(registry, "unheard-of/1")
    assert len(keys(kind, server)) == 4
    assert all(server.pttl(key) > 0 for key in keys(kind, server))


async def test_one_bad_entry_does_not_hide_the_others(kind, registry, server, caplog):
    """What is no record is left out, with a line in the log."""
    await registry.register(SERVICE, endpoint("b"))
    server.hset(
        f"{kind.space}:{{{SERVICE}}}:instances",
        mapping={"a": "rubbish", "c": '{"by":"","record":"{}","began_at_ms":"0"}'},
    )
    assert ids(await seen(registry, SERVICE)) == ["b"]
    assert "is left out" in caplog.text


async def test_scripts_that_redis_forgot_are_loaded_again(registry, server):
    """A restart, or somebody's SCRIPT FLUSH, is not noticed."""
    await registry.register(SERVICE, endpoint("a"))
    server.script_flush()
    await registry.register(SERVICE, endpoint("b"))
    server.script_flush()
    assert ids(await seen(registry, SERVICE)) == ["a", "b"]
