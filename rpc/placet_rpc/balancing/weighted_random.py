"""Weighted random: each call is a draw. Keeps no state, so many clients together are as fair as one."""

from bisect import bisect_right
from collections.abc import Collection

from placet_rpc.balancing.candidates import Candidates
from placet_rpc.balancing.member import Member
from placet_rpc.balancing.weighing import Weighing
from placet_rpc.invocation import Invocation


class WeightedRandom(Weighing):
    """Satisfies `Balancer`. O(log n) by the sums of the weights, which are kept with the snapshot."""

    def pick(self, candidates: Candidates, _call: Invocation, excluded: Collection[Member]) -> Member | None:
        """Draws one."""
        members = candidates.members
        if not members:
            return None
        weights = candidates.weights(self._now())
        if weights.equal:
            member = members[int(self._draw() * len(members))]
        else:
            member = members[bisect_right(weights.sums, self._draw() * weights.total)]
        if not excluded or member not in excluded:
            return member
        # Drawing again and again would be fair too, but without a bound.
        each = [(m, w) for m, w in zip(members, weights.each, strict=True) if m not in excluded]
        return draw(each, self._draw())


def draw(weighted: list[tuple[Member, int]], chance: float) -> Member | None:
    """Returns one of some members with a probability in proportion to its weight; None if there are none.

    Args:
        weighted: members and their weights.
        chance: a uniform draw from [0, 1).
    """
    left = chance * sum(weight for _, weight in weighted)
    for member, weight in weighted:
        left -= weight
        if left < 0:
            return member
    return weighted[-1][0] if weighted else None
