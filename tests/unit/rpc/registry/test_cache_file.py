"""The file: what survives a kill, a full disk, a damaged byte, and other processes."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from placet_rpc.chance import Chance
from placet_rpc.registry import CacheSettings, RegistryCache
from placet_rpc.registry.cache_file import FILES_MAX, CacheFile, Saved
from unit.rpc.registry.conftest import ScriptedRegistry, instances, shown
from virtual_time import VirtualClock

URL = "redis://user:secret@127.0.0.1:6379/0"
KILLED_WHILE_SAVING = """
import sys
from pathlib import Path
from placet_rpc.registry.cache_file import CacheFile, Saved
from placet_rpc.registry import Endpoint
file = CacheFile(Path(sys.argv[1]), sys.argv[2], "order")
endpoints = tuple(Endpoint(instance_id=f"i{n}", urls=("tcp://127.0.0.1:1",)) for n in range(1000))
number = 0
while True:
    number += 1
    file.save({"stock/1": Saved(endpoints=endpoints, saved_at=float(number))})
    if number == 1:
        print("saved", flush=True)
"""


def saved(names: str, saved_at: float = 1.0) -> Saved:
    return Saved(endpoints=instances(names), saved_at=saved_at)


@pytest.fixture
def file(tmp_path) -> CacheFile:
    """The file of one process."""
    return CacheFile(tmp_path / "cache", URL, "order")


def paths(tmp_path) -> list[Path]:
    return sorted((tmp_path / "cache").glob("*.json"))


def test_what_is_saved_is_loaded_by_the_next_process(file, tmp_path):
    """Another process of the application, with a file of its own, reads it whole."""
    services = {"stock/1": saved("ab"), "price/1": saved("c")}
    file.save(services)
    assert CacheFile(tmp_path / "cache", URL, "order").load() == services


def test_nothing_saved_is_nothing_loaded(file):
    """A first start has no file, which is no error."""
    assert file.load() == {}


def test_the_newest_word_of_each_service_counts(file, tmp_path):
    """Of several processes' files each service is taken from the one whose registry spoke last."""
    other = CacheFile(tmp_path / "cache", URL, "order")
    file.save({"stock/1": saved("a", 5), "price/1": saved("a", 1)})
    other.save({"stock/1": saved("b", 4), "price/1": saved("b", 2)})
    assert {name: shown_names(one) for name, one in file.load().items()} == {"stock/1": "a", "price/1": "b"}


def shown_names(one: Saved) -> str:
    return "".join(endpoint.instance_id for endpoint in one.endpoints)


def test_registries_and_applications_do_not_mix(file, tmp_path):
    """Another registry's instances of the same service are others; so are another application's files."""
    file.save({"stock/1": saved("a")})
    assert CacheFile(tmp_path / "cache", "redis://127.0.0.1:6380/0", "order").load() == {}
    assert CacheFile(tmp_path / "cache", URL, "price").load() == {}


def test_other_credentials_and_options_are_the_same_registry(file, tmp_path):
    """A changed password or lease does not lose the cache, and no secret is in a name or a file."""
    file.save({"stock/1": saved("a")})
    assert CacheFile(tmp_path / "cache", "redis://127.0.0.1:6379/0?lease_ms=1000", "order").load()
    (path,) = paths(tmp_path)
    assert "secret" not in path.name + path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("harm", ["flip", "cut", "empty", "version", "json"])
def test_a_damaged_file_is_not_used(harm, file, tmp_path, caplog):
    """A byte changed, an end cut off, another version: the file counts as absent, with a line in the log."""
    file.save({"stock/1": saved("abc")})
    (path,) = paths(tmp_path)
    data = path.read_bytes()
    harmed = {
        "flip": data.replace(b"tcp://b", b"tcp://x"),
        "cut": data[:-10],
        "empty": b"",
        "version": data.replace(b"cache 1", b"cache 2"),
        "json": data.partition(b"\n")[0] + b"\n{}",
    }[harm]
    assert harmed != data
    path.write_bytes(harmed)
    assert file.load() == {}
    assert "is not used" in caplog.text


