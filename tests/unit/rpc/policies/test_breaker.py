"""When calls are let through."""

import asyncio
from datetime import timedelta

import pytest

from placet_rpc import BreakerOpen, CallTimeout, ClientClosed, NoInstance, RemoteFault, Safety
from placet_rpc.policies.breaker import Breaker, BreakerLimits, Outcome, State

BAD = RemoteFault("m")


@pytest.fixture
def breaker(clock, chance):
    """A breaker with the limits that it has by itself."""
    return Breaker(clock, chance, name="stock/1.peek")


def run(breaker, *outcomes, timeout_ms=1000):
    """Makes calls with these outcomes."""
    for outcome in outcomes:
        breaker.admit(timeout_ms).release(outcome)


def opened(breaker):
    """Opens it, and returns the error that says for how long."""
    run(breaker, *[Outcome.BAD] * 20)
    assert breaker.state is State.OPEN
    with pytest.raises(BreakerOpen) as refusal:
        breaker.admit(1000)
    return refusal.value


def half_opened(breaker, clock):
    """Opens it and waits until probes may pass."""
    clock.turn(opened(breaker).retry_after_ms / 1000 + 0.001)
    assert breaker.state is State.HALF_OPEN


def test_it_needs_twenty_calls_and_half_of_them_failed(breaker):
    """Neither few failures nor many good calls open it."""
    run(breaker, *[Outcome.BAD] * 19)
    assert breaker.state is State.CLOSED
    run(breaker, *[Outcome.GOOD] * 20)
    run(breaker, Outcome.BAD)
    assert breaker.state is State.OPEN


def test_failures_of_more_than_ten_seconds_ago_do_not_count(breaker, clock):
    """The window slides."""
    run(breaker, *[Outcome.BAD] * 19)
    clock.turn(10)
    run(breaker, *[Outcome.BAD] * 19)
    assert breaker.state is State.CLOSED


@pytest.mark.parametrize(("slow_after", "seconds"), [(None, 0.8), (timedelta(milliseconds=300), 0.3)])
def test_slow_calls_open_it_too(clock, chance, slow_after, seconds):
    """Good calls that take 80 % of their time, or longer than what is said, at 80 % of all."""
    breaker = Breaker(clock, chance, BreakerLimits(slow_after=slow_after))
    run(breaker, *[Outcome.GOOD] * 5)
    for _ in range(20):
        assert breaker.state is State.CLOSED
        permit = breaker.admit(1000)
        clock.turn(seconds)
        permit.release(Outcome.GOOD)
        clock.turn(-seconds)
    assert breaker.state is State.OPEN


def test_what_says_nothing_of_the_service_is_not_counted(breaker):
    """Callers that leave, own limits and exceptions of the contract neither open it nor dilute the failures."""
    run(breaker, *[Outcome.IGNORED, Outcome.ANSWERED] * 50)
    run(breaker, *[Outcome.BAD] * 20)
    assert breaker.state is State.OPEN


async def test_outcomes_are_told_apart(breaker, make_call):
    """The filter gives the permit back with what the call came to, and passes the outcome on."""

    async def ends_by(error):
        raise error

    for error, counted in (
        (RemoteFault("m"), True),
        (CallTimeout("m", safety=Safety.UNKNOWN), True),
        (ClientClosed("m", safety=Safety.UNKNOWN), False),
        (NoInstance("m"), False),
        (asyncio.CancelledError(), False),
        (KeyError("of the contract"), False),
    ):
        before = list(breaker._window.totals)
        with pytest.raises(type(error)):
            await breaker.invoke(make_call(), lambda _call, error=error: ends_by(error))
        assert (breaker._window.totals != before) is counted, error


def test_it_opens_for_about_five_seconds(breaker):
    """The refusal says that nothing was sent, and when to come back."""
    refusal = opened(breaker)
    assert refusal.safety is Safety.NOT_SENT
    assert 4000 <= refusal.retry_after_ms <= 6000
    assert "stock/1.peek" in str(refusal)
    assert breaker.refused == 1


