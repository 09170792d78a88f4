"""Power of two choices by peak EWMA: of two random instances the one that will answer sooner. O(1).

Load is what a call has cost of late, times the calls that would then be under way, over the weight. Two choices are
nearly as good as looking at all, and no herd of clients runs to the one that looked best a moment ago.
"""

from collections.abc import Collection

from placet_rpc.balancing.candidates import Candidates
from placet_rpc.balancing.member import Member
from placet_rpc.balancing.weighing import Weighing
from placet_rpc.invocation import Invocation

_TWO = 2


class P2cEwma(Weighing):
    """Satisfies `Balancer`."""

    def pick(self, candidates: Candidates, _call: Invocation, excluded: Collection[Member]) -> Member | None:
        """Draws two, and returns the one with less load."""
        members = candidates.members
        if len(members) == 1 and not excluded:
            return members[0]
        now = self._now()
        each = candidates.weights(now).each
        if excluded:
            places = [place for place, member in enumerate(members) if member not in excluded]
            members, each = [members[place] for place in places], [each[place] for place in places]
        count = len(members)
        if count < _TWO:
            return members[0] if count else None
        draw = self._draw
        first = int(draw() * count)
        second = int(draw() * (count - 1))
        if second >= first:
            second += 1
        one, other = members[first], members[second]
        # Each load over its own weight, multiplied out.
        one_load = one.latency.load(one.active, now) * each[second]
        other_load = other.latency.load(other.active, now) * each[first]
        return one if one_load <= other_load else other
