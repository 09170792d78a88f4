"""Ids are bytes of a small alphabet; a nested gid is the same for the same ordinal of the same operation."""

import itertools

import pytest

from placet_contract.ids import PARENT_PATTERN, matches_branch_id, matches_gid, nested_gid
from placet_contract.limits import BRANCH_ID_LENGTH_MAX, GID_LENGTH_MAX

GOOD = ["a", "0", "-", "_", ".", "A.b_c-9", "..", "a" * 64]
BAD = ["", " ", "a b", "a/b", "a\n", "\na", "ä", "a\0", "a:b", "a%", "\u0661", "a" * 200]


@pytest.mark.parametrize("text", GOOD)
def test_alphabet_is_letters_digits_and_three_marks(text):
    """`A-Z a-z 0-9 _ - .`, for gids and branch_ids alike."""
    assert matches_gid(text)
    assert matches_branch_id(text)


@pytest.mark.parametrize("text", BAD)
def test_anything_else_is_no_id(text):
    """A trailing newline and digits of other scripts are the classic holes."""
    assert not matches_gid(text)
    assert not matches_branch_id(text)


def test_lengths_are_those_of_the_wire():
    """gid 1-128, branch_id 1-64."""
    assert matches_gid("g" * GID_LENGTH_MAX)
    assert not matches_gid("g" * (GID_LENGTH_MAX + 1))
    assert matches_branch_id("b" * BRANCH_ID_LENGTH_MAX)
    assert not matches_branch_id("b" * (BRANCH_ID_LENGTH_MAX + 1))
    assert (GID_LENGTH_MAX, BRANCH_ID_LENGTH_MAX) == (128, 64)


def test_parent_is_a_gid_and_a_branch_id():
    """One slash between them, which neither may hold."""
    assert PARENT_PATTERN.count("/") == 1


def test_nested_gid_is_an_id_of_32_digits_behind_a_mark():
    """`n-` and 32 characters of a hash."""
    gid = nested_gid("g" * 128, "b" * 64, "action", 0)
    assert matches_gid(gid)
    assert gid.startswith("n-")
    assert len(gid) == 34


def test_nested_gid_repeats_for_the_same_place_and_differs_elsewhere():
    """A repeat of an operation begins the same transaction; no two places share one, however their parts are cut."""
    places = list(itertools.product(("g", "g1"), ("b", "1b"), ("action", "try"), (0, 1, 11)))
    gids = [nested_gid(*place) for place in places]
    assert gids == [nested_gid(*place) for place in places]
    assert len(set(gids)) == len(places)
