"""Locks in ZooKeeper: a node per name, which stays, so tokens grow with its version. Needs the extra `zookeeper`.

The node is not ephemeral. A session lives as long as kazoo's thread sends heartbeats, which it does for an event loop
that hangs; and it may end, after a failed connection, before its holder's lease does, so that two would hold the lock.
Instead a lease ends as in the other stores: each extension writes the node, and whoever has seen the same version for
the lease's whole time, by its own clock, may write the next. So no two clocks are compared, and a look at a follower
that lags behind takes nothing, for the version decides.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import msgspec
from kazoo.exceptions import BadVersionError, KazooException, NodeExistsError, NoNodeError
from kazoo.protocol.states import ZnodeStat

from placet_rpc.clock import SYSTEM_CLOCK, Clock, pause
from placet_rpc.locks.store import Holder, LockUnavailable
from placet_rpc.zookeeper_session import Disconnected, ZooKeeperSession

PREFIX = "/placet/locks"
DRIFT = 0.05
"""A seen lease is waited for so much longer: two clocks may run at rates that differ by so much."""
SEEN_MAX = 10_000


class _Record(msgspec.Struct):
    """The node's data; no holder: the lock was given back."""

    holder: str
    token: int
    ttl_ms: int


class _Found(NamedTuple):
    record: _Record
    stat: ZnodeStat


class _Seen(NamedTuple):
    """A version that somebody else holds, and since when this process knows it."""

    version: int
    since: float


_encode = msgspec.json.encode
_decode = msgspec.json.Decoder(_Record).decode


class ZooKeeperLocks:
    """Locks in ZooKeeper; satisfies `LockStore`.

    Args:
        session: closing it stays the user's.
        prefix: the node below which locks are.
        clock: for waiting, and for how long a version was seen.
    """

    def __init__(self, session: ZooKeeperSession, *, prefix: str = PREFIX, clock: Clock = SYSTEM_CLOCK) -> None:
        self._session = session
        self._prefix = prefix.rstrip("/")
        self._clock = clock
        self._seen: dict[str, _Seen] = {}

    async def take(self, name: str, holder: str, ttl_ms: int) -> int | None:
        """Takes a lock that is free."""
        found = await self._find(name)
        if found is None:
            try:
                await self._ask("create", self._path(name), _encode(_Record(holder, 1, ttl_ms)), makepath=True)
            except NodeExistsError:
                return None  # another was first, just now
            return 1
        record = found.record
        if record.holder == holder:
            token = record.token
        elif not record.holder or self._is_over(name, found):
            token = found.stat.version + 2  # one more than the version after the write; the first node had 0 and 1
        else:
            return None
        return token if await self._write(name, found, _Record(holder, token, ttl_ms)) else None

    async def extend(self, name: str, holder: str, token: int, ttl_ms: int) -> bool:
        """Holds a lock longer."""
        found = await self._find(name)
        if found is None or (found.record.holder, found.record.token) != (holder, token):
            return False
        return await self._write(name, found, _Record(holder, token, ttl_ms))

    async def give_back(self, name: str, holder: str, token: int) -> None:
        """Frees a lock."""
        found = await self._find(name)
        if found is not None and (found.record.holder, found.record.token) == (holder, token):
            await self._write(name, found, _Record("", token, 0))

    async def holder(self, name: str) -> Holder | None:
        """Returns who holds a lock; one that has died is named until its time is over by this process's clock."""
        found = await self._find(name)
        if found is None or not found.record.holder or self._is_over(name, found):
            return None
        return Holder(found.record.holder, found.record.token)

    async def changed(self, name: str, seconds: float) -> None:
        """Returns when the node was written, or after the time."""
        turned = asyncio.Event()
        # kazoo keeps a watch until it fires. A lock that is held is written within a third of its lease, so few gather.
        await self._ask("exists", self._path(name), watch=lambda _event: self._session.hand_over(turned.set))
        await pause(self._clock, seconds, turned)

    async def _find(self, name: str) -> _Found | None:
        try:
            data, stat = await self._ask("get", self._path(name))
        except NoNodeError:
            return None
        try:
            return _Found(_decode(data), stat)
        except ValueError:
            raise LockUnavailable(f"the node of the lock {name} holds something else: choose another prefix") from None

    async def _write(self, name: str, found: _Found, record: _Record) -> bool:
        try:
            await self._ask("set", self._path(name), _encode(record), version=found.stat.version)
        except (NoNodeError, BadVersionError):
            return False
        self._seen.pop(name, None)
        return True

    def _is_over(self, name: str, found: _Found) -> bool:
        """Notes a version, and says whether it has been there for its lease's whole time."""
        now = self._clock.monotonic()
        seen = self._seen.get(name)
        if seen is None or seen.version != found.stat.version:
            if len(self._seen) >= SEEN_MAX:
                self._seen.clear()  # whoever waits begins to count anew, which delays and never errs
            self._seen[name] = _Seen(found.stat.version, now)
            return False
        return now - seen.since >= found.record.ttl_ms / 1000 * (1 + DRIFT)

    def _path(self, name: str) -> str:
        return f"{self._prefix}/{name}"

    async def _ask(self, operation: str, *arguments: Any, **options: Any) -> Any:
        try:
            await self._session.ready()
            return await self._session.ask(operation, *arguments, **options)
        except Disconnected as error:
            raise LockUnavailable(str(error)) from error
        except (NoNodeError, NodeExistsError, BadVersionError):
            raise
        except KazooException as error:
            raise LockUnavailable(f"ZooKeeper refuses with {type(error).__name__}: look at its ACLs") from error


@asynccontextmanager
async def open_zookeeper_locks(url: str) -> AsyncIterator[ZooKeeperLocks]:
    """Opens `zookeeper://user:password@host:port,host:port/path` for the length of a block."""
    parts = urlsplit(url)
    credentials, _, hosts = parts.netloc.rpartition("@")
    session = ZooKeeperSession(hosts, credentials=credentials)
    try:
        yield ZooKeeperLocks(session, prefix=parts.path.rstrip("/") or PREFIX)
    finally:
        await session.aclose()
