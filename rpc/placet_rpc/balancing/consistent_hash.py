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
    """Points in order, and the instance of each."""

    points: list[int]
    owners: list[Member]


class ConsistentHash:
    """Satisfies `Balancer`. The key of a call is its ordering key, else its first argument.

    The ring is built when a snapshot comes, and shared by all methods of the service. Warming up does not change it:
    a weight does, by the number of points.
    """

    spi_version = 1

    def __init__(self, _clock: Clock, chance: Chance) -> None:
        self._chance = chance

    def prepare(self, candidates: Candidates) -> None:
        """Builds the ring."""
        candidates.keep(_RING, _ring)

    def pick(self, candidates: Candidates, call: Invocation, excluded: Collection[Member]) -> Member | None:
        """Returns the owner of the call's key, or of the ones after it the first that is not excluded."""
        points, owners = candidates.keep(_RING, _ring)
        if not points:
            return None
        place = bisect_right(points, self._hash(call)) % len(points)
        owner = owners[place]
        if not excluded or owner not in excluded:
            return owner
        after = (owners[(place + step) % len(owners)] for step in range(1, len(owners)))
        return next((member for member in after if member not in excluded), None)

    def _hash(self, call: Invocation) -> int:
        if call.key:
            return xxh64_intdigest(call.key.encode())
        names = call.method.names
        if names:
            return xxh64_intdigest(str(getattr(call.arguments, names[0])).encode())
        return self._chance.getrandbits(64)  # there is nothing to be faithful to


def _ring(candidates: Candidates) -> Ring:
    of_point: dict[int, Member] = {}
    for member in candidates.members:
        for point in points_of(member.instance_id, member.endpoint.weight):
            # Two ids on one point: the first by its id has it, in every process.
            of_point.setdefault(point, member)
    points = sorted(of_point)
    return Ring(points, [of_point[point] for point in points])


@lru_cache(maxsize=1024)
def points_of(instance_id: str, weight: int = WEIGHT) -> tuple[int, ...]:
    """Returns an instance's points on the ring; a changed weight adds some or takes some away, and moves none."""
    count = min(max(1, POINTS * weight // WEIGHT), POINTS_MAX)
    encoded = instance_id.encode()
    return tuple(xxh64_intdigest(encoded, seed) for seed in range(count))
