"""Durations as people write them become the wire's milliseconds, or are refused with the way to write them."""

from datetime import timedelta

import pytest

from placet.duration import duration_ms


@pytest.mark.parametrize(
    ("written", "milliseconds"),
    [
        (30, 30_000),
        (0.25, 250),
        (timedelta(minutes=2), 120_000),
        ("500ms", 500),
        (" 1.5s ", 1_500),
        ("10m", 600_000),
        ("2h", 7_200_000),
        ("365d", 31_536_000_000),
        (0.001, 1),
    ],
)
def test_every_form_is_read(written, milliseconds):
    """Numbers are seconds; text has its unit."""
    assert duration_ms(written, "timeout") == milliseconds


@pytest.mark.parametrize("written", ["10", "10 minutes", "s", "-1s", "1e3s", "", "1s1s"])
def test_text_without_a_unit_is_refused(written):
    """The message names the argument and shows a form that is read."""
    with pytest.raises(ValueError, match=r"^timeout=.*'10m'"):
        duration_ms(written, "timeout")


@pytest.mark.parametrize(
    "written", [0, -1, 0.0001, "366d", timedelta(microseconds=999), float("inf"), float("nan"), "9" * 400 + "s"]
)
def test_what_the_wire_cannot_carry_is_refused(written):
    """From one millisecond to one year."""
    with pytest.raises(ValueError, match="from 1 ms to one year"):
        duration_ms(written, "timeout")
