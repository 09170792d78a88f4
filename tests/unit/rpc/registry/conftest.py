"""A registry that says what a test wants it to, in virtual time."""

import asyncio
from collections import deque
from datetime import timedelta

import pytest

from placet_rpc.chance import Chance
from placet_rpc.registry import CacheSettings, Directory, Endpoint, RegistryCache, RegistryUnavailable, Snapshot
from virtual_time import VirtualClock, VirtualLoop

_WITH_THREADS = ("test_cache_file", "test_static", "test_wiring")


def pytest_asyncio_loop_factories(config, item):
    """Virtual time, but for the tests that read and write files or call servers."""
    if item.path.stem in _WITH_THREADS:
        return {"asyncio": asyncio.new_event_loop}
    return {"virtual": VirtualLoop}


def instance(name: str, **fields) -> Endpoint:
    """An instance."""
    return Endpoint(instance_id=name, urls=(f"tcp://{name}:1",), **fields)


def instances(names: str) -> tuple[Endpoint, ...]:
    """One instance per letter."""
    return tuple(instance(name) for name in names)


def shown(snapshot: Snapshot) -> str:
    """The instances of a snapshot as letters, suspects in capitals."""
    return "".join(e.instance_id.upper() if e.suspect else e.instance_id for e in snapshot.endpoints)


class ScriptedRegistry:
    """Says what it is told to say; keeps silent, fails, and forgets on command."""

    lease = timedelta(seconds=15)

    def __init__(self, clock):
        self.clock = clock
        self.down = False
        self.silent = False
        self.refuses = None
        self.registered = {}
        self.calls = []
        self.watches = 0
        self.closed = False
        self.said = Snapshot(service="stock/1", revision=1, endpoints=(), epoch="one")
        self._queue = deque()
        self._new = asyncio.Event()

    def say(self, names: str, revision: int | None = None, epoch: str = "one"):
        """Pushes a list; the revision is the next one if none is given."""
        revision = self.said.revision + 1 if revision is None else revision
        self.said = Snapshot(service="stock/1", revision=revision, endpoints=instances(names), epoch=epoch)
        self._queue.append(self.said)
        self._new.set()

    def go_down(self):
        """Fails all that is under way and all that comes."""
        self.down = True
        self._new.set()

    def come_back(self):
        self.down = False

    async def watch(self, service):
        self.watches += 1
        self._queue.clear()
        self._check()
        yield self.said
        while True:
            while self._queue:
                yield self._queue.popleft()
            self._new.clear()
            if self.silent:
                await asyncio.Event().wait()
            try:
                async with asyncio.timeout(5):
                    await self._new.wait()
            except TimeoutError:
                yield self.said
            self._check()

    async def register(self, service, endpoint):
        self.calls.append((self.clock.monotonic(), "register", service))
        self._check()
        self.registered[service, endpoint.instance_id] = endpoint

    async def unregister(self, service, instance_id):
        self.calls.append((self.clock.monotonic(), "unregister", service))
        self._check()
        self.registered.pop((service, instance_id), None)

    async def aclose(self):
        self.closed = True

    def _check(self):
        if self.refuses is not None:
            raise self.refuses
        if self.down:
            raise RegistryUnavailable("it is down")


class Living:
    """The instances that answer probes, as letters."""

    def __init__(self):
        self.names = ""
        self.asked = []

    async def __call__(self, endpoint):
        self.asked.append(endpoint.instance_id)
        if endpoint.instance_id == "!":
            raise OSError("no route")
        return endpoint.instance_id in self.names


@pytest.fixture
async def clock():
    return VirtualClock()


@pytest.fixture
async def registry(clock):
    return ScriptedRegistry(clock)


@pytest.fixture
async def living():
    return Living()


@pytest.fixture
async def make_cache(registry, living, clock):
    """Makes caches without a file, and closes them."""
    caches = []

    def make(**options):
        settings = CacheSettings(folder=None, **options)
        caches.append(RegistryCache(registry, probe=living, settings=settings, clock=clock, chance=Chance(1)))
        return caches[-1]

    yield make
    for cache in caches:
        await cache.aclose()


@pytest.fixture
async def directory(make_cache, clock):
    """A directory in front of the scripted registry."""
    directory = Directory(make_cache(), clock=clock)
    yield directory
    await directory.aclose()
