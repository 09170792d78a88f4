"""One service as one of its servers sees it: who owns its keys, who did until a while ago, who asked for one."""

from collections import deque
from typing import NamedTuple

import msgspec

from placet_rpc.ordering.owner import Owners
from placet_rpc.registry.endpoint import Endpoint
from placet_rpc.registry.snapshot import Snapshot

MAX_KEYS = 65_536


class Claim(NamedTuple):
    """What an instance says that wants a key.

    Attributes:
        service: its key.
        key: the ordering key.
        to: the id of the instance.
        epoch: of its snapshot.
        revision: of its snapshot.
    """

    service: str
    key: str
    to: str
    epoch: str
    revision: int


class EarlierOwner(msgspec.Struct, frozen=True):
    """An instance that may still run calls of a key.

    Attributes:
        instance_id: of it.
        urls: where it is reached; none: nobody knows.
        left_ms: how long until it can't be alive any more, unless it is heard of again.
    """

    instance_id: str
    urls: tuple[str, ...]
    left_ms: int


class Release(msgspec.Struct, frozen=True):
    """The answer to a claim.

    Attributes:
        is_released: nothing of the key runs at whoever answers, nor will.
        knows: it has followed the service for a whole lease, so `earlier` is complete.
        earlier: who else may run calls of the key.
    """

    is_released: bool
    knows: bool = False
    earlier: tuple[EarlierOwner, ...] = ()


class Era(NamedTuple):
    """The owners of keys until a while ago."""

    owners: Owners
    ended_at: float


class Released(NamedTuple):
    """A key that was let go of, and until when that matters."""

    claim: Claim
    until: float


class ServiceView:
    """What one server knows of the instances of one service. Time is an argument.

    Args:
        me: the id of this server.
        snapshot: the instances.
        lease_seconds: how long an instance counts as alive that the registry does not hear.
        now: in monotonic seconds.

    Attributes:
        snapshot: the latest.
        owners: among its instances.
        eras: that ended less than a lease ago, the latest last.
        released: keys that were let go of less than a lease ago.
        taken: keys of which it is known that no other instance runs them.
        knows_at: from when on all earlier owners are known that may still live, in monotonic seconds.
        left: instances that have said that they run nothing any more, and are not there any more.
    """

    def __init__(self, me: str, snapshot: Snapshot, lease_seconds: float, now: float) -> None:
        self.snapshot, self.owners = snapshot, Owners.of(snapshot)
        self.eras: deque[Era] = deque()
        self.released: dict[str, Released] = {}
        self.taken: set[str] = set()
        self.left: set[str] = set()
        self._me, self._lease_seconds = me, lease_seconds
        self.knows_at = now + lease_seconds
        self._begin_era(Owners(()), now)

    @property
    def is_settled(self) -> bool:
        """True if no other instance could run any of this server's keys."""
        return not self.eras and not self.released

    def turn(self, snapshot: Snapshot, now: float) -> None:
        """Takes the latest snapshot in, and forgets what no longer matters."""
        if snapshot is not self.snapshot:
            self._take_in(snapshot, now)
        while self.eras and self.eras[0].ended_at + self._lease_seconds <= now:
            self.eras.popleft()
        while self.released and (oldest := next(iter(self.released.values()))).until <= now:
            del self.released[oldest.claim.key]
        if not self.eras:
            self.left.clear()
        if self.is_settled or len(self.taken) >= MAX_KEYS:
            self.taken.clear()

    def is_mine(self, key: str) -> bool:
        """True if this server owns a key, and nobody with a later view has asked for it."""
        if self.owners.owner(key) != self._me:
            return False
        released = self.released.get(key)
        return released is None or not self.is_behind(released.claim)

    def is_behind(self, claim: Claim) -> bool:
        """True if whoever claims has a later view of the service than this server."""
        return self.snapshot.epoch == claim.epoch and self.snapshot.revision < claim.revision

    def let_go(self, claim: Claim, now: float) -> Released | None:
        """Notes that a key is another's now; returns who else had asked for it."""
        before = self.released.pop(claim.key, None)
        self.released[claim.key] = Released(claim, now + self._lease_seconds)
        self.taken.discard(claim.key)
        return before

    def to_ask(self, key: str) -> dict[str, float]:
        """Returns who else may run calls of a key, as far as is known here, and when each can't be alive any more."""
        asked = {era.owners.owner(key): era.ended_at + self._lease_seconds for era in self.eras}
        released = self.released.get(key)
        if released is not None:
            asked[released.claim.to] = max(released.until, asked.get(released.claim.to, 0.0))
        nobody = {"", self._me, *self.left}
        return {instance_id: end for instance_id, end in asked.items() if instance_id not in nobody}

    def answer_to(self, claim: Claim, before: Released | None, now: float) -> Release:
        """Returns the answer to a claim that was granted, after `let_go`.

        Args:
            claim: what was claimed.
            before: what `let_go` returned.
            now: in monotonic seconds.
        """
        others = self.to_ask(claim.key)
        owner = self.owners.owner(claim.key)
        if owner not in ("", self._me):
            others[owner] = now + self._lease_seconds  # as far as is known here it is the owner still
        if before is not None and before.claim.to not in self.left:
            others[before.claim.to] = max(before.until, others.get(before.claim.to, 0.0))
        others.pop(claim.to, None)
        earlier = []
        for instance_id, end in others.items():
            endpoint = self.endpoint(instance_id)
            urls = () if endpoint is None else endpoint.urls
            earlier.append(EarlierOwner(instance_id, urls, int((end - now) * 1000) + 1))
        return Release(is_released=True, knows=now >= self.knows_at, earlier=tuple(earlier))

    def endpoint(self, instance_id: str) -> Endpoint | None:
        """Returns how an instance is reached, or was; None: it was never seen."""
        known = (self.owners, *(era.owners for era in reversed(self.eras)))
        return next((one.endpoints[instance_id] for one in known if instance_id in one.endpoints), None)

    def endpoints(self) -> list[Endpoint]:
        """Returns how all others are reached that are there, or were a while ago."""
        found = {name: one for era in self.eras for name, one in era.owners.endpoints.items()} | self.owners.endpoints
        return [endpoint for instance_id, endpoint in found.items() if instance_id != self._me]

    def note_left(self, instance_id: str) -> None:
        """Takes an instance's word that it runs nothing any more; not while it is listed: that may be its next life."""
        if instance_id not in self.owners.endpoints:
            self.left.add(instance_id)

    # -- inside ------------------------------------------------------------------------------------------------

    def _take_in(self, snapshot: Snapshot, now: float) -> None:
        overtaken = [key for key, one in self.released.items() if self.is_behind(one.claim)]
        before = self.owners
        self.snapshot, self.owners = snapshot, Owners.of(snapshot)
        self.left.difference_update(self.owners.endpoints)
        if self.owners != before:
            self._begin_era(before, now)
            self.taken = {key for key in self.taken if self.owners.owner(key) == self._me}
        for key in overtaken:
            # Whoever asked may have been an owner until just now, and may have gone without our ever seeing it.
            one = self.released.pop(key)
            self.released[key] = one._replace(until=now + self._lease_seconds)

    def _begin_era(self, before: Owners, now: float) -> None:
        """Notes whom this server has to ask. One that has just come knows none: whoever was there without it, then."""
        earlier = before if before.endpoints else self.owners.without(self._me)
        if earlier.endpoints:
            self.eras.append(Era(earlier, now))
