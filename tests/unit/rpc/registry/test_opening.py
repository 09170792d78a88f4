"""From a URL to a registry: what is accepted, and what the error says."""

import sys

import pytest

from placet_rpc.registry import Endpoint, open_registry
from placet_rpc.registry.coordinator import CoordinatorRegistry
from placet_rpc.registry.redis import RedisRegistry


@pytest.mark.parametrize(
    ("url", "rule"),
    [
        ("etcd://127.0.0.1:2379", "nothing offers 'etcd'"),
        ("redis://127.0.0.1:6379/0?lease=1", "give each of lease_ms, poll_ms, prefix"),
        ("redis://127.0.0.1:6379/0?lease_ms=0", "give a number from 1"),
        ("redis://127.0.0.1:6379/0?lease_ms=1&lease_ms=2", "once at most"),
        ("zookeeper://", "write zookeeper://host:port"),
        ("zookeeper://a:1,,b:2/x", "write zookeeper://host:port"),
        ("coordinator+ftp://a:1", "write coordinator"),
        ("coordinator", "write coordinator"),
    ],
)
async def test_a_url_that_is_none_is_refused_with_the_rule(url, rule):
    """Nothing is connected to; the message says what to write."""
    with pytest.raises(ValueError, match=rule):
        open_registry(url)


@pytest.mark.parametrize(
    ("url", "library", "extra"),
    [
        ("redis://127.0.0.1:6379/0", "redis", "placet[redis]"),
        ("zookeeper://127.0.0.1:2181", "kazoo", "placet[zookeeper]"),
    ],
)
async def test_a_missing_library_is_named_with_its_extra(url, library, extra, monkeypatch):
    """Without the extra the error says what to install."""
    for name in [name for name in sys.modules if name.split(".")[0] == library]:
        monkeypatch.setitem(sys.modules, name, None)
    for name in ("placet_rpc.registry.redis", "placet_rpc.registry.zookeeper", "placet_rpc.zookeeper_session"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    with pytest.raises(ImportError, match="not installed") as error:
        open_registry(url)
    assert f"pip install '{extra}'" in str(error.value)


async def test_passwords_are_in_no_error():
    """What is wrong with a URL is said without it."""
    for url in ("redis://user:secret@127.0.0.1/0?x=1", "zookeeper://user:secret@,/x", "coordinator+ftp://u:secret@a"):
        with pytest.raises(ValueError) as error:
            open_registry(url)
        assert "secret" not in str(error.value)


async def test_options_reach_the_registry():
    """A lease in the URL is the registry's."""
    for url, kind in (
        ("redis://127.0.0.1:1/0?lease_ms=1500", RedisRegistry),
        ("coordinator+http://a:1?lease_ms=1500", CoordinatorRegistry),
    ):
        registry = open_registry(url)
        assert isinstance(registry, kind)
        assert registry.lease.total_seconds() == 1.5
        await registry.aclose()


async def test_clients_of_one_memory_registry_share_it():
    """The name is the registry; another name is another one."""
    one, same, other = (open_registry(f"memory:{name}") for name in ("x", "x", "y"))
    await one.register("stock/1", Endpoint(instance_id="a", urls=("tcp://a:1",)))
    assert len((await anext(same.watch("stock/1"))).endpoints) == 1
    assert len((await anext(other.watch("stock/1"))).endpoints) == 0


@pytest.mark.parametrize(
    ("fields", "rule"),
    [
        ({"instance_id": "a/b"}, "no instance_id"),
        ({"urls": ()}, "give 1 to 8"),
        ({"weight": -1}, "give 0 to 10000"),
        ({"weight": 10_001}, "give 0 to 10000"),
    ],
)
async def test_an_endpoint_that_no_registry_could_hold_is_none(fields, rule):
    """The limits are those of the narrowest registry."""
    with pytest.raises(ValueError, match=rule):
        Endpoint(**{"instance_id": "a", "urls": ("tcp://a:1",)} | fields)
