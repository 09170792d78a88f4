"""Least active: the instance that has the fewest of our calls under way, in proportion to its weight.

A slow instance keeps its calls longer, and so gets fewer. The calls are counted for every balancer, so this one does
not depend on another setting.
"""

from collections.abc import Collection

from placet_rpc.balancing.candidates import Candidates
from placet_rpc.balancing.member import Member
from placet_rpc.balancing.weighing import Weighing
from placet_rpc.balancing.weighted_random import draw
from placet_rpc.invocation import Invocation


class LeastActive(Weighing):
    """Satisfies `Balancer`. O(n); past some dozens of instances `p2c_ewma` is nearly as good and does not scan."""

    def pick(self, candidates: Candidates, _call: Invocation, excluded: Collection[Member]) -> Member | None:
        """Returns the one for which (active + 1) / weight is least; among equals a weighted draw."""
        members, weights = candidates.members, candidates.weights(self._now())
        if weights.equal and not excluded:
            actives = [member.active for member in members]
            fewest = min(actives, default=0)
            idlest = [place for place, active in enumerate(actives) if active == fewest]
            return members[idlest[int(self._draw() * len(idlest))]] if idlest else None
        least = float("inf")
        best: list[tuple[Member, int]] = []
        for member, weight in zip(members, weights.each, strict=True):
            if excluded and member in excluded:
                continue
            load = (member.active + 1) / weight
            if load < least:
                least = load
                best = [(member, weight)]
            elif load == least:
                best.append((member, weight))
        return best[0][0] if len(best) == 1 else draw(best, self._draw())
