"""ZooKeeper as a registry: `ROOT/SERVICE/INSTANCE`, an ephemeral node with the instance's record.

    zookeeper://user:password@zk1:2181,zk2:2181/placet/services?session_ms=10000

An announcement lasts as long as the session of whoever made it; a renewal looks whether the node is still there and
still ours, so it heals an expired session. A revision is the highest transaction id of what was read: ZooKeeper
counts all changes with one number. An epoch is one life of the service's parent node, which outlives restarts.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any, NamedTuple
from urllib.parse import quote, unquote

from kazoo.exceptions import (
    AuthFailedError,
    BadVersionError,
    KazooException,
    NoAuthError,
    NodeExistsError,
    NoNodeError,
)

from placet_rpc.clock import SYSTEM_CLOCK, Clock, pause
from placet_rpc.registry.births import Births
from placet_rpc.registry.endpoint import Endpoint
from placet_rpc.registry.opening import RegistryContext
from placet_rpc.registry.record import Record, age_ms, read_record, to_record
from placet_rpc.registry.registry import REFRESH, RegistryRefused, RegistryUnavailable
from placet_rpc.registry.snapshot import Snapshot
from placet_rpc.zookeeper_session import Disconnected, ZooKeeperSession, open_session

ROOT = "/placet/services"
_TRIES = 5
"""Of a change that meets changes of others; each try means that another writer got through."""


class ZooKeeperRegistry:
    """Satisfies `Registry`.

    Args:
        session: with ZooKeeper; the registry closes it.
        root: the node below which services are; made when the first instance is announced.
        clock: where time comes from.
    """

    def __init__(self, session: ZooKeeperSession, *, root: str = ROOT, clock: Clock = SYSTEM_CLOCK) -> None:
        self.lease = session.lifetime
        self._session = session
        self._root = root.rstrip("/")
        self._clock = clock

    async def register(self, service: str, endpoint: Endpoint) -> None:
        """Makes the instance's node, or sees that it is there and ours."""
        data = to_record(endpoint, age_ms(endpoint, self._clock))
        path = f"{self._path(service)}/{endpoint.instance_id}"
        for _ in range(_TRIES):
            with contextlib.suppress(NodeExistsError):
                await self._ask("create", path, data, ephemeral=True, makepath=True)
                return
            with contextlib.suppress(NoNodeError, BadVersionError):  # changed since we looked: look again
                if await self._take_over(service, path, endpoint, data):
                    return
        raise RegistryUnavailable(f"{path} is being changed by others all the time: is its instance_id given twice?")

    async def unregister(self, service: str, instance_id: str) -> None:
        """Deletes the instance's node, if it is of this session; those of earlier ones end by themselves."""
        path = f"{self._path(service)}/{instance_id}"
        try:
            _, stat = await self._ask("get", path)
            if stat.ephemeralOwner == self._session.session_id:
                await self._ask("delete", path, version=stat.version)
        except (NoNodeError, BadVersionError):
            return

    async def watch(self, service: str) -> AsyncGenerator[Snapshot, None]:
        """Yields the service's instances, now and whenever ZooKeeper says that something has changed."""
        look = _Look(service, self._path(service), self._ask, self._session.hand_over, self._clock)
        while True:
            look.changed.clear()
            snapshot = await look.read()
            if snapshot is not None:
                yield snapshot
                await pause(self._clock, REFRESH.total_seconds(), look.changed)

    async def services(self) -> list[str]:
        """Returns the services that were ever announced here."""
        try:
            return sorted(unquote(name) for name in await self._ask("get_children", self._root))
        except NoNodeError:
            return []

    async def aclose(self) -> None:
        """Ends the session, and with it what was announced."""
        await self._session.aclose()

    def _path(self, service: str) -> str:
        return f"{self._root}/{quote(service, safe='')}"

    async def _take_over(self, service: str, path: str, endpoint: Endpoint, data: bytes) -> bool:
        """Makes a node of our session say what the endpoint says; one of another session is removed, for a new one."""
        stored, stat = await self._ask("get", path)
        if stat.ephemeralOwner != self._session.session_id:
            # Of an earlier session of ours, or of another process: it would go when that session does.
            await self._ask("delete", path, version=stat.version)
            return False
        record = read_record(service, endpoint.instance_id, stored)
        if record is None or to_record(record.endpoint(endpoint.instance_id)) != to_record(endpoint):
            await self._ask("set", path, data, version=stat.version)
        return True

    async def _connected(self) -> None:
        try:
            await self._session.ready()
        except Disconnected as error:
            raise RegistryUnavailable(str(error)) from None

    async def _ask(self, operation: str, *arguments: Any, **options: Any) -> Any:
        await self._connected()
        try:
            return await self._session.ask(operation, *arguments, **options)
        except Disconnected as error:
            raise RegistryUnavailable(str(error)) from None
        except (NodeExistsError, NoNodeError, BadVersionError):
            raise
        except (NoAuthError, AuthFailedError) as error:
            raise RegistryRefused(f"ZooKeeper: {type(error).__name__} at {arguments[0]}") from None
        except KazooException as error:
            raise RegistryUnavailable(f"ZooKeeper: {type(error).__name__} at {arguments[0]}") from None