def test_three_good_probes_close_it(breaker, clock):
    """No more pass at a time; then all do, and it counts anew."""
    half_opened(breaker, clock)
    permits = [breaker.admit(1000) for _ in range(3)]
    with pytest.raises(BreakerOpen):
        breaker.admit(1000)
    for permit in permits:
        permit.release(Outcome.GOOD)
    assert breaker.state is State.CLOSED
    run(breaker, *[Outcome.BAD] * 19)
    assert breaker.state is State.CLOSED


def test_a_bad_probe_opens_it_for_twice_as_long_up_to_a_minute(breaker, clock):
    """5, 10, 20, 40, 60, 60 seconds, each give or take a fifth; after closing, 5 again."""
    half_opened(breaker, clock)
    for seconds in (10, 20, 40, 60, 60):
        run(breaker, Outcome.BAD)
        with pytest.raises(BreakerOpen) as refusal:
            breaker.admit(1000)
        assert 0.8 * seconds <= refusal.value.retry_after_ms / 1000 <= 1.2 * seconds
        clock.turn(refusal.value.retry_after_ms / 1000 + 0.001)
    run(breaker, *[Outcome.GOOD] * 3)
    assert opened(breaker).retry_after_ms <= 6000


def test_calls_from_before_say_nothing_to_the_probes(breaker, clock):
    """A call that was let through before it opened, and fails now, does not open it again."""
    old = breaker.admit(60_000)
    half_opened(breaker, clock)
    probe = breaker.admit(1000)
    old.release(Outcome.BAD)
    assert breaker.state is State.HALF_OPEN
    probe.release(Outcome.GOOD)


async def test_a_cancelled_probe_gives_its_place_back(breaker, clock, make_call):
    """However many probes are cancelled, the next may go, and good ones close it."""
    run(breaker, *[Outcome.BAD] * 20)
    await asyncio.sleep(6.1)
    started = asyncio.Event()

    async def hang(_call):
        started.set()
        await asyncio.Event().wait()

    for _ in range(10):
        started.clear()
        probe = asyncio.ensure_future(breaker.invoke(make_call(), hang))
        await started.wait()
        probe.cancel()
        with pytest.raises(asyncio.CancelledError):
            await probe

    async def answer(_call):
        return 1

    for _ in range(3):
        assert await breaker.invoke(make_call(), answer) == 1
    assert breaker.state is State.CLOSED


def test_a_lost_probe_loses_its_place_with_its_time(breaker, clock):
    """Permits that nobody ever gives back are void after the call's own time: it can't stick half-open."""
    half_opened(breaker, clock)
    lost = [breaker.admit(2000) for _ in range(3)]
    clock.turn(1.9)
    with pytest.raises(BreakerOpen) as refusal:
        breaker.admit(1000)
    assert refusal.value.retry_after_ms <= 101
    clock.turn(0.2)
    run(breaker, *[Outcome.GOOD] * 3)
    assert breaker.state is State.CLOSED
    for permit in lost:
        permit.release(Outcome.BAD)  # far too late
    assert breaker.state is State.CLOSED


def test_probes_that_are_ignored_leave_it_half_open_for_others(breaker, clock):
    """They take no place for good, and decide nothing."""
    half_opened(breaker, clock)
    run(breaker, *[Outcome.IGNORED] * 10)
    assert breaker.state is State.HALF_OPEN
    run(breaker, *[Outcome.ANSWERED] * 3)
    assert breaker.state is State.CLOSED


def test_a_permit_counts_once(breaker):
    """Giving it back again changes nothing."""
    permit = breaker.admit(1000)
    for _ in range(40):
        permit.release(Outcome.BAD)
    assert breaker.state is State.CLOSED


def test_it_can_be_worked_by_hand(breaker, clock):
    """An operator opens and closes it."""
    breaker.force_open(30)
    with pytest.raises(BreakerOpen):
        breaker.admit(1000)
    breaker.reset()
    run(breaker, Outcome.GOOD)
    assert (breaker.state, breaker.opened) == (State.CLOSED, 1)


@pytest.mark.parametrize(
    "limits",
    [{"calls_min": 0}, {"failed_share": 0}, {"slow_share": 1.1}, {"probes": 0}, {"open_cap": timedelta(seconds=1)}],
)
def test_limits_that_make_no_sense_are_refused(limits):
    """Each message names the rule."""
    with pytest.raises(ValueError, match="of a breaker"):
        BreakerLimits(**limits)
