"""Who drives what: this node's lease, and the database's clock that it brings along.

A lease is renewed only while it is unexpired; a renewal that hits nothing means that others may own our transactions by
now: every copy in memory is dropped, and a new boot id taken (Gray and Cheriton, "Leases", 1989). Versions fence.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import timedelta

from placet_coordinator.core.transaction import FORMAT
from placet_coordinator.ports.clock import Chance
from placet_coordinator.ports.observer import Observer
from placet_coordinator.ports.store import NodeStore, StoreError

RENEWALS_PER_LEASE = 5

ROUND_TRIP_MAX_S = 0.25
"""The answer of a renewal that took longer (a busy loop, a slow disk) says too little about the database's clock."""
CLOCK_KEPT_S = 60.0
"""For so long such answers are passed over: clocks drift by a few ms a minute."""


class Ownership:
    """This node's identity, lease and clock; satisfies the ports `Owner` and `Clock`.

    Args:
        node_id: the node's name; a new boot under the same name supersedes the old one at once.
        lost: called when the lease is lost, before a new one is asked for.
        gained: awaited after each start of a new life, to take up what others left.
    """

    def __init__(
        self,
        *,
        store: NodeStore,
        chance: Chance,
        observer: Observer,
        node_id: str,
        base_url: str,
        lease: timedelta,
    ) -> None:
        self._store, self._chance, self._observer = store, chance, observer
        self.node_id, self._base_url = node_id, base_url
        self.boot_id = chance.new_boot_id()
        self._lease_ms = lease // timedelta(milliseconds=1)
        self._loop = asyncio.get_running_loop()
        self._offset_ms = 0.0
        self._clock_set_at = -CLOCK_KEPT_S
        self._expires_at = 0.0
        self._lives = False
        self.lost: Callable[[], None] = lambda: None
        self.gained: Callable[[], Awaitable[None]] = _nothing

    @property
    def holds_lease(self) -> bool:
        """Whether this node may drive transactions now, by its own monotonic clock: the cautious side."""
        return self._lives and self._loop.time() < self._expires_at

    @property
    def lease_ms(self) -> int:
        """How long a lease lasts without renewal."""
        return self._lease_ms

    def now_ms(self) -> int:
        """Return the database's clock, carried forward by the monotonic one since the last renewal."""
        return int(self._offset_ms + self._loop.time() * 1_000)

    async def start(self) -> None:
        """Begin a life: enrol under the boot id, and set the clock. Raises `StoreError` if the store is away."""
        asked_at = self._loop.time()
        self._holds(
            asked_at, await self._store.enrol(self.node_id, self.boot_id, self._base_url, FORMAT, self._lease_ms)
        )

    async def run(self) -> None:
        """Renew until cancelled; after a lost lease begin a new life."""
        pause_s = self._lease_ms / 1_000 / RENEWALS_PER_LEASE
        while True:
            await asyncio.sleep(pause_s)
            try:
                if self._lives:
                    await self._renew()
                if not self._lives:
                    await self._begin_anew()
            except StoreError as error:
                self._observer.trouble("lease", f"not renewed: {error}")
                if self._lives and not self.holds_lease:
                    self._give_up("the lease ran out while the store was away")

    async def release(self) -> None:
        """End the lease, so that others take over at once."""
        self._lives = False
        await self._store.release(self.node_id, self.boot_id)

    async def _renew(self) -> None:
        """Prolong the lease; one that has run out by our own clock is lost, for calls were held back since."""
        asked_at, now_ms = self._loop.time(), None
        if self.holds_lease:
            with suppress(TimeoutError):
                async with asyncio.timeout_at(self._expires_at):
                    now_ms = await self._store.renew(self.node_id, self.boot_id, self._lease_ms)
        if now_ms is None or not self.holds_lease:  # the answer may have come too late, and been waiting for the loop
            self._give_up("the lease was lost: it had run out, or another boot of this node took over")
        else:
            self._holds(asked_at, now_ms)

    async def _begin_anew(self) -> None:
        self.boot_id = self._chance.new_boot_id()
        await self.start()
        await self.gained()

    def _holds(self, asked_at: float, now_ms: int) -> None:
        answered_at = self._loop.time()
        if answered_at - asked_at <= ROUND_TRIP_MAX_S or answered_at - self._clock_set_at >= CLOCK_KEPT_S:
            # The true instant lies between asking and answering; the middle halves the worst error (Cristian 1989).
            self._offset_ms = now_ms - (asked_at + answered_at) / 2 * 1_000
            self._clock_set_at = answered_at
        self._expires_at = asked_at + self._lease_ms / 1_000
        self._lives = True

    def _give_up(self, cause: str) -> None:
        self._lives = False
        self._observer.trouble("lease", cause)
        self.lost()


async def _nothing() -> None:
    return
