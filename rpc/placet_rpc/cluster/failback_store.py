"""The port of stores for calls that are made again later, and the one in memory."""

from typing import Protocol

import msgspec


class FailbackEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A call that is to be made again.

    Attributes:
        entry_id: of the entry; also the idempotency key under which the call is made each time.
        method: service, version and method, such as `stock/1.reserve`.
        arguments: msgpack of the method's arguments.
        caller: the calling application.
        key: ordering key.
        traceparent: of the call that failed.
        xid: the global transaction that it belongs to.
        attempts: made so far.
        created_at_ms: when it first failed, in milliseconds since the epoch.
        due_at_ms: not before.
        last_error: of the last attempt, for humans.
    """

    entry_id: str
    method: str
    arguments: bytes
    caller: str = ""
    key: str = ""
    traceparent: str = ""
    xid: str = ""
    attempts: int = 1
    created_at_ms: int
    due_at_ms: int
    last_error: str = ""


class FailbackFull(Exception):
    """The store takes no more entries. Nothing was kept."""


class FailbackStore(Protocol):
    """Keeps calls until they have succeeded or are dead. Several processes may share one that is durable."""

    async def add(self, entry: FailbackEntry, /) -> None:
        """Keeps an entry; when it returns, the entry outlives what the store promises to outlive.

        Raises:
            FailbackFull: it was not kept.
        """
        ...

    async def take(self, methods: frozenset[str], now_ms: int, lease_ms: int, limit: int, /) -> list[FailbackEntry]:
        """Lends due entries of some methods, the longest due first.

        No other `take` returns one of them within the lease; after it the entry is due again.
        """
        ...

    async def done(self, entry_id: str, /) -> None:
        """Removes an entry: the call has succeeded. No error if it is gone."""
        ...

    async def later(self, entry_id: str, due_at_ms: int, attempts: int, error: str, /) -> None:
        """Notes that another attempt has failed, and when the next is due."""
        ...

    async def bury(self, entry_id: str, error: str, /) -> None:
        """Makes an entry a dead letter: it is kept for people to see, and not due any more."""
        ...

    async def dead(self, limit: int, /) -> list[FailbackEntry]:
        """Returns dead letters, the oldest first."""
        ...

    async def revive(self, entry_id: str, due_at_ms: int, /) -> bool:
        """Makes a dead letter due again; False if there is none of this id."""
        ...


MEMORY_MAX = 10_000
DEAD_MAX = 1_000


class MemoryFailbackStore:
    """Satisfies `FailbackStore`; keeps entries as long as the process lives.

    Args:
        max_entries: beyond it `add` refuses.
        max_dead: of the dead letters beyond it the oldest are dropped.

    Attributes:
        dropped: dead letters that are not kept any more.
    """

    def __init__(self, *, max_entries: int = MEMORY_MAX, max_dead: int = DEAD_MAX) -> None:
        self.dropped = 0
        self._max_entries, self._max_dead = max_entries, max_dead
        self._entries: dict[str, FailbackEntry] = {}
        self._dead: dict[str, FailbackEntry] = {}

    async def add(self, entry: FailbackEntry) -> None:
        """Keeps an entry."""
        if len(self._entries) >= self._max_entries:
            raise FailbackFull(f"{self._max_entries} calls wait to be made again: the services they call are down")
        self._entries[entry.entry_id] = entry

    async def take(self, methods: frozenset[str], now_ms: int, lease_ms: int, limit: int) -> list[FailbackEntry]:
        """Lends due entries."""
        due = [entry for entry in self._entries.values() if entry.due_at_ms <= now_ms and entry.method in methods]
        due.sort(key=lambda entry: entry.due_at_ms)
        for entry in due[:limit]:
            self._entries[entry.entry_id] = msgspec.structs.replace(entry, due_at_ms=now_ms + lease_ms)
        return due[:limit]

    async def done(self, entry_id: str) -> None:
        """Removes an entry."""
        self._entries.pop(entry_id, None)

    async def later(self, entry_id: str, due_at_ms: int, attempts: int, error: str) -> None:
        """Notes a failed attempt."""
        entry = self._entries.get(entry_id)
        if entry is not None:
            changes = {"due_at_ms": due_at_ms, "attempts": attempts, "last_error": error}
            self._entries[entry_id] = msgspec.structs.replace(entry, **changes)

    async def bury(self, entry_id: str, error: str) -> None:
        """Makes an entry a dead letter."""
        entry = self._entries.pop(entry_id, None)
        if entry is not None:
            self._dead[entry_id] = msgspec.structs.replace(entry, last_error=error)
        while len(self._dead) > self._max_dead:
            del self._dead[next(iter(self._dead))]
            self.dropped += 1

    async def dead(self, limit: int) -> list[FailbackEntry]:
        """Returns dead letters."""
        return list(self._dead.values())[:limit]

    async def revive(self, entry_id: str, due_at_ms: int) -> bool:
        """Makes a dead letter due again."""
        entry = self._dead.pop(entry_id, None)
        if entry is not None:
            self._entries[entry_id] = msgspec.structs.replace(entry, due_at_ms=due_at_ms)
        return entry is not None
