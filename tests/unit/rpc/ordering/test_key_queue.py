"""The queue of one key: who runs, who waits, who is refused."""

import asyncio

import pytest

from placet_rpc.ordering.key_queue import KeyQueue, QueueLimits, Refused
from placet_rpc.ordering.stamp import Stamp
from placet_rpc.served_call import Answer

LIMITS = QueueLimits(max_waiting=4, max_clients=3, gap_seconds=1.0, remembered_seconds=600.0, kept_bytes=100)


class Runs:
    """Calls on one queue, and what they did."""

    def __init__(self):
        self.queue = KeyQueue(LIMITS)
        self.log = []
        self.running = 0
        self.ends = {}

    def call(self, number, first=None, *, client="c", left=None, length=1):
        """Makes a call, which runs until `end`; returns its task."""
        name = f"{client}{number}"
        self.ends.setdefault(name, asyncio.Event())

        async def work():
            self.running += 1
            assert self.running == 1
            self.log.append(name)
            try:
                await self.ends[name].wait()
            finally:
                self.running -= 1
            return Answer(200, name.encode() * length)

        stamp = None if client == "anyone" else Stamp(client, number, number if first is None else first)
        now = asyncio.get_running_loop().time()
        return asyncio.ensure_future(self.queue.run(stamp, now, left, work))

    def end(self, *names):
        for name in names:
            self.ends[name].set()


@pytest.fixture
async def runs():
    """A queue."""
    return Runs()


async def settle():
    for _ in range(10):
        await asyncio.sleep(0)


async def test_one_runs_at_a_time_and_they_run_in_order_of_arrival(runs):
    """Calls of several clients, and of those that number nothing, take turns as they came."""
    calls = [runs.call(1), runs.call(1, client="d"), runs.call(7, client="anyone"), runs.call(2)]
    await settle()
    assert runs.log == ["c1"]
    runs.end("c1", "d1", "anyone7", "c2")
    assert [answer.body for answer in await asyncio.gather(*calls)] == [b"c1", b"d1", b"anyone7", b"c2"]
    assert runs.log == ["c1", "d1", "anyone7", "c2"]
    assert runs.queue.is_idle


async def test_calls_that_overtake_each_other_run_in_the_order_of_their_numbers(runs):
    """A client with several calls under way may have them arrive in any order."""
    calls = [runs.call(number, first=1) for number in (1, 4, 3, 2)]
    runs.end("c1", "c2", "c3", "c4")
    await asyncio.gather(*calls)
    assert runs.log == ["c1", "c2", "c3", "c4"]


async def test_a_gap_keeps_nobody_else_waiting(runs):
    """While a call waits for an earlier one of its own client, those of others run."""
    early = runs.call(1)
    runs.end("c1")
    await early
    waiting, other = runs.call(3, first=2), runs.call(1, client="d")
    await settle()
    assert runs.log == ["c1", "d1"]
    runs.end("d1", "c3")
    await other
    late = runs.call(2)
    runs.end("c2")
    await asyncio.gather(late, waiting)
    assert runs.log == ["c1", "d1", "c2", "c3"]


async def test_a_gap_that_is_not_filled_is_refused_after_its_time(runs):
    """The call did not run; sent again when its caller has given the missing one up, it does."""
    first = runs.call(1)
    runs.end("c1")
    await first
    began_at = asyncio.get_running_loop().time()
    assert await runs.call(3, first=2) is Refused.OUT_OF_ORDER
    assert asyncio.get_running_loop().time() - began_at == pytest.approx(1.0)
    again = runs.call(3, first=3)
    runs.end("c3")
    assert (await again).body == b"c3"


async def test_what_its_caller_has_given_up_never_runs_afterwards(runs):
    """A call that comes later than its successor is refused, waiting or not."""
    first = runs.call(1)
    runs.end("c1")
    await first
    busy = runs.call(1, client="d")
    given_up = runs.call(2)
    following = runs.call(3, first=3)
    assert await given_up is Refused.REPEATED
    runs.end("d1", "c3")
    await asyncio.gather(busy, following)
    assert await runs.call(2) is Refused.REPEATED
    assert runs.log == ["c1", "d1", "c3"]


async def test_a_repeat_of_the_last_call_gets_its_answer(runs):
    """Running or done it runs once; earlier calls' answers are not kept, nor is a long one."""
    first = runs.call(1)
    await settle()
    repeat = runs.call(1)
    await settle()
    assert not repeat.done()
    runs.end("c1")
    assert [answer.body for answer in await asyncio.gather(first, repeat)] == [b"c1", b"c1"]
    assert (await runs.call(1)).body == b"c1"
    second = runs.call(2, length=60)
    runs.end("c2")
    await second
    assert await runs.call(1) is Refused.REPEATED
    assert await runs.call(2) is Refused.REPEATED
    assert runs.log == ["c1", "c2"]


async def test_a_repeat_of_a_call_that_waits_is_told_so(runs):
    """Neither runs twice, nor takes a second place."""
    busy = runs.call(1, client="d")
    waiting = runs.call(1)
    await settle()
    assert await runs.call(1) is Refused.ONGOING
    runs.end("d1", "c1")
    await asyncio.gather(busy, waiting)


async def test_a_call_that_was_stopped_lets_the_next_one_run_and_is_not_repeated(runs):
    """Its number is used up: nobody knows what it did."""
    stopped = runs.call(1)
    await settle()
    repeat = runs.call(1)
    following = runs.call(2)
    await settle()
    stopped.cancel()
    runs.end("c2")
    assert (await following).body == b"c2"
    assert await repeat is Refused.REPEATED
    assert runs.log == ["c1", "c2"]


async def test_a_caller_that_leaves_while_it_waits_leaves_no_hole(runs):
    """Not even if its turn comes at that very moment."""
    busy = runs.call(1, client="d")
    leaving, following = runs.call(1), runs.call(1, client="e")
    await settle()
    runs.end("d1", "e1")
    await busy
    await asyncio.sleep(0)
    leaving.cancel()
    assert (await following).body == b"e1"
    assert runs.queue.is_idle


async def test_the_queue_has_an_end(runs):
    """Beyond its limit calls are refused at once; so are those of too many clients."""
    calls = [runs.call(number, first=1) for number in range(1, 6)]
    await settle()
    assert await runs.call(6, first=1) is Refused.FULL
    runs.end(*(f"c{number}" for number in range(1, 6)))
    await asyncio.gather(*calls)
    for client in "de":
        call = runs.call(1, client=client)
        runs.end(f"{client}1")
        await call
    assert await runs.call(1, client="f") is Refused.FULL
    await asyncio.sleep(601)
    late = runs.call(1, client="f")
    runs.end("f1")
    assert (await late).body == b"f1"


async def test_a_call_whose_time_ends_while_it_waits_does_not_run(runs):
    """Nobody would want its answer."""
    busy = runs.call(1, client="d")
    assert await runs.call(1, left=0.5) is Refused.EXPIRED
    runs.end("d1")
    await busy
    assert runs.log == ["d1"]


async def test_letting_go_refuses_what_waits_and_lets_end_what_runs(runs):
    """Whoever waits for the key to be free learns when it is."""
    busy, waiting = runs.call(1), runs.call(1, client="d")
    await settle()
    runs.queue.refuse_all(Refused.MOVED)
    idle = asyncio.ensure_future(runs.queue.idle())
    assert await waiting is Refused.MOVED
    await settle()
    assert not idle.done()
    runs.end("c1")
    await asyncio.gather(busy, idle)
