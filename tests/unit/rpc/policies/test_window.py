"""Counts over the last seconds."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from placet_rpc.policies.window import Window


@given(st.lists(st.tuples(st.floats(0, 40), st.integers(0, 1), st.integers(1, 5)), max_size=60))
def test_the_totals_are_what_happened_within_the_slots(events):
    """However time jumps, a window counts the slot of now and the nine before it, and nothing else."""
    window = Window(2)
    events.sort(key=lambda event: event[0])
    for happened_at, counter, amount in events:
        window.add(happened_at, counter, amount)
    now = events[-1][0] if events else 0.0
    for counter in (0, 1):
        expected = sum(n for at, which, n in events if which == counter and int(now) - 10 < int(at) <= int(now))
        assert window.roll(now)[counter] == expected


@given(st.lists(st.tuples(st.floats(0, 40), st.integers(1, 5)), max_size=60), st.integers(1, 10))
def test_the_latest_slots_can_be_had_alone(events, slots):
    """A part of the window counts the slot of now and those just before it."""
    window = Window(1)
    events.sort(key=lambda event: event[0])
    for happened_at, amount in events:
        window.add(happened_at, 0, amount)
    now = events[-1][0] if events else 0.0
    expected = sum(amount for at, amount in events if int(at) > int(now) - slots)
    assert window.latest(now, slots) == [expected]


def test_an_idle_window_keeps_nothing_however_long_it_is_read():
    """Slots without a count take no memory; there is a window for each instance, and most are idle."""
    window = Window(2, slots=60)
    window.add(0, 0)
    for second in range(1000):
        window.roll(second)
    assert not window._kept
    assert window.totals == [0, 0]


def test_a_window_forgets_what_is_asked_to():
    """After `clear` it counts from nothing."""
    window = Window(1)
    window.add(3, 0)
    window.clear()
    assert window.roll(3) == [0]
    window.add(3, 0)
    assert window.roll(12) == [1]
    assert window.roll(13) == [0]


@pytest.mark.parametrize(
    "arguments", [{"counters": 0}, {"counters": 1, "slots": 0}, {"counters": 1, "slot_seconds": 0}]
)
def test_a_window_without_room_is_refused(arguments):
    """It says what it needs."""
    with pytest.raises(ValueError, match="needs at least one"):
        Window(**arguments)
