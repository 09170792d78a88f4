"""When a registry's word is doubted, and what is shown meanwhile; asked with the time, so no time passes."""

import pytest

from placet_rpc.registry.hold import Hold
from unit.rpc.registry.conftest import instances


def shown(hold, now):
    return "".join(e.instance_id.upper() if e.suspect else e.instance_id for e in hold.shown(now))


@pytest.fixture
def hold():
    """Ten instances, listed at time 0."""
    hold = Hold(60)
    hold.push(instances("abcdefghij"), 0)
    return hold


def test_a_small_loss_is_believed_at_once(hold):
    """Half of the instances may go in one push, and nobody is kept."""
    hold.push(instances("abcde"), 1)
    assert shown(hold, 1) == "abcde"
    assert hold.held(1) == []


def test_an_empty_push_keeps_all_while_they_answer(hold):
    """All are shown as suspects; who misses two probes in a row goes, who answers again comes back."""
    hold.push((), 1)
    assert shown(hold, 1) == "ABCDEFGHIJ"
    hold.heard("a", answered=False)
    assert shown(hold, 2) == "ABCDEFGHIJ"
    hold.heard("a", answered=False)
    hold.heard("b", answered=False)
    hold.heard("b", answered=True)
    hold.heard("b", answered=False)
    assert shown(hold, 3) == "BCDEFGHIJ"
    hold.heard("a", answered=True)
    assert shown(hold, 4) == "ABCDEFGHIJ"


def test_a_push_of_less_than_half_keeps_the_missing(hold):
    """Those that are listed are shown as they are, also new ones; those that are missing as suspects."""
    hold.push(instances("abcx"), 1)
    assert shown(hold, 1) == "abcDEFGHIJx"
    assert [endpoint.instance_id for endpoint in hold.held(1)] == list("defghij")


def test_a_loss_one_by_one_is_a_loss_at_once(hold):
    """Leases that end one after the other within the hold are doubted as soon as more than half are missing."""
    for second, left in enumerate(("abcdefghi", "abcdefgh", "abcdefg", "abcdef", "abcde"), start=1):
        hold.push(instances(left), second)
        assert shown(hold, second) == left
    hold.push(instances("abcd"), 6)
    assert shown(hold, 6) == "abcdEFGHIJ"


def test_the_hold_ends_for_each_when_its_time_is_over(hold):
    """An instance is held since it was missed, not since the last push."""
    hold.push(instances("abcd"), 10)
    hold.push(instances("abc"), 40)
    assert shown(hold, 69.9) == "abcDEFGHIJ"
    assert shown(hold, 70) == "abcD"
    assert shown(hold, 100) == "abc"
    assert hold.held(100) == []


def test_a_registry_that_finds_its_memory_again_is_believed_for_whom_it_lists(hold):
    """Those that are not back yet are held on, also when most are; whoever is missed later is missed anew."""
    hold.push((), 1)
    hold.push(instances("abcdefgh"), 5)
    assert shown(hold, 5) == "abcdefghIJ"
    hold.push(instances("abcdefghij"), 9)
    assert shown(hold, 9) == "abcdefghij"
    assert hold.held(9) == []
    hold.push((), 50)
    assert shown(hold, 109) == "ABCDEFGHIJ"
    assert shown(hold, 110) == ""


def test_a_replaced_set_of_equal_size_is_believed(hold):
    """Ten new instances for ten old ones are no loss."""
    hold.push(instances("klmnopqrst"), 1)
    assert shown(hold, 1) == "klmnopqrst"


def test_the_word_of_a_file_is_better_than_nothing_only():
    """Against an empty registry it stands; where the registry lists others, who stands in it has to answer first."""
    hold = Hold(60)
    hold.load(instances("abcde"))
    assert shown(hold, 0) == "abcde"
    hold.push((), 1)
    assert shown(hold, 1) == "ABCDE"
    hold.push(instances("x"), 2)
    assert shown(hold, 2) == "x"
    hold.heard("c", answered=True)
    assert shown(hold, 3) == "Cx"


def test_a_registry_that_was_always_empty_is_believed():
    """Where nothing was known nothing is missing."""
    hold = Hold(60)
    hold.push((), 0)
    assert shown(hold, 0) == ""
    assert hold.held(0) == []
