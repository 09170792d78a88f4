"""What is ZooKeeper's alone: sessions that expire, and nodes that belong to a user."""

import asyncio
from contextlib import aclosing, suppress

import pytest
from kazoo.client import KazooClient

from conformance.registry.announce import endpoint
from conformance.registry.kinds import ZooKeeperKind
from conformance.registry.test_registry import ids, seen, until
from placet_rpc.registry import Announcer, RegistryRefused, RegistryUnavailable, open_registry

SERVICE = "stock/1"


@pytest.fixture
def kind(zookeeper_servers):
    kind = ZooKeeperKind(zookeeper_servers)
    yield kind
    kind.clear()


def expire(registry, servers) -> None:
    """Ends a session as ZooKeeper would: by its id and password, from elsewhere."""
    other = KazooClient(servers, client_id=registry._session._client.client_id)
    other.start()
    other.stop()
    other.close()


def remove(kind, credentials) -> None:
    """Removes a test's nodes as the user that made them."""
    client = KazooClient(kind.address, auth_data=[("digest", credentials)])
    client.start()
    client.delete(f"/{kind.space}", recursive=True)
    client.stop()
    client.close()


async def test_an_expired_session_is_followed_by_another_that_announces_again(kind, opened):
    """The node is gone with the session; the reconcile loop sees it and makes another, without being told."""
    registry, watcher = opened(lease_ms=1_500), opened()
    announcer = Announcer(registry, [SERVICE], endpoint("a"))
    await announcer.start()
    async with aclosing(watcher.watch(SERVICE)) as watch:
        first = await until(watch, lambda snapshot: ids(snapshot) == ["a"])
        await asyncio.to_thread(expire, registry, kind.address)
        await until(watch, lambda snapshot: ids(snapshot) == [])
        again = await until(watch, lambda snapshot: ids(snapshot) == ["a"])
    assert again.revision > first.revision
    await announcer.withdraw()
    assert ids(await seen(watcher, SERVICE)) == []


async def test_a_watch_whose_session_expired_does_not_miss_the_change(kind, opened):
    """It goes on in the next session or says that it can't; what came meanwhile is seen."""
    registry, watcher = opened(), opened()
    async with aclosing(watcher.watch(SERVICE)) as watch:
        await anext(watch)
        await asyncio.to_thread(expire, watcher, kind.address)
        await registry.register(SERVICE, endpoint("a"))
        with suppress(RegistryUnavailable):
            await until(watch, lambda snapshot: ids(snapshot) == ["a"])
            return
    assert ids(await seen(watcher, SERVICE)) == ["a"]


async def test_an_instance_left_by_a_dead_session_is_taken_over(kind, registry):
    """A process that comes back under its id, before its old session has ended, is not withdrawn with it."""
    await kind.announce_and_die(SERVICE, "a", 1_500)
    await registry.register(SERVICE, endpoint("a", port=7002))
    async with aclosing(registry.watch(SERVICE)) as watch:
        with suppress(TimeoutError):
            async with asyncio.timeout(3):  # the old session ends within it
                async for snapshot in watch:
                    (instance,) = snapshot.endpoints
                    assert instance.urls == ("http://127.0.0.1:7002/rpc",)


async def test_nodes_of_a_user_are_read_by_all_and_changed_by_none(kind, opened):
    """With credentials in the URL nobody else can announce in this user's place."""
    owner = open_registry(f"zookeeper://order:secret@{kind.address}/{kind.space}/own")
    stranger = open_registry(f"zookeeper://{kind.address}/{kind.space}/own")
    try:
        await owner.register(SERVICE, endpoint("a"))
        assert ids(await seen(stranger, SERVICE)) == ["a"]
        for instance in ("a", "b"):
            with pytest.raises(RegistryRefused) as refused:
                await stranger.register(SERVICE, endpoint(instance, port=7002))
            assert "secret" not in str(refused.value)
        await owner.register(SERVICE, endpoint("a", port=7003))
        (instance,) = (await seen(stranger, SERVICE)).endpoints
        assert instance.urls == ("http://127.0.0.1:7003/rpc",)
    finally:
        await owner.aclose()
        await stranger.aclose()
        await asyncio.to_thread(remove, kind, "order:secret")


async def test_one_bad_node_does_not_hide_the_others(kind, registry, caplog):
    """What is no record is left out, with a line in the log; when it becomes one, it is seen."""
    await registry.register(SERVICE, endpoint("b"))
    path = f"{registry._path(SERVICE)}/a"
    await registry._session.ask("create", path, b"rubbish")
    async with aclosing(registry.watch(SERVICE)) as watch:
        assert ids(await anext(watch)) == ["b"]
        assert "is left out" in caplog.text
        await registry._session.ask("set", path, b'{"urls": ["tcp://127.0.0.1:1"]}')
        await until(watch, lambda snapshot: ids(snapshot) == ["a", "b"])
