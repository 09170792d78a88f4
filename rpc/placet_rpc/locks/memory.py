"""Locks within one process: for tests of what is built on locks, and as the plainest reading of the rules."""

from placet_rpc.clock import SYSTEM_CLOCK, Clock
from placet_rpc.locks.store import Holder


class MemoryLocks:
    """Locks in memory; satisfies `LockStore`.

    Args:
        clock: where time comes from.
    """

    def __init__(self, clock: Clock = SYSTEM_CLOCK) -> None:
        self._clock = clock
        self._holders: dict[str, tuple[Holder, float]] = {}
        self._tokens: dict[str, int] = {}

    async def take(self, name: str, holder: str, ttl_ms: int) -> int | None:
        """Takes a lock that is free."""
        held = await self.holder(name)
        if held is not None and held.holder != holder:
            return None
        if held is None:
            self._tokens[name] = self._tokens.get(name, 0) + 1
        self._hold(name, holder, self._tokens[name], ttl_ms)
        return self._tokens[name]

    async def extend(self, name: str, holder: str, token: int, ttl_ms: int) -> bool:
        """Holds a lock longer."""
        if await self.holder(name) != (holder, token):
            return False
        self._hold(name, holder, token, ttl_ms)
        return True

    async def give_back(self, name: str, holder: str, token: int) -> None:
        """Frees a lock."""
        if await self.holder(name) == (holder, token):
            del self._holders[name]

    async def holder(self, name: str) -> Holder | None:
        """Returns who holds a lock."""
        holder, until = self._holders.get(name, (None, 0.0))
        return holder if self._clock.monotonic() < until else None

    async def changed(self, name: str, seconds: float) -> None:  # noqa: ARG002 - each look is cheap
        """Returns after the time."""
        await self._clock.sleep(seconds)

    def _hold(self, name: str, holder: str, token: int, ttl_ms: int) -> None:
        self._holders[name] = (Holder(holder, token), self._clock.monotonic() + ttl_ms / 1000)
