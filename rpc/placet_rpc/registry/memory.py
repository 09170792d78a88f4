"""The registry within one process, for tests and for programs that call themselves; the port at its plainest."""

import asyncio
import threading
from collections.abc import AsyncGenerator
from datetime import timedelta
from uuid import uuid4
from weakref import WeakValueDictionary

from placet_rpc.clock import SYSTEM_CLOCK, Clock, pause
from placet_rpc.registry.endpoint import Endpoint
from placet_rpc.registry.opening import RegistryContext
from placet_rpc.registry.registry import LEASE, REFRESH
from placet_rpc.registry.snapshot import Snapshot

_named: WeakValueDictionary[str, "Board"] = WeakValueDictionary()


class Announced:
    """One announcement on a board."""

    __slots__ = ("by", "endpoint", "ends_at")

    def __init__(self, endpoint: Endpoint, by: object, ends_at: float) -> None:
        self.endpoint, self.by, self.ends_at = endpoint, by, ends_at


class Board:
    """What all memory registries of one name share; may be used from several threads and event loops."""

    def __init__(self, clock: Clock = SYSTEM_CLOCK) -> None:
        self.epoch = uuid4().hex
        self._clock = clock
        self._lock = threading.Lock()
        self._revisions: dict[str, int] = {}
        self._services: dict[str, dict[str, Announced]] = {}
        self._watches: dict[object, tuple[str, asyncio.AbstractEventLoop, asyncio.Event]] = {}

    def put(self, service: str, announced: Announced) -> None:
        """Announces an instance or prolongs its announcement."""
        with self._lock:
            entries = self._services.setdefault(service, {})
            known = entries.get(announced.endpoint.instance_id)
            entries[announced.endpoint.instance_id] = announced
            if known is None or known.endpoint != announced.endpoint:
                self._changed(service)
            else:
                self._wake(service)  # whoever waits for the end of the lease waits for a later one now

    def take(self, service: str, instance_id: str, by: object) -> None:
        """Withdraws an instance if it was announced by this object."""
        with self._lock:
            known = self._services.get(service, {}).get(instance_id)
            if known is not None and known.by is by:
                del self._services[service][instance_id]
                self._changed(service)

    def read(self, service: str) -> tuple[Snapshot, float]:
        """Returns a service's instances, and when the next lease ends."""
        now = self._clock.monotonic()
        with self._lock:
            entries = self._services.get(service, {})
            ended = [instance_id for instance_id, announced in entries.items() if announced.ends_at <= now]
            for instance_id in ended:
                del entries[instance_id]
            if ended:
                self._changed(service)
            endpoints = tuple(entries[instance_id].endpoint for instance_id in sorted(entries))
            snapshot = Snapshot(
                service=service, revision=self._revisions.get(service, 0), endpoints=endpoints, epoch=self.epoch
            )
            return snapshot, min((announced.ends_at for announced in entries.values()), default=float("inf"))

    def services(self) -> list[str]:
        """Returns all services, in order."""
        with self._lock:
            return sorted(self._services)

    def listen(self, key: object, service: str, event: asyncio.Event) -> None:
        """Sets the event, on the loop that calls this, whenever the service has changed."""
        with self._lock:
            self._watches[key] = (service, asyncio.get_running_loop(), event)

    def leave(self, key: object) -> None:
        """Ends `listen`."""
        with self._lock:
            self._watches.pop(key, None)

    def _changed(self, service: str) -> None:
        self._revisions[service] = self._revisions.get(service, 0) + 1
        self._wake(service)

    def _wake(self, service: str) -> None:
        for watched, loop, event in self._watches.values():
            if watched == service and not loop.is_closed():
                loop.call_soon_threadsafe(event.set)


class MemoryRegistry:
    """Satisfies `Registry`. `memory:NAME` is the same in all clients and servers of this process.

    Args:
        board: shared with other registries; None: one of its own.
        clock: where time comes from.
        lease: how long an announcement outlives its last renewal.
    """

    def __init__(self, board: Board | None = None, *, clock: Clock = SYSTEM_CLOCK, lease: timedelta = LEASE) -> None:
        self.lease = lease
        self._board = board or Board(clock)
        self._clock = clock

    async def register(self, service: str, endpoint: Endpoint) -> None:
        """Announces an instance, or prolongs its announcement."""
        ends_at = self._clock.monotonic() + self.lease.total_seconds()
        self._board.put(service, Announced(endpoint, self, ends_at))

    async def unregister(self, service: str, instance_id: str) -> None:
        """Withdraws what this object announced."""
        self._board.take(service, instance_id, self)

    async def watch(self, service: str) -> AsyncGenerator[Snapshot, None]:
        """Yields the service's instances, now and after changes."""
        key, event = object(), asyncio.Event()
        self._board.listen(key, service, event)
        try:
            while True:
                event.clear()
                snapshot, ends_at = self._board.read(service)
                yield snapshot
                left = ends_at - self._clock.monotonic()
                await pause(self._clock, min(max(left, 0.0), REFRESH.total_seconds()), event)
        finally:
            self._board.leave(key)

    async def services(self) -> list[str]:
        """Returns the services that were ever announced here."""
        return self._board.services()

    async def aclose(self) -> None:
        """Nothing is to be closed."""


def open_memory(url: str, context: RegistryContext) -> MemoryRegistry:
    """Opens `memory:NAME`."""
    name = url.partition(":")[2]
    board = _named.get(name)
    if board is None:
        board = _named[name] = Board(context.clock)
    return MemoryRegistry(board, clock=context.clock)
