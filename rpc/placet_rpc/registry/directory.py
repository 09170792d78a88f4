"""Which instances a call may go to now: what the cache shows, weighted by what is known of the registry's doubts.

`snapshot` is asked for each call, so it is a look into two dicts; the frozen snapshot that it returns is another
object only if something has changed, so whatever a balancer computes from it may be kept with it.
"""

import asyncio
import logging
from contextlib import suppress
from datetime import timedelta
from urllib.parse import urlsplit

import msgspec

from placet_rpc.chance import Chance, new_chance
from placet_rpc.clock import SYSTEM_CLOCK, Clock, within
from placet_rpc.registry.cache import RegistryCache
from placet_rpc.registry.endpoint import Endpoint
from placet_rpc.registry.follower import Follower, Probe
from placet_rpc.registry.opening import RegistryContext, open_registry
from placet_rpc.registry.registry import Registry
from placet_rpc.registry.settings import CacheSettings
from placet_rpc.registry.snapshot import Snapshot

_log = logging.getLogger("placet_rpc.registry")

SUSPECT_SHARE = 0.5
"""Of its weight that is left to an instance which the registry does not list and which still answers."""


class Directory:
    """The instances that a client knows.

    Args:
        cache: of the registry; the directory closes it.
        clock: where time comes from.

    Attributes:
        cache: as given, for whoever watches over it.
    """

    def __init__(self, cache: RegistryCache, *, clock: Clock = SYSTEM_CLOCK) -> None:
        self.cache = cache
        self._clock = clock
        self._shown: dict[str, tuple[Snapshot | None, Snapshot]] = {}
        self._following: dict[str, asyncio.Task[Follower]] = {}

    def snapshot(self, service: str) -> Snapshot:
        """Returns the service's instances as they are known; none, under revision 0, if nothing was heard of it yet.

        A service that is asked for is followed from then on.
        """
        source = self.cache.snapshot(service)
        known = self._shown.get(service)
        if known is None or known[0] is not source:
            known = self._shown[service] = (source, self._make(service, source))
        return known[1]

    async def ready(self, service: str, seconds: float) -> Snapshot:
        """Returns the service's instances as soon as anything is known of them.

        Args:
            service: its key.
            seconds: how long to wait for a first word, of the registry or of the file; without one: no instances.
        """
        if self.cache.snapshot(service) is None:
            with suppress(TimeoutError):
                await within(self._clock, seconds, self._first_word(service))
        return self.snapshot(service)

    def age(self, service: str) -> timedelta | None:
        """Returns how long ago the registry last said what it says of a service; None: it never did."""
        return self.cache.age(service)

    def trouble(self, service: str) -> str:
        """Returns why the registry does not tell of a service, in words; empty while it does."""
        return self.cache.trouble(service)

    async def aclose(self) -> None:
        """Ends the watches and closes the registry."""
        for task in self._following.values():
            task.cancel()
        await asyncio.gather(*self._following.values(), return_exceptions=True)
        await self.cache.aclose()

    def _make(self, service: str, source: Snapshot | None) -> Snapshot:
        if source is None:
            self._follow(service)
            return Snapshot(service=service, revision=0, endpoints=())
        return msgspec.structs.replace(source, endpoints=tuple(_weighed(endpoint) for endpoint in source.endpoints))

    def _follow(self, service: str) -> asyncio.Task[Follower]:
        task = self._following.get(service)
        if task is None:
            task = self._following[service] = asyncio.create_task(self.cache.follow(service))
            task.add_done_callback(lambda done: self._note_followed(service, done))
        return task

    def _note_followed(self, service: str, task: asyncio.Task[Follower]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None:
            _log.warning("%s is not followed: %s", service, error)
            del self._following[service]

    async def _first_word(self, service: str) -> None:
        follower = await asyncio.shield(self._follow(service))
        await follower.known.wait()


def _weighed(endpoint: Endpoint) -> Endpoint:
    if not endpoint.suspect or not endpoint.weight:
        return endpoint
    return msgspec.structs.replace(endpoint, weight=max(int(endpoint.weight * SUSPECT_SHARE), 1))


def open_directory(
    registry: str | Registry,
    *,
    probe: Probe,
    app: str = "",
    settings: CacheSettings | None = None,
    clock: Clock = SYSTEM_CLOCK,
    chance: Chance | None = None,
) -> Directory:
    """Opens a registry and puts the cache and a directory before it, inside the event loop that uses them.

    Args:
        registry: its URL (`open_registry`), or one that is open; the directory closes it. Only what is named by a URL
            with a host has a file, for only that can be away.
        probe: whether an instance answers.
        app: this application.
        settings: of the cache.
        clock: where time comes from.
        chance: where jitter comes from.

    Raises:
        ValueError: the URL is no registry's.
        ImportError: a library is missing; the message names the extra that brings it.
    """
    chance, name = chance or new_chance(), ""
    if isinstance(registry, str):
        name = registry if urlsplit(registry).netloc else ""
        registry = open_registry(registry, RegistryContext(clock=clock, chance=chance))
    cache = RegistryCache(registry, probe=probe, name=name, app=app, settings=settings, clock=clock, chance=chance)
    return Directory(cache, clock=clock)
