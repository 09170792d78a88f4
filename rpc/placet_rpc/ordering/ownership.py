"""Which keys this server owns, and when it may begin with one that was another's."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import timedelta
from typing import Protocol

from placet_rpc.clock import SYSTEM_CLOCK, Clock
from placet_rpc.ordering.calling import Snapshots
from placet_rpc.ordering.service_view import MAX_KEYS, Claim, ServiceView
from placet_rpc.registry.endpoint import Endpoint
from placet_rpc.registry.registry import LEASE

_log = logging.getLogger("placet_rpc.ordering")

FOLLOW_SECONDS = 0.5
ASK_FIRST_SECONDS = 0.05
ASK_CAP_SECONDS = 1.0


class AgedSnapshots(Snapshots, Protocol):
    """Snapshots of which it is known when they were last confirmed; a `Directory`."""

    def age(self, service: str) -> timedelta | None:
        """Returns how long ago the registry last said what it says of a service; None: it never did."""
        ...


class OtherInstances(Protocol):
    """How a server talks to the other instances of its services; `peers.Peers` does so over the transports."""

    async def ask(self, endpoint: Endpoint, claim: Claim, seconds: float) -> bool:
        """Asks an instance to let go of a key, waiting at most so long; False: it does not, or there is no answer."""
        ...

    async def say_left(self, endpoint: Endpoint, service: str, instance_id: str) -> None:
        """Tells an instance that this one runs nothing of a service any more; it may not be heard."""
        ...


Drain = Callable[[str, str], Awaitable[None]]
"""Refuses what waits for (service, key) here, and returns when nothing of it runs."""


class Ownership:
    """The keys of one server.

    Args:
        snapshots: where the instances of its services are known, this one among them; a `Directory`.
        instance_id: this one.
        others: how they are asked.
        services: the keys of those with ordered methods, so that changes are noticed when they come.
        lease: how long an instance counts as alive that the registry does not hear.
        strict: refuse calls with a key while the registry has not been heard for a lease: others may take this server
            for dead then. A call that is running by then is not stopped.
        clock: where time comes from.
    """

    def __init__(
        self,
        snapshots: AgedSnapshots,
        instance_id: str,
        others: OtherInstances,
        *,
        services: Iterable[str] = (),
        lease: timedelta = LEASE,
        strict: bool = False,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._snapshots, self._me, self._others = snapshots, instance_id, others
        self._lease = lease
        self._is_strict = strict
        self._clock = clock
        self._views: dict[str, ServiceView] = {}
        self._taking: dict[tuple[str, str], asyncio.Task[None]] = {}
        for service in services:
            self._view(service)
        self._following = asyncio.create_task(self._follow(), name="owners of ordering keys")

    async def admit(self, service: str, key: str, seconds: float) -> str:
        """Makes sure that no other instance runs calls of a key.

        Args:
            service: its key.
            key: the ordering key.
            seconds: how long to wait for earlier owners.

        Returns:
            Why this server must not run it: `moved`, `handing_over`, `cut_off`; or nothing.
        """
        view = self._view(service)
        if self._is_strict and self._is_cut_off(service):
            return "cut_off"
        if not view.is_mine(key):
            return "moved"
        if view.is_settled or key in view.taken:
            return ""
        await asyncio.wait((self._take_soon(view, service, key),), timeout=seconds)
        self._view(service)
        if not view.is_mine(key):
            return "moved"
        return "" if view.is_settled or key in view.taken else "handing_over"

    async def release(self, claim: Claim, drain: Drain) -> bool:
        """Lets go of a key that another instance owns now, once nothing of it runs here or with earlier owners.

        Args:
            claim: what the other says.
            drain: ends what is here.

        Returns:
            False: this server owns it, as far as it can see; or it has let go of too many to remember another.
        """
        view = self._view(claim.service)
        if not view.is_behind(claim) and view.owners.owner(claim.key) != claim.to:
            return False
        if len(view.released) >= MAX_KEYS:
            return False
        was_taken = claim.key in view.taken
        before = view.let_go(claim, self._clock.monotonic())
        await drain(claim.service, claim.key)
        if not was_taken:
            await self._ask_all(view, claim, view.to_vouch_for(claim, before))
        return True

    def note_left(self, service: str, instance_id: str) -> None:
        """Takes an instance's word that it runs nothing of a service any more."""
        self._view(service).note_left(instance_id)

    async def aclose(self) -> None:
        """Tells the others that nothing runs here any more, so that they need not wait for this server's lease."""
        tasks = [self._following, *self._taking.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        said = [
            self._others.say_left(endpoint, service, self._me)
            for service, view in self._views.items()
            for endpoint in view.endpoints()
        ]
        await asyncio.gather(*said)

    # -- inside ------------------------------------------------------------------------------------------------

    async def _follow(self) -> None:
        """Notices changes that no call comes after: a lease ends so long after the change, not after the next call."""
        while True:
            await self._clock.sleep(FOLLOW_SECONDS)
            for service in self._views:
                self._view(service)

    def _view(self, service: str) -> ServiceView:
        snapshot, now = self._snapshots.snapshot(service), self._clock.monotonic()
        view = self._views.get(service)
        if view is None:
            view = self._views[service] = ServiceView(self._me, snapshot, self._lease.total_seconds(), now)
        view.turn(snapshot, now)
        return view

    def _is_cut_off(self, service: str) -> bool:
        age = self._snapshots.age(service)
        return age is None or age >= self._lease

    def _take_soon(self, view: ServiceView, service: str, key: str) -> asyncio.Task[None]:
        name = (service, key)
        task = self._taking.get(name)
        if task is None:
            task = self._taking[name] = asyncio.create_task(self._take(view, service, key))
            task.add_done_callback(lambda _task: self._taking.pop(name, None))
        return task

    async def _take(self, view: ServiceView, service: str, key: str) -> None:
        owners, released = view.owners, view.released.get(key)
        claim = Claim(service, key, self._me, view.snapshot.epoch, view.snapshot.revision)
        await self._ask_all(view, claim, view.to_ask(key))
        # Had somebody asked for it meanwhile, or had the instances changed, all that was heard would be out of date.
        if view.owners == owners and view.released.get(key) is released:
            view.released.pop(key, None)
            view.taken.add(key)

    async def _ask_all(self, view: ServiceView, claim: Claim, asked: Mapping[str, float]) -> None:
        """Returns when each of them has let go of the key, or can't be alive any more."""
        await asyncio.gather(*(self._ask_until(view, claim, instance_id, end) for instance_id, end in asked.items()))

    async def _ask_until(self, view: ServiceView, claim: Claim, instance_id: str, end: float) -> None:
        endpoint = view.endpoint(instance_id)
        pause_seconds = ASK_FIRST_SECONDS
        while (left := end - self._clock.monotonic()) > 0:
            if endpoint is not None and await self._others.ask(endpoint, claim, left):
                return
            if instance_id in view.left:
                return
            await self._clock.sleep(min(pause_seconds, max(end - self._clock.monotonic(), 0)))
            pause_seconds = min(2 * pause_seconds, ASK_CAP_SECONDS)
        _log.info("%s did not let go of a key of %s; its lease is over by now", instance_id, claim.service)
