"""Power of two choices by peak EWMA: of two random instances the one that will answer sooner. O(1).

Load is what a call has cost of late, times the calls that would then be under way, over the weight. Two choices are
nearly as good as looking at all, and no herd of clients runs to the one that looked best a moment ago.
"""

from collections.abc import Collection

from placet_rpc.balancing.candidates import Candidates
from placet_rpc.balancing.member import Member
from placet_rpc.chance import Chance
from placet_rpc.clock import Clock
from placet_rpc.invocation import Invocation

UNKNOWN_COST_SECONDS = 3600.0
"""Of an instance that has a call under way and has never answered: no second call before the first has come back."""
_TWO = 2


class P2cEwma:
    """Satisfies `Balancer`."""

    spi_version = 1

    def __init__(self, clock: Clock, chance: Chance) -> None:
        self._now = clock.monotonic
        self._draw = chance.random

    def prepare(self, candidates: Candidates) -> None:
        """Computes the weights."""
        candidates.weights(self._now())

    def pick(self, candidates: Candidates, _call: Invocation, excluded: Collection[Member]) -> Member | None:
        """Draws two, and returns the one with less load."""
        members = candidates.members
        now = self._now()
        each = candidates.weights(now).each
        among = range(len(members))
        if excluded:
            among = [index for index in among if members[index] not in excluded]  # type: ignore[assignment]  # indexable too
        count = len(among)
        if count < _TWO:
            return members[among[0]] if count else None
        first = int(self._draw() * count)
        second = int(self._draw() * (count - 1))
        if second >= first:
            second += 1
        one, other = members[among[first]], members[among[second]]
        if one.is_available is not other.is_available:
            return one if one.is_available else other
        one_load = load(one, now) * each[among[second]]
        other_load = load(other, now) * each[among[first]]
        return one if one_load <= other_load else other


def load(member: Member, now: float) -> float:
    """Returns the seconds that one more call of an instance is expected to take, others under way included."""
    latency = member.latency
    if not latency.has_history:
        return UNKNOWN_COST_SECONDS + member.active if member.active else 0.0
    return latency.cost(now) * (member.active + 1)
