"""Elections: of all candidates one leads at a time, and another when it can't any more."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import timedelta

from placet_rpc.clock import SYSTEM_CLOCK, Clock
from placet_rpc.locks.lease import Lease
from placet_rpc.locks.lock import TTL, Locks
from placet_rpc.locks.store import Holder, LockUnavailable

_log = logging.getLogger("placet_rpc.locks")

STEP_DOWN_SECONDS = 1.0
"""After its work has failed, a leader leaves the others so much time to take over."""

Work = Callable[[Lease], Awaitable[object]]
"""What a leader does: cancelled when the lease is lost. Its writes must carry the lease's token."""


class Election:
    """One candidate.

        election = Election(locks, "relay")
        await election.run(relay_messages)      # for ever: waits, leads, waits again

    Args:
        locks: where the election is held; its `who` names the candidate.
        name: of the office; candidates for the same one use the same name.
        ttl: how long the office stays empty after its holder has died.
        clock: where time comes from.
    """

    def __init__(self, locks: Locks, name: str, *, ttl: timedelta = TTL, clock: Clock = SYSTEM_CLOCK) -> None:
        self._locks, self._name, self._ttl, self._clock = locks, name, ttl, clock
        self._lease: Lease | None = None

    @property
    def is_leader(self) -> bool:
        """True while this candidate leads, as far as its own clock shows."""
        return self._lease is not None and self._lease.is_held

    async def leader(self) -> Holder | None:
        """Returns who leads now, or None.

        Raises:
            LockUnavailable: the store can't be asked.
        """
        return await self._locks.holder(self._name)

    async def run(self, work: Work) -> None:
        """Stands for election until it is cancelled. Work that ends or fails gives the office up, then stands again."""
        while True:
            await self.lead_once(work)
            await self._clock.sleep(STEP_DOWN_SECONDS)

    async def lead_once(self, work: Work) -> bool:
        """Waits to be elected, and leads until the work ends or the lease is lost.

        Returns:
            True if the work ended by itself. What it raised was logged: an office must not stay empty for an error.
        """
        try:
            lease = await self._locks.acquire(self._name, self._ttl)
        except LockUnavailable as error:
            _log.warning("the election of %s can't be held: %s", self._name, error)
            return False
        _log.info("elected as %s with token %d", self._name, lease.token)
        self._lease = lease
        try:
            async with lease:
                return await self._lead(lease, work)
        finally:
            self._lease = None

    async def _lead(self, lease: Lease, work: Work) -> bool:
        leading = asyncio.ensure_future(work(lease))
        ending = asyncio.ensure_future(lease.wait_over())
        try:
            await asyncio.wait((leading, ending), return_when=asyncio.FIRST_COMPLETED)
            if not leading.done():
                return False
            error = leading.exception()
            if error is not None:
                _log.error("the leader's work as %s failed", self._name, exc_info=error)
            return error is None
        finally:
            # The office is given up only when the work has ended: until then nobody else may begin.
            for task in (leading, ending):
                task.cancel()
            await asyncio.gather(leading, ending, return_exceptions=True)