def test_a_process_killed_while_saving_leaves_a_whole_file(file, tmp_path):
    """kill -9 at any moment leaves the file before or the file after, never a part."""
    for _ in range(3):
        command = [sys.executable, "-c", KILLED_WHILE_SAVING, str(tmp_path / "cache"), URL]
        process = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert process.stdout.readline() == b"saved\n"
        process.kill()
        process.communicate()
        loaded = file.load()
        assert len(loaded["stock/1"].endpoints) == 1000


def test_old_files_of_ended_processes_go(file, tmp_path):
    """However often an application is started, so many files stay, the newest."""
    for number in range(FILES_MAX + 5):
        CacheFile(tmp_path / "cache", URL, "order").save({"stock/1": saved("a", number)})
        os.utime(max(paths(tmp_path), key=lambda path: path.stat().st_mtime_ns), (number, number))
    file.save({"stock/1": saved("z", 1000)})
    assert len(paths(tmp_path)) == FILES_MAX
    assert shown_names(file.load()["stock/1"]) == "z"


def make_cache(tmp_path, registry, clock, **options):
    async def nobody(_endpoint):
        return False

    settings = CacheSettings(folder=tmp_path / "cache", **options)
    return RegistryCache(
        registry, probe=nobody, name=URL, app="order", settings=settings, clock=clock, chance=Chance(1)
    )


@pytest.fixture
async def clock():
    """The machine's time: files are written by threads."""
    return VirtualClock()


@pytest.fixture
async def registry():
    return ScriptedRegistry(VirtualClock())


async def remember(tmp_path, registry, clock):
    """A client's life: it hears of two instances and ends."""
    registry.say("ab")
    cache = make_cache(tmp_path, registry, clock)
    follower = await cache.follow("stock/1")
    await follower.known.wait()
    await cache.aclose()


async def test_a_client_starts_with_its_registry_down(tmp_path, registry, clock):
    """The last word of the life before is there at once, with its age."""
    await remember(tmp_path, registry, clock)
    clock.turn(3600)
    registry.go_down()
    cache = make_cache(tmp_path, registry, clock)
    follower = await cache.follow("stock/1")
    assert follower.known.is_set()
    assert shown(cache.snapshot("stock/1")) == "ab"
    assert cache.age("stock/1").total_seconds() == pytest.approx(3600, abs=1)
    await cache.aclose()


async def test_a_word_older_than_allowed_is_not_believed(tmp_path, registry, clock, caplog):
    """With `max_age` the service is unknown instead, and the log says so."""
    await remember(tmp_path, registry, clock)
    clock.turn(3600)
    registry.go_down()
    cache = make_cache(tmp_path, registry, clock, max_age=CacheSettings().hold * 59)
    await cache.follow("stock/1")
    assert cache.snapshot("stock/1") is None
    assert "3600 s old" in caplog.text
    await cache.aclose()


async def test_services_of_an_earlier_life_are_kept(tmp_path, registry, clock):
    """A life that did not call a service does not lose it for the next."""
    await remember(tmp_path, registry, clock)
    cache = make_cache(tmp_path, registry, clock)
    await (await cache.follow("price/1")).known.wait()
    await cache.aclose()
    assert set(CacheFile(tmp_path / "cache", URL, "order").load()) == {"stock/1", "price/1"}


async def test_a_folder_that_can_not_be_written_costs_the_file_only(tmp_path, registry, clock, caplog):
    """Calls go on; the log says what is lost."""
    (tmp_path / "cache").write_text("a file where the folder should be")
    registry.say("ab")
    cache = make_cache(tmp_path, registry, clock)
    follower = await cache.follow("stock/1")
    await follower.known.wait()
    assert shown(follower.snapshot) == "ab"
    await cache.aclose()
    assert cache.save_failures == 1
    assert "can't be saved" in caplog.text


async def test_files_that_can_not_be_read_cost_the_start_only(tmp_path, registry, clock, caplog, monkeypatch):
    """A disk that fails at the start leaves a client that asks its registry."""

    def broken(_file):
        raise OSError("input/output error")

    monkeypatch.setattr(CacheFile, "load", broken)
    registry.say("ab")
    cache = make_cache(tmp_path, registry, clock)
    await (await cache.follow("stock/1")).known.wait()
    assert shown(cache.snapshot("stock/1")) == "ab"
    assert "can't be read" in caplog.text
    await cache.aclose()
