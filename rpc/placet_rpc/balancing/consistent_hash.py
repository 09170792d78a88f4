"""Consistent hash: calls with the same key go to the same instance; when instances come or go, few keys move.

Each instance has points on a ring, a key belongs to the next point. Points follow from the instance's id alone, never
from its address, its place in a list or a time, so that it has the same keys wherever and whenever it is seen.
"""

from bisect import bisect_right
from collections.abc import Collection
from functools import lru_cache
from typing import NamedTuple

from xxhash import xxh64_intdigest

from placet_rpc.balancing.candidates import Candidates
from placet_rpc.balancing.member import Member
from placet_rpc.chance import Chance
from placet_rpc.clock import Clock
from placet_rpc.invocation import Invocation
from placet_rpc.registry.endpoint import WEIGHT

POINTS = 160
"""Of an instance with the usual weight; the busiest of 10 instances then has 1.1 times its share of the keys."""
POINTS_MAX = 16 * POINTS
_RING = "consistent_hash"


class Ring(NamedTuple):
    """The ring of some candidates.

    Attributes:
        points: in order.
        owners: by point.
        counts: how many points each instance has.
        after: whose a key is that stands before the point of the same place; behind the last one it is the first's.
    """

    points: list[int]
    owners: dict[int, Member]
    counts: dict[Member, int]
    after: list[Member]


NO_RING = Ring([], {}, {}, [])
"""Of no instances; nobody changes a ring."""


class ConsistentHash:
    """Satisfies `Balancer`. The key of a call is its ordering key, else its first argument.

    The ring is built when a snapshot comes, from the one before, and shared by all methods of the service. Warming up
    does not change it: a weight does, by the number of points.
    """

    spi_version = 1

    def __init__(self, _clock: Clock, chance: Chance) -> None:
        self._chance = chance
        self._latest = NO_RING

    def prepare(self, candidates: Candidates) -> None:
        """Builds the ring."""
        self._latest = candidates.keep(_RING, self._build)

    def pick(self, candidates: Candidates, call: Invocation, excluded: Collection[Member]) -> Member | None:
        """Returns the owner of the call's key, or of the ones after it the first that is not excluded."""
        ring = candidates.keep(_RING, self._build)
        points, after = ring.points, ring.after
        if not points:
            return None
        key = call.key
        place = bisect_right(points, xxh64_intdigest(key.encode()) if key else self._hash(call))
        owner = after[place]
        if not excluded or owner not in excluded:
            return owner
        others = (after[(place + step) % len(points)] for step in range(1, len(points)))
        return next((member for member in others if member not in excluded), None)

    def _build(self, candidates: Candidates) -> Ring:
        return ring_of(candidates, self._latest)

    def _hash(self, call: Invocation) -> int:
        """Returns the place of a call without a key."""
        names = call.method.names
        if names:
            return xxh64_intdigest(str(getattr(call.arguments, names[0])).encode())
        return self._chance.getrandbits(64)  # there is nothing to be faithful to


def ring_of(candidates: Candidates, before: Ring) -> Ring:
    """Returns the ring of some candidates.

    Args:
        candidates: the instances.
        before: another ring. What both have in common is taken over: sorting two runs is one pass, and among many
            instances few have come or gone.
    """
    counts = {member: points_count(member.endpoint.weight) for member in candidates.members}
    left = [member for member, count in before.counts.items() if counts.get(member) != count]
    came = [member for member, count in counts.items() if before.counts.get(member) != count]
    owners = before.owners.copy()
    gone = {point for member in left for point in points_of(member.instance_id, before.counts[member])}
    for point in gone:
        owners.pop(point, None)
    points = [point for point in before.points if point not in gone] if gone else before.points.copy()
    for member in came:
        for point in points_of(member.instance_id, counts[member]):
            # That two ids meet in 64 bits is not to be expected; should they, the smaller one has the point.
            if point not in owners:
                points.append(point)
            elif owners[point].instance_id < member.instance_id:
                continue
            owners[point] = member
    points.sort()
    after = [owners[point] for point in points]
    return Ring(points, owners, counts, [*after, *after[:1]])


def points_count(weight: int) -> int:
    """Returns how many points an instance of a weight has."""
    return min(max(1, POINTS * weight // WEIGHT), POINTS_MAX)


@lru_cache(maxsize=1024)
def points_of(instance_id: str, count: int = POINTS) -> tuple[int, ...]:
    """Returns an instance's points on the ring; with another count there are more or fewer, and none has moved."""
    encoded = instance_id.encode()
    return tuple(xxh64_intdigest(encoded, seed) for seed in range(count))
