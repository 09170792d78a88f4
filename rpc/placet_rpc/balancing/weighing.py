"""What balancers by weight have in common."""

from placet_rpc.balancing.candidates import Candidates
from placet_rpc.chance import Chance
from placet_rpc.clock import Clock


class Weighing:
    """A balancer without its choice.

    Args:
        clock: where time comes from; weights follow the age of instances.
        chance: where draws come from.
    """

    spi_version = 1

    def __init__(self, clock: Clock, chance: Chance) -> None:
        self._now = clock.monotonic
        self._draw = chance.random

    def prepare(self, candidates: Candidates) -> None:
        """Computes the weights."""
        candidates.weights(self._now())
