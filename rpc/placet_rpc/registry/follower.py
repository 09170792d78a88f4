"""Follows one service through all that happens to its registry."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from datetime import timedelta
from uuid import uuid4

import msgspec

from placet_contract.backoff import backoff_ms
from placet_rpc.chance import Chance
from placet_rpc.clock import Clock, within
from placet_rpc.registry.endpoint import Endpoint
from placet_rpc.registry.hold import Hold
from placet_rpc.registry.registry import Registry, RegistryRefused, RegistryUnavailable
from placet_rpc.registry.settings import CacheSettings
from placet_rpc.registry.snapshot import Snapshot

Probe = Callable[[Endpoint], Awaitable[bool]]
"""Whether an instance answers; may take as long as it likes, and raise what it likes, which counts as no."""

_MILLISECOND = timedelta(milliseconds=1)
_log = logging.getLogger("placet_rpc.registry")


class Follower:
    """What is known of one service, for callers that have to be shown something at all times.

    Args:
        service: its key.
        registry: that is watched.
        probe: asks an instance in doubt.
        settings: the named limits.
        clock: where time comes from.
        chance: where jitter comes from.
        changed: called when `snapshot` or `good` is another.

    Attributes:
        snapshot: what callers are shown; its revisions are this follower's own.
        known: set as soon as there is any word, of the registry or of a file.
        confirmed_at: when the registry last said what it says, in monotonic seconds; None: it never did.
        good: what it said when it was last believed.
        failures: how often in a row it could not be watched; 0 while it can.
        trouble: why, in words; empty while it can.
        outages: how often it was lost.
        stale_pushes: how often it said something older than it had said before.
    """

    def __init__(
        self,
        service: str,
        registry: Registry,
        *,
        probe: Probe,
        settings: CacheSettings,
        clock: Clock,
        chance: Chance,
        changed: Callable[[], None],
    ) -> None:
        self.service = service
        self.snapshot = Snapshot(service=service, revision=0, endpoints=(), epoch=uuid4().hex)
        self.known = asyncio.Event()
        self.confirmed_at: float | None = None
        self.good: tuple[Endpoint, ...] | None = None
        self.failures = 0
        self.trouble = ""
        self.outages = 0
        self.stale_pushes = 0
        self._registry, self._probe, self._settings = registry, probe, settings
        self._clock, self._chance, self._changed = clock, chance, changed
        self._hold = Hold(settings.hold.total_seconds())
        self._last: Snapshot | None = None
        self._in_doubt = asyncio.Event()
        self._probes = asyncio.Semaphore(settings.max_probes)

    @property
    def is_in_doubt(self) -> bool:
        """True while the registry is not believed, and instances are kept that it does not list."""
        return self._in_doubt.is_set()

    def load(self, endpoints: tuple[Endpoint, ...], confirmed_at: float) -> None:
        """Begins with what a file says."""
        self._hold.load(endpoints)
        self.confirmed_at, self.good = confirmed_at, endpoints
        self._show()

    async def run(self) -> None:
        """Follows the service until it is cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._watch())
            tasks.create_task(self._ask_held())

    async def _watch(self) -> None:
        silence, settings = self._settings.silence.total_seconds(), self._settings
        while True:
            try:
                async with aclosing(self._registry.watch(self.service)) as watch:
                    while True:
                        self._take(await within(self._clock, silence, anext(watch)))
            except (RegistryUnavailable, RegistryRefused) as error:
                self._note_failure(str(error))
            except (TimeoutError, StopAsyncIteration):
                self._note_failure(f"it has said nothing for {silence:g} s")
            except Exception as error:  # noqa: BLE001 - a fault of one adapter or record must not end the watch for ever
                _log.exception("the watch of %s failed", self.service)
                self._note_failure(type(error).__name__)
            wait_ms = backoff_ms(
                self.failures,
                first_ms=settings.retry_first // _MILLISECOND,
                cap_ms=settings.retry_cap // _MILLISECOND,
                chance=self._chance.random(),
            )
            await self._clock.sleep(wait_ms / 1000)

    def _take(self, pushed: Snapshot) -> None:
        now = self._clock.monotonic()
        if self.failures:
            _log.info("the registry tells of %s again", self.service)
            self.failures, self.trouble = 0, ""
        last = self._last
        if last is not None and last.epoch == pushed.epoch and pushed.revision < last.revision:
            self.stale_pushes += 1
            return
        self.confirmed_at = now
        if last is not None and pushed == last:
            return
        self._last = pushed
        self._hold.push(pushed.endpoints, now)
        held = self._hold.held(now)
        if held and not self.is_in_doubt:
            message = "the registry lists %d of %s; %d others are kept while they answer, for %g s at most"
            hold_seconds = self._settings.hold.total_seconds()
            _log.warning(message, len(pushed.endpoints), self.service, len(held), hold_seconds)
            self._in_doubt.set()
        self._show()

    def _note_failure(self, why: str) -> None:
        if not self.failures:
            self.outages += 1
            _log.warning("the registry does not tell of %s, its last word stands: %s", self.service, why)
        self.failures += 1
        self.trouble = why

    async def _ask_held(self) -> None:
        interval = self._settings.probe_interval.total_seconds()
        while True:
            await self._in_doubt.wait()
            while held := self._hold.held(self._clock.monotonic()):
                await asyncio.gather(*(self._ask(endpoint) for endpoint in held))
                self._show()
                await self._clock.sleep(interval * self._chance.uniform(0.8, 1.2))
            self._in_doubt.clear()
            self._show()
            _log.info("the registry is believed again: it lists %d of %s", len(self.snapshot.endpoints), self.service)

    async def _ask(self, endpoint: Endpoint) -> None:
        async with self._probes:
            try:
                answered = await within(
                    self._clock, self._settings.probe_timeout.total_seconds(), self._probe(endpoint)
                )
            except Exception:  # noqa: BLE001 - whatever keeps an answer away, it did not answer
                answered = False
        self._hold.heard(endpoint.instance_id, answered=answered)

    def _show(self) -> None:
        endpoints = self._hold.shown(self._clock.monotonic())
        if not self.is_in_doubt and self._last is not None:
            self.good = endpoints
        if endpoints != self.snapshot.endpoints or not self.known.is_set():
            self.snapshot = msgspec.structs.replace(
                self.snapshot, revision=self.snapshot.revision + 1, endpoints=endpoints
            )
            self.known.set()
            self._changed()
