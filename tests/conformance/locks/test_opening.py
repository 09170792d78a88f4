"""Stores of locks by their URL."""

import sys
from datetime import timedelta
from uuid import uuid4

import pytest
from kazoo.client import KazooClient
from redis import Redis

from conformance.locks.kinds import AsyncSql
from placet_rpc.locks import Locks, open_locks


@pytest.fixture(params=["sqlite", "postgres", "mariadb", "redis", "zookeeper"])
async def url(request):
    """Where locks are kept, and gone after the test."""
    if request.param == "redis":
        url = request.getfixturevalue("redis_server")
        yield url
        with Redis.from_url(url) as client:
            for key in client.scan_iter("placet:{opened-*"):
                client.delete(key)
    elif request.param == "zookeeper":
        servers, node = request.getfixturevalue("zookeeper_servers"), f"/t{uuid4().hex}"
        yield f"zookeeper://{servers}{node}"
        client = KazooClient(servers)
        client.start()
        client.delete(node, recursive=True)
        client.stop()
        client.close()
    else:
        kind = AsyncSql(request.getfixturevalue(f"{request.param}_url"))
        await kind.prepare()
        engine = kind.engine()
        yield engine.url.render_as_string(hide_password=False)
        await engine.dispose()


async def test_a_url_opens_a_store_and_closes_it(url):
    """A lock is taken and freed, with nothing but a URL."""
    name = f"opened-{uuid4().hex}"
    async with open_locks(url) as store:
        async with await Locks(store).acquire(name, timedelta(seconds=5)) as lease:
            assert (await store.holder(name)).token == lease.token
        assert await store.holder(name) is None


@pytest.mark.parametrize(
    ("url", "library", "extra"),
    [
        ("redis://127.0.0.1:6379/0", "redis", "redis"),
        ("zookeeper://127.0.0.1:2181", "kazoo", "zookeeper"),
        ("postgresql+asyncpg://u:secret@127.0.0.1/x", "asyncpg", "postgres"),
        ("mysql+asyncmy://u:secret@127.0.0.1/x", "asyncmy", "mysql"),
        ("sqlite+aiosqlite:///x", "aiosqlite", "server"),
    ],
)
async def test_a_missing_library_is_named_with_its_extra(url, library, extra, monkeypatch):
    """The error says what to install, and shows no password."""
    for name in [name for name in sys.modules if name.split(".")[0] == library]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, library, None)
    for name in ("placet_rpc.locks.redis", "placet_rpc.locks.zookeeper", "placet_rpc.zookeeper_session"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    with pytest.raises(ImportError, match=rf"{library}.*pip install 'placet\[{extra}\]'") as caught:
        async with open_locks(url):
            pass
    assert "secret" not in str(caught.value)


def test_a_url_of_nothing_that_keeps_locks_is_refused():
    """What could be meant is listed; what was given is not shown, for it may hold a password."""
    with pytest.raises(ValueError, match="redis, rediss, zookeeper, postgresql") as caught:
        open_locks("etcd://user:secret@127.0.0.1:2379")
    assert "secret" not in str(caught.value)
