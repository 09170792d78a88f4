"""Which keys this server owns, and when it may begin with one that was another's."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from datetime import timedelta
from typing import Protocol

from placet_rpc.clock import SYSTEM_CLOCK, Clock
from placet_rpc.ordering.calling import Snapshots
from placet_rpc.ordering.service_view import MAX_KEYS, Claim, Release, ServiceView
from placet_rpc.ordering.taking import OtherInstances, Taking
from placet_rpc.registry.registry import LEASE

FOLLOW_SECONDS = 0.5


class AgedSnapshots(Snapshots, Protocol):
    """Snapshots of which it is known when they were last confirmed; a `Directory`."""

    def age(self, service: str) -> timedelta | None:
        """Returns how long ago the registry last said what it says of a service; None: it never did."""
        ...


Drain = Callable[[str, str], Awaitable[None]]
"""Refuses what waits for (service, key) here, and returns when nothing of it runs."""


class Ownership:
    """The keys of one server.

    Args:
        snapshots: where the instances of its services are known, this one among them; a `Directory`.
        instance_id: this one, as the registry lists it: a static one makes it from the address (`instance_id_of`).
        others: how they are asked.
        services: the keys of those with ordered methods, so that changes are noticed when they come.
        lease: how long an instance counts as alive that the registry does not hear.
        strict: refuse calls with a key while the registry has not been heard for a lease: others may take this server
            for dead then; a call that is running by then is not stopped. And begin with no key before a lease is over,
            where no instance has been there for as long: who left just before may still run calls.
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

    async def release(self, claim: Claim, drain: Drain) -> Release:
        """Lets go of a key that another instance owns now, once nothing of it runs here.

        Args:
            claim: what the other says.
            drain: ends what is here.

        Returns:
            Not released: this server owns it, as far as it can see; or it has let go of too many to remember another.
        """
        view = self._view(claim.service)
        if not view.is_behind(claim) and view.owners.owner(claim.key) != claim.to:
            return Release(is_released=False)
        if len(view.released) >= MAX_KEYS:
            return Release(is_released=False)
        before = view.let_go(claim, self._clock.monotonic())
        await drain(claim.service, claim.key)
        return view.answer_to(claim, before, self._clock.monotonic())

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
        await Taking(claim, view, self._others, self._clock).run(waits_to_know=self._is_strict)
        # Had somebody asked for it meanwhile, or had the instances changed, all that was heard would be out of date.
        if view.owners == owners and view.released.get(key) is released:
            view.released.pop(key, None)
            view.taken.add(key)
