"""The directory: which instances a service has, from the store, refreshed in the background.

The last good answer is kept while the store is away: the data path judges who lives, the directory is only a hint.
"""

import asyncio
from contextlib import suppress
from datetime import timedelta

import msgspec

from placet_contract.vocabulary import Operation
from placet_coordinator.ports.clock import Clock
from placet_coordinator.ports.observer import Observer
from placet_coordinator.ports.rows import InstanceRow
from placet_coordinator.ports.store import ServiceStore, StoreError

REFRESH_EVERY = timedelta(seconds=1)
REFRESH_SOONEST = timedelta(milliseconds=50)
"""However many calls find no instance: the store is asked no more often than this."""

_decode_actions = msgspec.json.Decoder(dict[str, list[Operation]]).decode


class Instance(msgspec.Struct, frozen=True):
    """One live instance, as callers need it."""

    base_url: str
    actions: dict[str, list[Operation]]
    is_sdk: bool
    tcp_url: str | None = None


class Directory:
    """Live instances by service; names are resolved at each call."""

    def __init__(self, store: ServiceStore, clock: Clock, observer: Observer) -> None:
        self._store, self._clock, self._observer = store, clock, observer
        self._services: dict[str, list[Instance]] = {}
        self._turns: dict[str, int] = {}
        self._is_away = False
        self._is_wanted = asyncio.Event()

    async def refresh(self) -> None:
        """Read every live instance; raises `StoreError` if the store is away (the last good answer is kept)."""
        services: dict[str, list[Instance]] = {}
        for row in await self._store.live_instances(self._clock.now_ms()):
            try:
                instance = _instance(row)
            except msgspec.MsgspecError as error:
                self._observer.trouble("directory", f"{row.service}/{row.instance_id} is left out: {error}")
                continue
            services.setdefault(row.service, []).append(instance)
        self._services = services
        self._turns = {service: turn for service, turn in self._turns.items() if service in services}

    async def run(self) -> None:
        """Refresh until cancelled: every second, and soon after `look_again`."""
        while True:
            await asyncio.sleep(REFRESH_SOONEST.total_seconds())
            with suppress(TimeoutError):
                async with asyncio.timeout((REFRESH_EVERY - REFRESH_SOONEST).total_seconds()):
                    await self._is_wanted.wait()
            self._is_wanted.clear()
            try:
                await self.refresh()
            except StoreError as error:
                if not self._is_away:
                    self._observer.trouble("directory", f"keeping the last good answer: {error}")
                self._is_away = True
            else:
                self._is_away = False

    def look_again(self) -> None:
        """Have the store asked soon: an instance was announced here, or one is missed."""
        self._is_wanted.set()

    def pick(self, service: str, action: str) -> Instance | None:
        """Return the next live instance that offers the action, in turn; None if there is none."""
        instances = self._services.get(service, ())
        turn = self._turns.get(service, -1)
        for step in range(1, len(instances) + 1):
            candidate = instances[(turn + step) % len(instances)]
            if action in candidate.actions:
                self._turns[service] = (turn + step) % len(instances)
                return candidate
        self.look_again()  # it may have been announced at another node just now
        return None


def _instance(row: InstanceRow) -> Instance:
    return Instance(row.base_url.rstrip("/"), _decode_actions(row.actions), row.sdk is not None, row.tcp_url)
