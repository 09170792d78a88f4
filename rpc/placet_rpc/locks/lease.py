"""A lease: a lock that is held for a while, and kept as long as its holder lives."""

import asyncio
import logging
from collections.abc import Callable
from types import TracebackType
from typing import Self

from placet_rpc.clock import Clock
from placet_rpc.locks.store import LockLost, LockStore, LockUnavailable

_log = logging.getLogger("placet_rpc.locks")

MARGIN = 0.05
"""The share of a lease that its holder does not use: two clocks may run at rates that differ by so much."""
RENEWALS = 3
"""So often a lease is extended during its time, so that a lost answer or two do not end it."""
RETRY_SECONDS = 0.2


class Lease:
    """A lock that is held; `Locks.acquire` makes it.

    It is extended by a task until it is released or lost. Once lost it stays lost: a lease is never taken up again.

    Attributes:
        name: of the lock.
        holder: whose it is.
        token: the fencing token: greater than that of every earlier lease of this lock. Pass it to whatever the lock
            protects, which must refuse a smaller one than it has seen.
    """

    def __init__(
        self, store: LockStore, name: str, holder: str, token: int, ttl_ms: int, *, asked_at: float, clock: Clock
    ) -> None:
        self.name, self.holder, self.token = name, holder, token
        self._store, self._ttl_ms, self._clock = store, ttl_ms, clock
        self._held_seconds = ttl_ms / 1000 * (1 - MARGIN)
        self._held_until = asked_at + self._held_seconds
        self._callbacks: list[Callable[[], object]] = []
        self._over = asyncio.Event()
        self._is_lost = False
        self._tasks: tuple[asyncio.Task[None], ...] = ()

    def keep(self) -> Self:
        """Extends the lease from now on, in a task, and watches its end in another: an extension may hang."""
        name = f"lease of {self.name}"
        self._tasks = tuple(asyncio.create_task(work, name=name) for work in (self._keep(), self._watch()))
        return self

    @property
    def is_held(self) -> bool:
        """True while no other can hold the lock, as far as this process's clock shows; the token is what proves it."""
        if not self._over.is_set() and self._clock.monotonic() >= self._held_until:
            self._lose("its time is over")  # this process was stopped, or the store could not be asked
        return not self._over.is_set()

    @property
    def is_lost(self) -> bool:
        """True if the lease ended otherwise than by `release`."""
        return not self.is_held and self._is_lost

    def check(self) -> None:
        """Does nothing while the lease is held.

        Raises:
            LockLost: it is not.
        """
        if not self.is_held:
            raise LockLost(f"the lease of {self.name} with token {self.token} is over")

    def on_lost(self, callback: Callable[[], object]) -> None:
        """Calls back once, on the event loop, when the lease is lost; at once if it is. Not when it is released."""
        if self.is_lost:
            callback()
        else:
            self._callbacks.append(callback)

    async def wait_over(self) -> None:
        """Returns when the lease is released or lost."""
        await self._over.wait()

    async def renew(self) -> None:
        """Extends the lease now; its task does so by itself.

        Raises:
            LockLost: it was over.
            LockUnavailable: the store can't be asked; the lease is held as long as before.
        """
        self.check()
        asked_at = self._clock.monotonic()
        if not await self._store.extend(self.name, self.holder, self.token, self._ttl_ms):
            self._lose("the store has another holder, or none")
        elif self._clock.monotonic() < self._held_until:
            self._held_until = asked_at + self._held_seconds
        # else: the answer came so late that others may have been told that the lock is free
        self.check()

    async def release(self) -> None:
        """Frees the lock. If the store can't be asked, the lock frees itself after its time."""
        if self._over.is_set():
            await self._end_tasks()
            return
        self._over.set()
        await self._end_tasks()
        try:
            await self._store.give_back(self.name, self.holder, self.token)
        except LockUnavailable as error:
            _log.warning("the lock %s could not be freed and will be after its time: %s", self.name, error)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.release()

    async def _keep(self) -> None:
        """Extends until the lease is over; a failure is tried again soon, for the time runs on."""
        interval_seconds = self._held_seconds / RENEWALS
        pause_seconds = interval_seconds
        while self.is_held:
            await self._clock.sleep(min(pause_seconds, max(self._held_until - self._clock.monotonic(), 0)))
            try:
                await self.renew()
                pause_seconds = interval_seconds
            except LockLost:
                return
            except LockUnavailable as error:
                _log.warning(
                    "the lease of %s could not be extended, and ends unless that works soon: %s", self.name, error
                )
                pause_seconds = min(RETRY_SECONDS, interval_seconds)

    async def _watch(self) -> None:
        """Notices the end in time, whatever an extension waits for."""
        while self.is_held:
            await self._clock.sleep(max(self._held_until - self._clock.monotonic(), 0))

    async def _end_tasks(self) -> None:
        tasks, self._tasks = self._tasks, ()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _lose(self, cause: str) -> None:
        if self._over.is_set():
            return
        self._is_lost = True
        self._over.set()
        _log.warning("the lease of %s with token %d is lost: %s", self.name, self.token, cause)
        for callback in self._callbacks:
            try:
                callback()
            except Exception:  # noqa: BLE001 - whoever else is to be told must be
                _log.exception("a callback of the lease of %s failed", self.name)
