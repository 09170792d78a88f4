"""What a call of one instance has cost of late, in seconds: quick to believe in trouble, slow to believe in recovery.

After Finagle's PeakEwma: an exponentially weighted mean whose weight follows from the time between samples, except
that a sample above it takes its place at once.
"""

import math

TAU_SECONDS = 10.0


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

    @property
    def has_history(self) -> bool:
        """False until the first sample."""
        return self._cost > 0.0

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