class _Known(NamedTuple):
    record: Record | None
    stat: Any
    up_since: float | None


class _Look:
    """What one watch knows. ZooKeeper tells of each change once, so each read asks to be told of the next.

    Args:
        service: its key.
        path: of its node.
        ask: makes a request.
        hand_over: brings what kazoo's threads call to the event loop.
        clock: where time comes from.

    Attributes:
        changed: set when ZooKeeper has said that something is not as it was read.
    """

    def __init__(
        self,
        service: str,
        path: str,
        ask: Callable[..., Awaitable[Any]],
        hand_over: Callable[..., None],
        clock: Clock,
    ) -> None:
        self.changed = asyncio.Event()
        self._service, self._path, self._ask, self._clock = service, path, ask, clock
        self._known: dict[str, _Known] = {}
        self._stale: set[str] = set()  # known, and changed since; what they were still counts while others are read
        self._births = Births()
        self._is_first = True
        # One object for all requests: kazoo keeps a watch once, however often it is asked for with the same one.
        self._watch = lambda event: hand_over(self._told, event.path)

    async def read(self) -> Snapshot | None:
        """Returns the instances as they are; None if they changed meanwhile, in a way that asks for another look."""
        try:
            names, parent = await self._ask("get_children", self._path, watch=self._watch, include_data=True)
        except NoNodeError:
            if await self._ask("exists", self._path, watch=self._watch) is not None:
                return None
            self._known.clear()
            return Snapshot(service=self._service, revision=0, endpoints=())
        self._known = {name: known for name, known in self._known.items() if name in names}
        unread = [name for name in names if name not in self._known or name in self._stale]
        self._stale.clear()
        if not all(await asyncio.gather(*(self._read_one(name) for name in unread))):
            return None
        self._births.keep_only(set(names))
        self._is_first = False
        known = dict(sorted(self._known.items()))
        endpoints = [one.record.endpoint(name, one.up_since) for name, one in known.items() if one.record is not None]
        return Snapshot(
            service=self._service,
            revision=max([parent.pzxid, *(one.stat.mzxid for one in known.values())]),
            endpoints=tuple(endpoints),
            epoch=f"{parent.czxid:x}-{parent.ctime:x}",
        )

    async def _read_one(self, name: str) -> bool:
        try:
            data, stat = await self._ask("get", f"{self._path}/{name}", watch=self._watch)
        except NoNodeError:
            self._known.pop(name, None)
            return False
        record = read_record(self._service, name, data)
        up_since = None
        if record is not None:
            # Two machines' clocks meet here and nowhere else: what they differ by shifts a warm-up, no more. An
            # instance that came while we watched has come just now, whatever the clocks say.
            waited = max(self._clock.wall() - stat.ctime / 1000, 0.0) if self._is_first else 0.0
            up_since = self._clock.monotonic() - waited - record.age_ms / 1000
        self._known[name] = _Known(record, stat, self._births.up_since(name, stat.czxid, up_since))
        return True

    def _told(self, path: str | None) -> None:
        if path is None:
            self._stale.update(self._known)  # the connection was lost, and all watches with it
        elif path != self._path:
            self._stale.add(path.rpartition("/")[2])
        self.changed.set()


def open_zookeeper(url: str, context: RegistryContext) -> ZooKeeperRegistry:
    """Opens `zookeeper://HOST:PORT,…/ROOT`."""
    session, path = open_session(url, "registry")
    return ZooKeeperRegistry(session, root=path or ROOT, clock=context.clock)
