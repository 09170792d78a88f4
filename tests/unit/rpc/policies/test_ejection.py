"""Who is left out of the choice."""

from datetime import timedelta

import pytest

from placet_rpc.policies.ejection import Ejection, EjectionLimits
from unit.rpc.balancing.conftest import make_member


def make(clock, count, **limits):
    """Makes an ejection and its members."""
    members = [make_member(f"m{place:03}") for place in range(count)]
    ejection = Ejection(clock, EjectionLimits(**limits))
    ejection.keep(set(members))
    return ejection, members


def call(ejection, clock, member, *, times=1, failed=0, seconds=0.001):
    """Notes some requests, of which every so many-th fails."""
    for number in range(times):
        is_failed = bool(failed) and number * failed // times != (number + 1) * failed // times
        ejection.note(member, seconds, clock.monotonic(), failed=is_failed)


def interval(ejection, clock, calls):
    """Lets an interval pass with (member, calls, failed, seconds) in it."""
    for member, times, failed, seconds in calls:
        call(ejection, clock, member, times=times, failed=failed, seconds=seconds)
    clock.turn(10.001)
    call(ejection, clock, calls[0][0])


def test_five_failures_in_a_row_eject_for_half_a_minute(clock):
    """Four do not, and a success begins anew."""
    ejection, members = make(clock, 3)
    call(ejection, clock, members[0], times=4, failed=4)
    call(ejection, clock, members[0])
    call(ejection, clock, members[0], times=4, failed=4)
    assert ejection.ejected() == frozenset()
    call(ejection, clock, members[0], failed=1)
    assert ejection.ejected() == {members[0]}
    clock.turn(29.9)
    assert ejection.ejected() == {members[0]}
    clock.turn(0.2)
    assert ejection.ejected() == set()


def test_each_further_time_is_longer_up_to_five_minutes(clock):
    """30 s, 60 s, 90 s … 300 s."""
    ejection, members = make(clock, 3)
    lengths = []
    for _ in range(12):
        call(ejection, clock, members[0], times=5, failed=5)
        lengths.append(members[0].ejected_until - clock.monotonic())
        clock.turn(lengths[-1])
        assert not ejection.ejected()
    assert lengths == pytest.approx([30 * n for n in range(1, 11)] + [300, 300])


def test_good_behaviour_shortens_the_next_time(clock):
    """One step for each interval in which it was called and did not fail."""
    ejection, members = make(clock, 3)
    for _ in range(3):
        call(ejection, clock, members[0], times=5, failed=5)
        clock.turn(members[0].ejected_until - clock.monotonic())
    interval(ejection, clock, [(members[0], 5, 0, 0.001)])  # with the one that was due, two comparisons
    call(ejection, clock, members[0], times=5, failed=5)
    assert members[0].ejected_until - clock.monotonic() == pytest.approx(60)


@pytest.mark.parametrize(("count", "most"), [(2, 1), (3, 1), (7, 2), (9, 2), (10, 1), (20, 2), (50, 5)])
def test_never_too_many_are_out(count, most, clock):
    """A tenth of them, three tenths of a few, at least one."""
    ejection, members = make(clock, count)
    for member in members:
        call(ejection, clock, member, times=5, failed=5)
    assert len(ejection.ejected()) == most


def test_a_share_of_failures_that_stands_out_ejects(clock):
    """One of ten fails at a tenth of its calls, the others at a hundredth: it is below the mean by 1.9 deviations."""
    ejection, members = make(clock, 10)
    interval(ejection, clock, [(m, 200, 20 if m is members[4] else 2, 0.001) for m in members])
    assert ejection.ejected() == {members[4]}


def test_what_all_share_ejects_nobody(clock):
    """If every instance fails as often, none of them is the outlier."""
    ejection, members = make(clock, 10)
    interval(ejection, clock, [(m, 200, 60, 0.001) for m in members])
    assert ejection.ejected() == frozenset()


def test_a_share_of_85_percent_ejects_in_any_company(clock):
    """With half as many calls too."""
    ejection, members = make(clock, 5, failures_in_a_row=1000)
    interval(ejection, clock, [(m, 60, 54 if m is members[2] else 20, 0.001) for m in members])
    assert ejection.ejected() == {members[2]}


@pytest.mark.parametrize(("count", "times"), [(4, 200), (10, 40)])
def test_too_few_instances_or_calls_are_not_compared(count, times, clock):
    """Fewer than five, or than fifty calls each."""
    ejection, members = make(clock, count, failures_in_a_row=1000)
    interval(ejection, clock, [(m, times, times if m is members[0] else 0, 0.001) for m in members])
    assert ejection.ejected() == frozenset()


@pytest.mark.parametrize(("seconds", "ejected"), [(0.4, True), (0.25, False)])
def test_much_slower_than_the_median_ejects(seconds, ejected, clock):
    """A 95th percentile of more than three times that of the others, in the middle."""
    ejection, members = make(clock, 3)
    interval(ejection, clock, [(m, 100, 0, seconds if m is members[1] else 0.1) for m in members])
    assert (members[1] in ejection.ejected()) is ejected


def test_nothing_is_too_slow_below_20_ms(clock):
    """Ten times slower than a tenth of a millisecond is still fast."""
    ejection, members = make(clock, 3)
    interval(ejection, clock, [(m, 100, 0, 0.001 if m is members[1] else 0.0001) for m in members])
    assert ejection.ejected() == frozenset()


def test_of_two_nobody_is_the_slow_one(clock):
    """There is no median to be far from."""
    ejection, members = make(clock, 2)
    interval(ejection, clock, [(m, 100, 0, 5.0 if m is members[1] else 0.1) for m in members])
    assert ejection.ejected() == frozenset()


def test_whoever_is_gone_is_forgotten(clock):
    """It takes no one else's place among those that may be out, and a late outcome does not bring it back."""
    ejection, members = make(clock, 3)
    call(ejection, clock, members[0], times=5, failed=5)
    ejection.keep(set(members[1:]))
    assert ejection.ejected() == frozenset()
    call(ejection, clock, members[0], times=5, failed=5)
    call(ejection, clock, members[1], times=5, failed=5)
    assert ejection.ejected() == {members[1]}


@pytest.mark.parametrize(
    "limits",
    [{"failures_in_a_row": 0}, {"ejected_first": timedelta(hours=1)}, {"share_max": 0}, {"interval": timedelta()}],
)
def test_limits_that_make_no_sense_are_refused(limits):
    """The message names the rule."""
    with pytest.raises(ValueError, match=r"must be|above 0"):
        EjectionLimits(**limits)
