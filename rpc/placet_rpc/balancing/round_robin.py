"""Smooth weighted round robin: each instance's turn comes as often as its weight says, and as evenly as can be."""

import heapq
from collections.abc import Collection
from typing import Any, NamedTuple

from placet_rpc.balancing.candidates import Candidates
from placet_rpc.balancing.member import Member
from placet_rpc.balancing.weighing import Weighing
from placet_rpc.chance import Chance
from placet_rpc.clock import Clock
from placet_rpc.invocation import Invocation

SCANNED_MAX = 32
"""With more instances a heap finds the next one faster than a scan."""


class RoundRobin(Weighing):
    """Satisfies `Balancer`: a scan for few instances, earliest deadline first for many.

    A change of weight, as while an instance warms up, takes nobody's turn away. An instance that was left out for a
    while does not catch up.
    """

    def __init__(self, clock: Clock, chance: Chance) -> None:
        super().__init__(clock, chance)
        self._scan = _Scan()
        self._heap = _Deadlines(chance)

    def pick(self, candidates: Candidates, _call: Invocation, excluded: Collection[Member]) -> Member | None:
        """Returns the one whose turn it is."""
        each = candidates.weights(self._now()).each
        if len(each) > SCANNED_MAX:
            return self._heap.pick(candidates, each, excluded)
        return self._scan.pick(candidates, each, excluded)


class _Scan:
    """nginx's method: each gains its weight, the richest goes and pays what all have gained together."""

    def __init__(self) -> None:
        self._of: Candidates | None = None
        self._credits: dict[Member, int] = {}

    def pick(self, candidates: Candidates, each: list[int], excluded: Collection[Member]) -> Member | None:
        owned = self._credits
        if self._of is not candidates:
            self._of = candidates
            _forget_most(owned, candidates)
        total = 0
        best: Member | None = None
        most = 0
        for member, weight in zip(candidates.members, each, strict=True):
            if excluded and member in excluded:
                continue
            total += weight
            credit = owned[member] = owned.get(member, 0) + weight
            if best is None or credit > most:
                best, most = member, credit
        if best is not None:
            owned[best] = most - total
        return best


class _Turn(NamedTuple):
    """When an instance's turn is; the first to come is the smallest."""

    due: float
    place: int


class _Deadlines:
    """Earliest deadline first: an instance's turns are one over its weight apart, the first at random."""

    def __init__(self, chance: Chance) -> None:
        self._draw = chance.random
        self._of: Candidates | None = None
        self._due: dict[Member, float] = {}
        self._heap: list[_Turn] = []
        self._time = 0.0  # of the last turn

    def pick(self, candidates: Candidates, each: list[int], excluded: Collection[Member]) -> Member | None:
        if self._of is not candidates:
            self._take_over(candidates, each)
        members, heap = candidates.members, self._heap
        passed: list[_Turn] = []
        while heap:
            turn = heap[0]
            member = members[turn.place]
            if not excluded or member not in excluded:
                # Whoever was left out has an old deadline: it has one turn now, not all that it missed.
                self._time = max(self._time, turn.due)
                due = self._due[member] = self._time + 1 / each[turn.place]
                heapq.heapreplace(heap, _Turn(due, turn.place))
                break
            passed.append(heapq.heappop(heap))
        else:
            member = None
        for turn in passed:
            heapq.heappush(heap, turn)
        return member

    def _take_over(self, candidates: Candidates, each: list[int]) -> None:
        due = self._due
        self._of = candidates
        _forget_most(due, candidates)
        for member, weight in zip(candidates.members, each, strict=True):
            due.setdefault(member, self._time + self._draw() / weight)
        self._heap = [_Turn(due[member], place) for place, member in enumerate(candidates.members)]
        heapq.heapify(self._heap)


def _forget_most(known: dict[Member, Any], candidates: Candidates) -> None:
    """Forgets instances that are gone, once they are many; candidates of a zone and of all come by turns."""
    if len(known) > 2 * len(candidates.members) + SCANNED_MAX:
        kept = {member: known[member] for member in candidates.members if member in known}
        known.clear()
        known.update(kept)
