"""Calls under load while the registry is killed, stays away, and comes back; run by a test and by a benchmark.

Three servers and a client share a registry. It is killed with `kill -9`; while it is away one server leaves and another
one comes; then it is started again. Every call counts.

How long it is away does not matter by itself: what could go wrong needs the end of a lease, of a ZooKeeper session, of
the patience with a silent watch, or the longest backoff, and after the return the end of the hold. So `Times.shortened`
makes each of the first shorter than the outage, as the defaults are shorter than a minute.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Protocol

from placet_contract.service import method, service
from placet_rpc.client import Client
from placet_rpc.registry import CacheSettings
from placet_rpc.registry.registry import LEASE, REFRESH
from placet_rpc.server import Server

CALLERS = 16
PAUSE_SECONDS = 0.005
"""Of a caller between two calls: some thousand calls a second, so that the servers are busy and not drowned."""


@dataclass(frozen=True)
class Times:
    """How long things take.

    Attributes:
        outage: the registry is away.
        lease: of an announcement, and of a ZooKeeper session.
        settings: of the client's cache.
    """

    outage: float
    lease: timedelta
    settings: CacheSettings

    @classmethod
    def default(cls, outage: float, folder: Path) -> "Times":
        """Returns what is so where nobody says anything else."""
        return cls(outage, LEASE, CacheSettings(folder=folder))

    @classmethod
    def shortened(cls, outage: float, folder: Path) -> "Times":
        """Returns times in the relation to the outage that the defaults have to a minute, or as near as they may be."""
        factor, default = outage / 60, CacheSettings()
        settings = CacheSettings(
            folder=folder,
            hold=timedelta(seconds=3),
            silence=max(default.silence * factor, REFRESH * 1.2),
            retry_cap=default.retry_cap * factor,
        )
        return cls(outage, max(LEASE * factor, timedelta(seconds=1.5)), settings)


@service("where")
class Where(Protocol):
    """Says which server took the call."""

    @method(idempotent=True, timeout=timedelta(seconds=5))
    async def am_i(self) -> str: ...


class Here:
    """One server's answer."""

    def __init__(self, name: str) -> None:
        self.name = name

    async def am_i(self) -> str:
        return self.name


@dataclass
class Tally:
    """What came of the calls.

    Attributes:
        answered: by server.
        failed: in words.
    """

    answered: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    _awaited: dict[str, asyncio.Event] = field(default_factory=dict)

    def count(self, name: str) -> None:
        """A server has answered."""
        self.answered[name] += 1
        if name in self._awaited:
            self._awaited.pop(name).set()

    async def next_of(self, *names: str) -> None:
        """Waits until each of these servers has answered another call."""
        for name in names:
            await self._awaited.setdefault(name, asyncio.Event()).wait()


async def serve(registry: str, name: str) -> Server:
    """Starts a server."""
    server = Server(tcp="127.0.0.1:0", registry=registry, instance_id=name)
    server.expose(Where)(Here(name))
    await server.start()
    return server


async def call_on(where: Where, tally: Tally) -> None:
    """One caller."""
    while True:
        try:
            tally.count(await where.am_i())
        except Exception as error:  # noqa: BLE001 - whatever a caller sees is a failed call
            tally.failed[str(error)] += 1
        await asyncio.sleep(PAUSE_SECONDS)


async def outage(registry: str, times: Times, kill: Callable[[], None], start: Callable[[], None]) -> Tally:
    """Runs the whole story.

    Args:
        registry: its URL.
        times: how long things take.
        kill: ends the registry at once.
        start: starts it again, and returns when it answers.
    """
    tally = Tally()
    async with contextlib.AsyncExitStack() as stack:
        servers = [await serve(registry, name) for name in ("a", "b", "c")]
        stack.push_async_callback(close_all, servers)
        client = await stack.enter_async_context(Client(registry=registry, cache=times.settings))
        where = client.reference(Where)
        callers = [asyncio.create_task(call_on(where, tally)) for _ in range(CALLERS)]
        stack.push_async_callback(end_all, callers)
        await tally.next_of("a", "b", "c")

        await asyncio.to_thread(kill)
        await asyncio.sleep(times.outage / 2)
        await servers.pop(0).aclose(linger=timedelta(seconds=0.1), grace=timedelta(seconds=2))
        servers.append(await serve(registry, "d"))
        await asyncio.sleep(times.outage / 2)
        assert not tally.answered["d"]  # nobody can have heard of it
        await asyncio.to_thread(start)

        await tally.next_of("d", "b", "c")
        # Then the hold ends, and only what is announced again is still called.
        await asyncio.sleep(times.settings.hold.total_seconds() + 2 * times.lease.total_seconds())
        gone = tally.answered["a"]
        await tally.next_of("b", "c", "d")
        assert tally.answered["a"] == gone
    return tally


async def close_all(servers: list[Server]) -> None:
    """Ends the servers."""
    for server in servers:
        await server.aclose(linger=timedelta(), grace=timedelta(seconds=1))


async def end_all(tasks: list[asyncio.Task[None]]) -> None:
    """Ends the callers."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
