"""What a call of one instance has cost of late, in seconds: quick to believe in trouble, slow to believe in recovery.

After Finagle's PeakEwma: an exponentially weighted mean whose weight follows from the time between samples, except
that a sample above it takes its place at once.
"""

import math

TAU_SECONDS = 10.0
UNKNOWN_COST_SECONDS = 3600.0


class PeakEwma:
    """The cost of one instance.

    Args:
        tau_seconds: after so long without samples a cost has shrunk to 1/e.
    """

    __slots__ = ("_cost", "_stamp", "_tau")

    def __init__(self, tau_seconds: float = TAU_SECONDS) -> None:
        self._tau = tau_seconds
        self._cost = 0.0
        self._stamp = 0.0

    def load(self, active: int, now: float) -> float:
        """Returns the seconds that one more call is expected to take, beside some that are under way.

        Without any sample an idle instance has no load at all, so that it is tried, and one with a call under way is
        hopeless, so that it gets no second one before the first has come back.
        """
        cost = self._cost
        if cost > 0.0:
            return cost * math.exp((self._stamp - now) / self._tau) * (active + 1)
        return UNKNOWN_COST_SECONDS + active if active else 0.0

    def observe(self, seconds: float, now: float) -> None:
        """Takes a sample."""
        if seconds > self._cost:
            self._cost = seconds
        else:
            weight = math.exp((self._stamp - now) / self._tau)
            self._cost = seconds * (1 - weight) + self._cost * weight
        self._stamp = now

    def cost(self, now: float) -> float:
        """Returns the cost as if a sample of nothing had just come: an instance that nobody calls is tried again."""
        return self._cost * math.exp((self._stamp - now) / self._tau)
