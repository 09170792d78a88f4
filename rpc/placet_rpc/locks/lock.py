"""Locks that callers hold: how a lease is got."""

import logging
import math
from datetime import timedelta
from uuid import uuid4

from placet_rpc.chance import Chance, new_chance
from placet_rpc.clock import SYSTEM_CLOCK, Clock
from placet_rpc.locks.lease import Lease
from placet_rpc.locks.store import Holder, LockStore, LockTaken, LockUnavailable, check_name, check_ttl

_log = logging.getLogger("placet_rpc.locks")

TTL = timedelta(seconds=10)
LOOK_FIRST_SECONDS = 0.05
LOOK_CAP_SECONDS = 1.0
_GROWTH = 1.6


class Locks:
    """Locks of one store.

        async with await locks.acquire("month-end") as lease:
            ...  # pass lease.token to whatever is protected; lease.check() before each step

    Args:
        store: where they are kept.
        who: told to others that ask who holds a lock; such as the application's name and the host.
        clock: where time comes from.
        chance: where the jitter of repeated looks comes from.
    """

    def __init__(
        self, store: LockStore, *, who: str = "", clock: Clock = SYSTEM_CLOCK, chance: Chance | None = None
    ) -> None:
        self._store = store
        self._who = who
        self._clock = clock
        self._chance = chance or new_chance()

    async def acquire(self, name: str, ttl: timedelta = TTL, *, wait: timedelta | None = None) -> Lease:
        """Takes a lock, or waits for it. Who waits longest is not necessarily first.

        Cancelling gives the attempt up; a lock that it had just got is freed, at the latest after its time.

        Args:
            name: of the lock: 1-128 of `A-Z a-z 0-9 _ . : -`.
            ttl: how long a holder that has died blocks the others; a living one extends it by itself.
            wait: at most so long; None: for ever, the store's outages included. Zero: one look.

        Raises:
            ValueError: the name or the time is out of bounds.
            LockTaken: it was not free in time.
            LockUnavailable: the store could not be asked, up to the last look.
        """
        check_name(name)
        ttl_ms = check_ttl(ttl)
        holder = f"{self._who[:64]}#{uuid4().hex}"
        gives_up_at = math.inf if wait is None else self._clock.monotonic() + wait.total_seconds()
        try:
            return (await self._wait(name, holder, ttl_ms, gives_up_at)).keep()
        except BaseException:
            await self._leave_nothing(name, holder)
            raise

    async def holder(self, name: str) -> Holder | None:
        """Returns who holds a lock now, or None.

        Raises:
            LockUnavailable: the store can't be asked.
        """
        return await self._store.holder(check_name(name))

    async def _wait(self, name: str, holder: str, ttl_ms: int, gives_up_at: float) -> Lease:
        pause_seconds = LOOK_FIRST_SECONDS
        while True:
            lease, failure = await self._look(name, holder, ttl_ms)
            if lease is not None:
                return lease
            left_seconds = gives_up_at - self._clock.monotonic()
            if left_seconds <= 0:
                raise failure or LockTaken(f"the lock {name} is held by another")
            seconds = min(pause_seconds * self._chance.uniform(0.5, 1.0), left_seconds)
            await self._pause(name, seconds, is_down=failure is not None)
            pause_seconds = min(pause_seconds * _GROWTH, LOOK_CAP_SECONDS)

    async def _look(self, name: str, holder: str, ttl_ms: int) -> tuple[Lease | None, LockUnavailable | None]:
        asked_at = self._clock.monotonic()
        try:
            token = await self._store.take(name, holder, ttl_ms)
        except LockUnavailable as failure:
            return None, failure
        if token is None:
            return None, None
        lease = Lease(self._store, name, holder, token, ttl_ms, asked_at=asked_at, clock=self._clock)
        # An answer that took most of the lease's time is no lease; the next look gets the same token, extended.
        return (lease if lease.is_held else None), None

    async def _pause(self, name: str, seconds: float, *, is_down: bool) -> None:
        if is_down:
            await self._clock.sleep(seconds)
            return
        try:
            await self._store.changed(name, seconds)
        except LockUnavailable:
            await self._clock.sleep(seconds)

    async def _leave_nothing(self, name: str, holder: str) -> None:
        """Frees what an attempt that ends without a lease may have taken: its answer may have been lost."""
        try:
            found = await self._store.holder(name)
            if found is not None and found.holder == holder:
                await self._store.give_back(name, holder, found.token)
        except LockUnavailable as error:
            _log.info("the lock %s may be taken for its time by an attempt that was given up: %s", name, error)
