"""The one cache in front of every registry: what it last said outlives it, its memory, and this process.

A registry is a hint, and calls are the judge: while it is down its last word stands, however old; its age is known
(`age`). Where it is up and knows suspiciously few, `hold` says what is shown.
"""

import asyncio
import logging
from collections.abc import Coroutine
from datetime import timedelta

import msgspec

from placet_rpc.chance import Chance, new_chance
from placet_rpc.clock import SYSTEM_CLOCK, Clock, pause
from placet_rpc.registry.cache_file import CacheFile, Saved
from placet_rpc.registry.follower import Follower, Probe
from placet_rpc.registry.registry import Registry
from placet_rpc.registry.settings import CacheSettings
from placet_rpc.registry.snapshot import Snapshot

SAVE_DELAY = timedelta(seconds=1)
"""Changes of so long are saved together."""
SAVE_AT_LEAST = timedelta(minutes=10)
"""A file says no older than this when the registry last spoke."""
SERVICES_MAX = 1_000
"""Services that one client follows."""

_log = logging.getLogger("placet_rpc.registry")


class RegistryCache:
    """Follows services for one client. An async context manager; `aclose` closes the registry too.

    Args:
        registry: in front of which it stands.
        probe: whether an instance answers; asked when the registry is in doubt.
        name: the registry's URL, and thereby the name of the file; empty: there is no file.
        app: this application; its processes read each other's files.
        settings: the named limits.
        clock: where time comes from.
        chance: where jitter comes from.

    Attributes:
        followers: by service.
        save_failures: how often the file could not be written.
    """

    def __init__(
        self,
        registry: Registry,
        *,
        probe: Probe,
        name: str = "",
        app: str = "",
        settings: CacheSettings | None = None,
        clock: Clock = SYSTEM_CLOCK,
        chance: Chance | None = None,
    ) -> None:
        self.followers: dict[str, Follower] = {}
        self.save_failures = 0
        self._registry, self._probe = registry, probe
        self._settings = settings or CacheSettings()
        self._clock, self._chance = clock, chance or new_chance()
        folder = self._settings.folder
        self._file = CacheFile(folder, name, app) if folder is not None and name else None
        self._saved: dict[str, Saved] = {}
        self._loaded: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._changed = asyncio.Event()

    def snapshot(self, service: str) -> Snapshot | None:
        """Returns what callers may be shown of a service; None if nothing was heard of it yet."""
        follower = self.followers.get(service)
        return follower.snapshot if follower is not None and follower.snapshot.revision else None

    def age(self, service: str) -> timedelta | None:
        """Returns how long ago the registry last said what it says of a service; None: it never did."""
        follower = self.followers.get(service)
        if follower is None or follower.confirmed_at is None:
            return None
        return timedelta(seconds=self._clock.monotonic() - follower.confirmed_at)

    def trouble(self, service: str) -> str:
        """Returns why the registry does not tell of a service, in words; empty while it does."""
        follower = self.followers.get(service)
        return follower.trouble if follower is not None else ""

    async def follow(self, service: str) -> Follower:
        """Begins to follow a service, unless that was done; asks nobody, but for the file.

        Raises:
            ValueError: `SERVICES_MAX` are followed.
        """
        if self._loaded is None:
            self._loaded = asyncio.create_task(self._load())
        await asyncio.shield(self._loaded)
        follower = self.followers.get(service)
        if follower is None:
            if len(self.followers) >= SERVICES_MAX:
                raise ValueError(f"a client follows {SERVICES_MAX} services at most, {service} would be one more")
            follower = self.followers[service] = self._new_follower(service)
            self._spawn(follower.run())
        return follower

    async def aclose(self) -> None:
        """Ends the watches, saves what is to be saved, and closes the registry."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._save()
        await self._registry.aclose()

    def _new_follower(self, service: str) -> Follower:
        follower = Follower(
            service,
            self._registry,
            probe=self._probe,
            settings=self._settings,
            clock=self._clock,
            chance=self._chance,
            changed=self._changed.set,
        )
        saved = self._saved.get(service)
        if saved is not None:
            age = self._clock.wall() - saved.saved_at
            max_age = self._settings.max_age
            if max_age is not None and age > max_age.total_seconds():
                _log.warning("the saved instances of %s are %d s old, and not believed", service, age)
            else:
                follower.load(saved.endpoints, self._clock.monotonic() - max(age, 0.0))
        return follower

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _load(self) -> None:
        if self._file is None:
            return
        try:
            self._saved = await asyncio.to_thread(self._file.load)
        except OSError as error:
            _log.warning("the registry cache can't be read, so this start needs the registry: %s", error)
        self._changed.clear()
        self._spawn(self._keep_saved())

    async def _keep_saved(self) -> None:
        while True:
            await pause(self._clock, SAVE_AT_LEAST.total_seconds(), self._changed)
            await self._clock.sleep(SAVE_DELAY.total_seconds())
            self._changed.clear()
            await self._save()

    async def _save(self) -> None:
        if self._file is None:
            return
        behind = self._clock.wall() - self._clock.monotonic()
        for service, follower in self.followers.items():
            if follower.good is not None and follower.confirmed_at is not None:
                endpoints = tuple(msgspec.structs.replace(endpoint, up_since=None) for endpoint in follower.good)
                self._saved[service] = Saved(endpoints=endpoints, saved_at=behind + follower.confirmed_at)
        if not self._saved:
            return
        try:
            await asyncio.to_thread(self._file.save, dict(self._saved))
        except OSError as error:
            self.save_failures += 1
            if self.save_failures == 1:
                _log.warning("the registry cache can't be saved, so a start needs the registry: %s", error)
