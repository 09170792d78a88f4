"""A configuration in ZooKeeper, in one node, which tells of its changes. Needs the extra `zookeeper`.

zookeeper://user:password@zk1:2181,zk2:2181/placet/configuration/order
"""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any
from urllib.parse import urlsplit

from kazoo.exceptions import KazooException, NoNodeError

from placet_rpc.clock import SYSTEM_CLOCK, Clock, pause
from placet_rpc.configuration.opening import SourceContext
from placet_rpc.configuration.source import REFRESH, SourceUnavailable, Stored
from placet_rpc.zookeeper_session import Disconnected, ZooKeeperSession, open_session

_LOOKS = 3
"""Each beyond the first means that the node has come and gone meanwhile."""


class ZooKeeperSource:
    """Satisfies `ConfigurationSource`.

    Args:
        session: with ZooKeeper; the source closes it.
        path: of the node; it need not exist yet.
        clock: where time comes from.
    """

    def __init__(self, session: ZooKeeperSession, path: str, *, clock: Clock = SYSTEM_CLOCK) -> None:
        self._session = session
        self._path = path
        self._clock = clock

    async def read(self) -> Stored | None:
        """Returns the node's data; None: there is no node, or nothing in it."""
        return await self._look()

    async def watch(self) -> AsyncGenerator[Stored | None, None]:
        """Yields the node's data, now and whenever ZooKeeper says that it has changed."""
        changed = asyncio.Event()

        # One object for all requests: kazoo keeps a watch once, however often it is asked for with the same one.
        def tell(_event: object) -> None:
            self._session.hand_over(changed.set)

        while True:
            changed.clear()
            yield await self._look(watch=tell)
            await pause(self._clock, REFRESH.total_seconds(), changed)

    async def aclose(self) -> None:
        """Ends the session."""
        await self._session.aclose()

    async def _look(self, **options: Any) -> Stored | None:
        try:
            await self._session.ready()
            for _ in range(_LOOKS):
                try:
                    data, stat = await self._session.ask("get", self._path, **options)
                except NoNodeError:
                    # Asked for another time, so that ZooKeeper tells when there is one.
                    if await self._session.ask("exists", self._path, **options) is None:
                        return None
                    continue  # it has come between the two requests
                # All changes are counted with one number, so a node that was deleted and made anew has another one.
                return Stored(str(stat.mzxid), data, changed_at_ms=stat.mtime) if data else None
        except Disconnected as error:
            raise SourceUnavailable(str(error)) from None
        except KazooException as error:
            raise SourceUnavailable(f"ZooKeeper: {type(error).__name__} at {self._path}") from None
        raise SourceUnavailable(f"{self._path} is being made and deleted all the time")


def open_zookeeper(url: str, context: SourceContext) -> ZooKeeperSource:
    """Opens `zookeeper://HOST:PORT,…/PATH`."""
    if not urlsplit(url).path.strip("/"):
        raise ValueError("a configuration in ZooKeeper is one node: write zookeeper://host:port/path/of/the/node")
    session, path = open_session(url, "configuration")
    return ZooKeeperSource(session, path, clock=context.clock)
