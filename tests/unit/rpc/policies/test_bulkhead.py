"""How many calls may be under way."""

import asyncio
from datetime import timedelta

import pytest

from placet_rpc import LimitReached, Safety
from placet_rpc.policies.bulkhead import Bulkhead, BulkheadLimits


class Work:
    """Calls that end when they are told to."""

    def __init__(self, bulkhead, make_call):
        self.bulkhead, self.make_call = bulkhead, make_call
        self.began = []
        self.ends = {}

    def start(self, number, **fields):
        end = self.ends[number] = asyncio.Event()

        async def proceed(call):
            self.began.append(number)
            await end.wait()
            return call.timeout_ms

        return asyncio.ensure_future(self.bulkhead.invoke(self.make_call(**fields), proceed))


@pytest.fixture
def bulkhead(clock):
    """Two places, and two to wait."""
    return Bulkhead(clock, BulkheadLimits(max_concurrent=2, max_waiting=2), name="stock/1")


@pytest.fixture
def work(bulkhead, make_call):
    """Calls through it."""
    return Work(bulkhead, make_call)


async def test_waiting_calls_come_in_in_order(work, bulkhead):
    """A place goes to the one that waited longest; a newcomer overtakes nobody."""
    calls = [work.start(number) for number in range(4)]
    await asyncio.sleep(0)
    assert (work.began, bulkhead.waiting) == ([0, 1], 2)
    work.ends[1].set()
    await calls[1]
    work.ends[0].set()
    late = work.start(4)
    await asyncio.sleep(0.001)
    assert work.began == [0, 1, 2, 3]
    for end in work.ends.values():
        end.set()
    await asyncio.gather(*calls, late)
    assert (work.began, bulkhead.taken, bulkhead.waiting) == ([0, 1, 2, 3, 4], 0, 0)


async def test_beyond_the_queue_a_call_fails_at_once(work, bulkhead):
    """NOT_SENT, with the limit's name."""
    calls = [work.start(number) for number in range(4)]
    await asyncio.sleep(0)
    with pytest.raises(LimitReached, match=r"max_concurrent \(2\)") as refusal:
        await work.start(4)
    assert (refusal.value.limit, refusal.value.safety) == ("bulkhead", Safety.NOT_SENT)
    for end in work.ends.values():
        end.set()
    await asyncio.gather(*calls)


@pytest.mark.parametrize(("timeout_ms", "seconds"), [(1000, 0.05), (20, 0.02)])
async def test_nobody_waits_longer_than_50_ms_or_its_own_time(work, bulkhead, timeout_ms, seconds):
    """Whichever is shorter."""
    calls = [work.start(number) for number in range(2)]
    await asyncio.sleep(0)
    loop = asyncio.get_running_loop()
    began_at = loop.time()
    with pytest.raises(LimitReached):
        await work.start(2, timeout_ms=timeout_ms)
    assert loop.time() - began_at == pytest.approx(seconds)
    assert (bulkhead.waiting, bulkhead.refused) == (0, 1)
    for end in work.ends.values():
        end.set()
    await asyncio.gather(*calls)


async def test_time_spent_waiting_comes_off_the_call(work):
    """What goes on has that much less."""
    calls = [work.start(number) for number in range(3)]
    await asyncio.sleep(0.03)
    for end in work.ends.values():
        end.set()
    assert await asyncio.gather(*calls) == pytest.approx([1000, 1000, 970], abs=1)


async def test_a_caller_that_leaves_while_it_waits_leaves_no_hole(work, bulkhead):
    """The one behind it moves up."""
    calls = [work.start(number) for number in range(4)]
    await asyncio.sleep(0)
    calls[2].cancel()
    work.ends[0].set()
    await calls[0]
    await asyncio.sleep(0.001)
    assert work.began == [0, 1, 3]
    for end in work.ends.values():
        end.set()
    await asyncio.gather(*calls, return_exceptions=True)
    assert (bulkhead.taken, bulkhead.waiting) == (0, 0)


async def test_a_place_given_to_a_caller_that_just_left_goes_on(work, bulkhead):
    """The place is handed over and the caller cancelled before it wakes: the next in line gets it."""
    calls = [work.start(number) for number in range(4)]
    await asyncio.sleep(0)
    bulkhead.leave(None, None)  # as a call that ends would
    calls[2].cancel()
    await asyncio.sleep(0.001)
    assert work.began == [0, 1, 3]
    bulkhead.taken += 1  # it was no real call that ended
    for end in work.ends.values():
        end.set()
    await asyncio.gather(*calls, return_exceptions=True)
    assert bulkhead.taken == 0


async def test_a_failed_call_gives_its_place_back(bulkhead, make_call):
    """Whatever it raises."""

    async def fail(_call):
        raise KeyError

    for _ in range(10):
        with pytest.raises(KeyError):
            await bulkhead.invoke(make_call(), fail)
    assert bulkhead.taken == 0


@pytest.mark.parametrize("limits", [{"max_concurrent": 0}, {"max_waiting": -1}, {"wait": timedelta(seconds=-1)}])
def test_limits_that_make_no_sense_are_refused(limits):
    """The message names the rule."""
    with pytest.raises(ValueError, match="bulkhead needs"):
        BulkheadLimits(**limits)
