"""How long the first copy of a call has to itself before a second is sent."""

from placet_rpc.clock import Clock
from placet_rpc.governance.histogram import SUB_BUCKET_BITS, Histogram, bucket_of, percentiles_us

PERCENTILE = 0.95
FLOOR_SECONDS = 0.001
SAMPLES_MIN = 20
"""With fewer calls nobody knows what is late, and nothing is sent twice."""
_ABOVE_BUCKET = 1 + 1 / (1 << SUB_BUCKET_BITS)
"""Where all calls take about the same, half of them pass the middle of their bucket, and none passes its end."""
_PERIOD_SECONDS = 60.0
_RECKONED_EVERY_SECONDS = 1.0


class HedgeDelay:
    """The delay of one method: a fixed one, or what 95 % of its calls in the last minutes have not passed.

    Args:
        clock: where time comes from.
        fixed_ms: empty: as calls have it.

    Raises:
        ValueError: it is no number of milliseconds above 0.
    """

    def __init__(self, clock: Clock, fixed_ms: str = "") -> None:
        if fixed_ms and (not fixed_ms.isdecimal() or int(fixed_ms) < 1):
            raise ValueError(f"delay_ms={fixed_ms}: give a whole number of milliseconds from 1")
        self._fixed = int(fixed_ms) / 1000 if fixed_ms else None
        self._now = clock.monotonic
        self._histogram = Histogram()
        self._samples = 0
        self._reckoned: float | None = None
        self._reckon_at = 0.0
        self._rotate_at = self._now() + _PERIOD_SECONDS

    def observe(self, seconds: float) -> None:
        """Takes what a call took."""
        if self._fixed is None:
            self._samples += 1
            self._histogram.counts[bucket_of(int(seconds * 1_000_000))] += 1

    def seconds(self) -> float | None:
        """Returns the delay; None while too few calls are known."""
        if self._fixed is not None or self._samples < SAMPLES_MIN:
            return self._fixed
        now = self._now()
        if now >= self._reckon_at:
            self._reckon_at = now + _RECKONED_EVERY_SECONDS
            micros = percentiles_us(self._histogram.recent(), [PERCENTILE])[0]
            self._reckoned = None if micros is None else max(micros * _ABOVE_BUCKET / 1_000_000, FLOOR_SECONDS)
            if now >= self._rotate_at:
                self._rotate_at = now + _PERIOD_SECONDS
                self._histogram.rotate()
        return self._reckoned
