"""Exponential backoff with full jitter, as a pure function of the attempt number.

Full jitter after Brooker, "Exponential Backoff And Jitter" (AWS Architecture Blog, 2015): it spreads a herd best.
"""

DELAY_MS_MIN = 10
"""No retry comes sooner: full jitter may draw zero, which would be a tight loop."""

_DOUBLINGS_MAX = 40
"""Past this the ceiling is the cap for any legal cap; it keeps the shift from growing a huge integer."""


def backoff_ms(attempt: int, *, first_ms: int, cap_ms: int, chance: float) -> int:
    """Return the delay in milliseconds before the attempt that follows `attempt`.

    Args:
        attempt: number of the attempt that just failed, from 1.
        first_ms: ceiling of the first delay.
        cap_ms: ceiling of every delay.
        chance: a uniform draw from [0, 1), passed in so that the same input gives the same delay.
    """
    ceiling = min(cap_ms, first_ms << min(max(attempt, 1) - 1, _DOUBLINGS_MAX))
    return max(DELAY_MS_MIN, int(ceiling * chance))
