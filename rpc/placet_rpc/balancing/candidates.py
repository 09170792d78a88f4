"""The instances of one snapshot among which a balancer chooses, and what is computed from them once."""

from collections.abc import Callable, Collection, Sequence
from itertools import accumulate
from typing import Any, NamedTuple, TypeVar

from placet_rpc.balancing.member import Member
from placet_rpc.balancing.warm_up import WARM_UP_SECONDS, effective_weight, warm_at

REWEIGHED_EVERY_SECONDS = 1.0
"""How often weights are computed anew while an instance warms up."""

_Kept = TypeVar("_Kept")


class Weights(NamedTuple):
    """Weights at a moment, in the order of the members.

    Attributes:
        each: of each member, at least 1.
        sums: of all up to and including each member.
        total: of all.
        equal: true if all are the same.
    """

    each: list[int]
    sums: list[int]
    total: int
    equal: bool


class Candidates:
    """Some members of one service. Never changed; a new snapshot makes another object.

    Args:
        members: instances; those with weight 0 are left out, for they are drained.
        warm_up_seconds: see `effective_weight`.

    Attributes:
        members: the rest, in the order of their ids.
    """

    def __init__(self, members: Collection[Member], *, warm_up_seconds: float = WARM_UP_SECONDS) -> None:
        kept = [member for member in members if member.endpoint.weight > 0]
        self.members: Sequence[Member] = tuple(sorted(kept, key=lambda member: member.instance_id))
        self._warm_up_seconds = warm_up_seconds
        self._warm_at = max((warm_at(m.endpoint, warm_up_seconds) for m in self.members), default=0.0)
        self._weights: Weights | None = None
        self._good_until = float("-inf")
        self._kept: dict[str, Any] = {}

    def weights(self, now: float) -> Weights:
        """Returns the members' weights; they are computed once, or once a second while one of them warms up."""
        if self._weights is None or now >= self._good_until:
            each = [effective_weight(member.endpoint, now, self._warm_up_seconds) for member in self.members]
            sums = list(accumulate(each))
            self._weights = Weights(each, sums, sums[-1] if sums else 0, len(set(each)) <= 1)
            self._good_until = float("inf") if now >= self._warm_at else now + REWEIGHED_EVERY_SECONDS
        return self._weights

    def keep(self, name: str, make: Callable[["Candidates"], _Kept]) -> _Kept:
        """Returns what was made of these candidates under a name, and makes it if it was not."""
        kept: _Kept | None = self._kept.get(name)
        if kept is None:
            kept = self._kept[name] = make(self)
        return kept

    def without(self, excluded: Collection[Member]) -> list[Member]:
        """Returns the members that are not excluded."""
        return [member for member in self.members if member not in excluded]
