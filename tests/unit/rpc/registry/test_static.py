"""The registry that is written by hand."""

import json
import os
from contextlib import aclosing

import pytest

from placet_rpc.registry import RegistryRefused, RegistryUnavailable, open_registry
from placet_rpc.registry.static import StaticRegistry
from unit.rpc.registry.conftest import instance

FILE = {
    "stock/1": [
        {"urls": ["tcp://10.0.0.2:20880", "http://10.0.0.2:80/rpc"], "weight": 50, "zone": "north"},
        {"instance_id": "a", "urls": ["tcp://10.0.0.1:20880"]},
    ]
}


@pytest.fixture
def file(tmp_path):
    """A registry's file."""
    path = tmp_path / "services.json"
    path.write_text(json.dumps(FILE))
    return path


class Turned:
    """A clock whose waits are over at once."""

    def monotonic(self):
        return 0.0

    def wall(self):
        return 0.0

    async def sleep(self, seconds):
        return


async def first(registry, service):
    async with aclosing(registry.watch(service)) as watch:
        return await anext(watch)


async def test_every_service_is_at_the_addresses_of_the_url():
    """Addresses become instances whose ids are made from them."""
    registry = open_registry("static:tcp://127.0.0.1:20880,http://[::1]:80/rpc")
    snapshot = await first(registry, "any/1")
    assert [(e.instance_id, e.urls) for e in snapshot.endpoints] == [
        ("1-80-rpc", ("http://[::1]:80/rpc",)),
        ("127.0.0.1-20880", ("tcp://127.0.0.1:20880",)),
    ]


async def test_a_file_names_services_and_their_instances(file):
    """Weights and zones are as written; an unlisted service has no instances."""
    registry = open_registry(f"static:{file}")
    snapshot = await first(registry, "stock/1")
    assert [(e.instance_id, e.weight, e.zone) for e in snapshot.endpoints] == [
        ("10.0.0.2-20880", 50, "north"),
        ("a", 100, ""),
    ]
    assert (await first(registry, "price/1")).endpoints == ()


async def test_a_changed_file_is_read_again(file):
    """A watch under way sees the change, under a later revision; a touched file is no change."""
    async with aclosing(StaticRegistry(file=file, clock=Turned()).watch("stock/1")) as watch:
        before = await anext(watch)
        os.utime(file, (1, 1))
        assert await anext(watch) == before
        file.write_text(json.dumps({"stock/1": FILE["stock/1"][1:]}))
        after = await anext(watch)
    assert [e.instance_id for e in after.endpoints] == ["a"]
    assert after.revision > before.revision


@pytest.mark.parametrize(
    ("content", "rule"),
    [
        ("{", "truncated"),
        ('{"stock/1": [{"urls": []}]}', "is no address"),
        ('{"stock/1": [{"urls": ["tcp://a:1"], "wieght": 1}]}', "wieght"),
        ('{"stock/1": [{"urls": ["tcp://a:1"]}, {"urls": ["tcp://a:1"]}]}', "twice"),
        ('{"stock/1": [{"urls": ["tcp://a:1"], "weight": -1}]}', "weight -1"),
    ],
)
def test_a_file_with_an_error_is_refused_at_the_start(content, rule, file):
    """The message names the file and the rule."""
    file.write_text(content)
    with pytest.raises(ValueError, match=rule) as error:
        open_registry(f"static:{file}")
    assert str(file) in str(error.value)


async def test_an_error_written_later_leaves_the_last_word(file):
    """A watch under way says that it knows nothing, so the cache keeps what it had."""
    async with aclosing(StaticRegistry(file=file, clock=Turned()).watch("stock/1")) as watch:
        await anext(watch)
        file.write_text("{")
        with pytest.raises(RegistryUnavailable, match="is no registry"):
            await anext(watch)


async def test_nobody_can_register(file):
    """A server that is told to announce itself in a file learns that it can't."""
    registry = open_registry(f"static:{file}")
    with pytest.raises(RegistryRefused, match="written by hand"):
        await registry.register("stock/1", instance("a"))


@pytest.mark.parametrize("url", ["static:", "static:tcp://", "static:/nowhere/services.json", "static:tcp://a:1,b:2"])
def test_a_url_that_says_nothing_is_refused(url):
    """There is an error at once, not a client without instances."""
    with pytest.raises((ValueError, OSError)):
        open_registry(url)
