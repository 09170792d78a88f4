"""What a lock needs of a store: four small operations, each atomic there."""

import re
from datetime import timedelta
from typing import NamedTuple, Protocol

NAME = re.compile(r"[A-Za-z0-9_.:-]{1,128}")
TTL_MIN = timedelta(milliseconds=200)
TTL_MAX = timedelta(hours=1)


class LockUnavailable(Exception):
    """The store does not answer, or fails. What was asked for may have been done or not; asking again is safe."""


class LockTaken(Exception):
    """The lock was not free in time. Nothing was taken."""


class LockLost(Exception):
    """The lease is over: another may hold the lock now. What was done under it meanwhile is only safe by its token."""


class Holder(NamedTuple):
    """Who holds a lock.

    Attributes:
        holder: as it called itself.
        token: its fencing token.
    """

    holder: str
    token: int


class LockStore(Protocol):
    """Where locks are kept. One suite holds all stores to this (`tests/conformance/locks`).

    Each method raises `LockUnavailable` if the store can't be asked; all are safe to repeat.
    """

    async def take(self, name: str, holder: str, ttl_ms: int) -> int | None:
        """Takes a lock that is free, or whose holder has not extended it for its time.

        Args:
            name: of the lock.
            holder: who takes it, unique for each attempt to get a lease. To the one who holds it already its token is
                returned again, for a repeat after a lost answer.
            ttl_ms: how long it is held without being extended.

        Returns:
            A token greater than all that were ever returned for this lock, or None: another holds it.
        """
        ...

    async def extend(self, name: str, holder: str, token: int, ttl_ms: int) -> bool:
        """Holds a lock for that much from now on; False: it is no longer held, and never will be by this token."""
        ...

    async def give_back(self, name: str, holder: str, token: int) -> None:
        """Frees a lock; nothing happens if it is no longer held."""
        ...

    async def holder(self, name: str) -> Holder | None:
        """Returns who holds a lock now, or None."""
        ...

    async def changed(self, name: str, seconds: float) -> None:
        """Returns when the lock may have become free, at the latest after that time."""
        ...


def check_name(name: str) -> str:
    """Returns a lock's name.

    Raises:
        ValueError: it has characters that not all stores take.
    """
    if not NAME.fullmatch(name):
        raise ValueError(f"{name!r} is no name of a lock: 1-128 of A-Z a-z 0-9 _ . : -")
    return name


def check_ttl(ttl: timedelta) -> int:
    """Returns a lease's time in milliseconds.

    Raises:
        ValueError: it is too short to be kept, or so long that a crash would block the lock for ever.
    """
    if not TTL_MIN <= ttl <= TTL_MAX:
        raise ValueError(f"a lease may last from {TTL_MIN.total_seconds():g} s to {TTL_MAX.total_seconds():g} s")
    return ttl // timedelta(milliseconds=1)
