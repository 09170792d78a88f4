"""The instances of one service as one client sees them: what the registry says, and what calls have shown."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Protocol
from weakref import WeakSet

from placet_rpc.balancing.balancer import Balancer
from placet_rpc.balancing.candidates import Candidates
from placet_rpc.balancing.member import Member, Route
from placet_rpc.clock import Clock
from placet_rpc.errors import NoInstance
from placet_rpc.policies.ejection import Ejection, EjectionLimits
from placet_rpc.registry.endpoint import Endpoint
from placet_rpc.registry.snapshot import Snapshot

_log = logging.getLogger("placet_rpc.client")

Connect = Callable[[Endpoint], Route | None]
"""Returns the way to an instance; None if it offers no transport that this client has."""


class Directory(Protocol):
    """Where snapshots come from; `placet_rpc.registry.directory.Directory` is one."""

    def snapshot(self, service: str) -> Snapshot:
        """Returns the latest snapshot, the same object until something changes; revision 0: nothing is known yet."""
        ...

    async def ready(self, service: str, seconds: float) -> Snapshot:
        """Waits for a first word of the service, at most so long, and returns the latest snapshot."""
        ...


class Instances:
    """The instances of one service.

    An instance keeps its route and its history as long as it is known by the same id and URLs. One that leaves is not
    chosen any more; what is under way there goes on, for its route closes no connection.

    Args:
        service: its key.
        directory: where snapshots come from.
        connect: makes the ways to instances.
        clock: where time comes from.
        zone: where this client runs, to stay within while there is enough; empty: anywhere is near.
        ejection: who is left out for misbehaving; None: nobody.

    Attributes:
        candidates: all that may be chosen.
        local: those in this client's zone; None if there is none, or nothing else.
        ejection: of them.
    """

    def __init__(
        self,
        service: str,
        directory: Directory,
        connect: Connect,
        clock: Clock,
        *,
        zone: str = "",
        ejection: EjectionLimits | None = None,
    ) -> None:
        self.service = service
        self.candidates = Candidates(())
        self.local: Candidates | None = None
        self.ejection = Ejection(clock, ejection)
        self.note = self.ejection.note if ejection is not None else _ignore
        """Takes what a request to an instance came to; see `Ejection.note`."""
        self._directory = directory
        self._connect = connect
        self._zone = zone
        self._members: dict[str, Member] = {}
        self._snapshot: Snapshot | None = None
        self._taking: Snapshot | None = None
        self._balancers: WeakSet[Balancer] = WeakSet()

    @property
    def is_known(self) -> bool:
        """False until there was a first word of the service."""
        return bool(self._members) or self._directory.snapshot(self.service).revision > 0

    async def ready(self, seconds: float) -> None:
        """Waits for the first word, at most so long."""
        await self._directory.ready(self.service, seconds)

    def serve(self, balancer: Balancer) -> None:
        """Prepares a balancer for each snapshot from now on."""
        self._balancers.add(balancer)
        self._prepare(balancer)

    def current(self) -> Candidates:
        """Returns the candidates of the latest snapshot, or of the one before while that is being taken in.

        Rings and sums are computed between calls and not within one.
        """
        snapshot = self._directory.snapshot(self.service)
        if snapshot is not self._snapshot:
            if not self.candidates.members:
                self._take(snapshot)
            elif snapshot is not self._taking:
                self._taking = snapshot
                asyncio.get_running_loop().call_soon(self.latest)
        return self.candidates

    def latest(self) -> Candidates:
        """Returns the candidates of the latest snapshot, at the cost of taking it in; for calls that have failed."""
        snapshot = self._directory.snapshot(self.service)
        if snapshot is not self._snapshot:
            self._take(snapshot)
        return self.candidates

    def named(self, instance_id: str) -> Member:
        """Returns an instance by its id.

        Raises:
            NoInstance: it is not there any more, or never was.
        """
        self.current()
        member = self._members.get(instance_id)
        if member is None:
            self.latest()  # whoever named it may have seen a snapshot that is still to be taken in
            member = self._members.get(instance_id)
        if member is None:
            raise NoInstance(f"{self.service} has no instance {instance_id}, where this call has to go")
        return member

    def _take(self, snapshot: Snapshot) -> None:
        members: dict[str, Member] = {}
        for endpoint in snapshot.endpoints:
            member = self._members.get(endpoint.instance_id)
            if member is not None and member.endpoint.urls == endpoint.urls:
                member.endpoint = endpoint
            else:
                member = self._join(endpoint)
            if member is not None:
                members[endpoint.instance_id] = member
        self._members = members
        self._snapshot = snapshot
        self._taking = None
        self.candidates = Candidates(list(members.values()))
        self.local = self._in_zone(self.candidates.members)
        self.ejection.keep(set(self.candidates.members))
        for balancer in tuple(self._balancers):
            self._prepare(balancer)

    def _join(self, endpoint: Endpoint) -> Member | None:
        try:
            route = self._connect(endpoint)
        except ValueError as error:
            _log.warning("instance %s of %s can't be called: %s", endpoint.instance_id, self.service, error)
            return None
        if route is None:
            urls = ", ".join(endpoint.urls)
            _log.warning("instance %s of %s has no transport of ours: %s", endpoint.instance_id, self.service, urls)
            return None
        return Member(endpoint, route)

    def _in_zone(self, members: Sequence[Member]) -> Candidates | None:
        near = [member for member in members if member.endpoint.zone == self._zone]
        return Candidates(near) if self._zone and 0 < len(near) < len(members) else None

    def _prepare(self, balancer: Balancer) -> None:
        for candidates in (self.candidates, self.local):
            if candidates is not None:
                balancer.prepare(candidates)


def _ignore(member: Member, seconds: float, now: float, *, failed: bool) -> None:
    """Stands where nobody is ejected."""
