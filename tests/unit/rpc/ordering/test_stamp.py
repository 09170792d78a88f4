"""What a stamp is, and what is none."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from placet_rpc.ordering.stamp import Stamp


def test_a_stamp_survives_the_wire():
    """Written and read it is the same."""
    stamp = Stamp("c0ffee.7", 12, 10)
    assert Stamp.parse(str(stamp)) == stamp


@pytest.mark.parametrize(
    "text",
    [
        "",
        "c",
        "c:1",
        ":1:1",
        "c:0:0",
        "c:1:2",
        "c:-1:1",
        "c:1:",
        "c:1:1:1",
        "c" * 65 + ":1:1",
        f"c:{10**30}:1",
        "c:²:1",
    ],
)
def test_what_is_no_stamp_is_none(text):
    """A caller that numbers nothing, or wrongly, has no place in the order of its own."""
    assert Stamp.parse(text) is None


@given(st.text())
def test_no_text_breaks_the_reader(text):
    """Whatever a caller sends, it is a stamp or none."""
    stamp = Stamp.parse(text)
    assert stamp is None or 0 < stamp.first <= stamp.number
