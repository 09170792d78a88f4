"""Exponential backoff with full jitter, capped above and below."""

from hypothesis import given
from hypothesis import strategies as st

from placet_contract.backoff import DELAY_MS_MIN, backoff_ms
from placet_contract.limits import TIME_MS_MAX

TIMES = st.integers(1, TIME_MS_MAX)
CHANCES = st.floats(0, 1, exclude_max=True)


def test_ceiling_doubles_with_each_attempt_up_to_the_cap():
    """Full jitter: the draw is the share of the ceiling."""
    ceilings = [backoff_ms(attempt, first_ms=200, cap_ms=60_000, chance=0.9999999) + 1 for attempt in range(1, 12)]
    assert ceilings == [200, 400, 800, 1_600, 3_200, 6_400, 12_800, 25_600, 51_200, 60_000, 60_000]


def test_draw_is_uniform_over_the_whole_ceiling():
    """It spreads a herd best: no half of the ceiling is kept free."""
    assert backoff_ms(3, first_ms=200, cap_ms=60_000, chance=0.5) == 400
    assert backoff_ms(3, first_ms=200, cap_ms=60_000, chance=0.25) == 200


def test_no_delay_is_a_tight_loop():
    """A draw of zero waits all the same."""
    assert backoff_ms(1, first_ms=200, cap_ms=60_000, chance=0.0) == DELAY_MS_MIN
    assert backoff_ms(1, first_ms=1, cap_ms=1, chance=0.99) == DELAY_MS_MIN


@given(attempt=st.integers(-1, 10**9), first_ms=TIMES, cap_ms=TIMES, chance=CHANCES)
def test_delay_stays_between_its_bounds_whatever_comes(attempt, first_ms, cap_ms, chance):
    """However many attempts there were, and whatever times the wire allows."""
    assert DELAY_MS_MIN <= backoff_ms(attempt, first_ms=first_ms, cap_ms=cap_ms, chance=chance) <= max(cap_ms, 10)


@given(attempt=st.integers(1, 200), first_ms=TIMES, cap_ms=TIMES)
def test_longest_delay_never_shrinks_with_the_attempts(attempt, first_ms, cap_ms):
    """Later attempts wait as long or longer, at the same draw."""
    earlier, later = (
        backoff_ms(each, first_ms=first_ms, cap_ms=cap_ms, chance=0.75) for each in (attempt, attempt + 1)
    )
    assert earlier <= later
