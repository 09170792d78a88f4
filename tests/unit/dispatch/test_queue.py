"""One participant's places: who has none waits, for a time, and delays nobody else."""

import asyncio
from datetime import timedelta

import pytest

from placet_contract.vocabulary import Outcome
from placet_coordinator.dispatch.queue import ParticipantQueue
from unit.dispatch.conftest import a_call
from unit.engine.node import until
from unit.rpc.conftest import reply


class Line:
    """A queue whose calls a test starts and ends."""

    def __init__(self, concurrency: int, **limits) -> None:
        self.queue = ParticipantQueue(concurrency, **limits)
        self.started: list[int] = []
        self.refused: list[int] = []

    def enter(self, number: int) -> None:
        self.queue.enter(lambda: self.started.append(number), lambda: self.refused.append(number))


async def test_calls_beyond_the_limit_start_in_their_order():
    """Each place that is given back goes to the one who has waited longest."""
    line = Line(2)
    for number in range(5):
        line.enter(number)
    assert line.started == [0, 1]
    for _ in range(3):
        line.queue.leave()
    assert line.started == [0, 1, 2, 3, 4]
    assert line.queue.in_flight == 2
    for _ in range(2):
        line.queue.leave()
    assert line.queue.is_idle


async def test_call_that_waits_too_long_is_refused():
    """It ends unsent at the longest wait, and takes no place after that."""
    line = Line(1, wait_max=timedelta(milliseconds=20))
    for number in range(3):
        line.enter(number)
    await until(lambda: line.refused == [1, 2], "those who waited are refused")
    line.queue.leave()
    assert line.started == [0]
    assert line.queue.is_idle


async def test_number_of_those_who_wait_is_limited():
    """Beyond the limit a call is refused, later in the same turn of the loop: never within the step that asked."""
    line = Line(1, waiting_max=1)
    for number in range(3):
        line.enter(number)
    assert line.refused == []
    await asyncio.sleep(0)
    assert (line.started, line.refused) == ([0], [2])


async def test_calls_that_end_as_soon_as_they_start_need_no_stack():
    """Thousands that wait for a participant whose connection is gone end one after the other, not within each other."""
    queue = ParticipantQueue(1)
    ended = []

    def start():
        ended.append(True)
        queue.leave()

    queue.enter(lambda: None, lambda: None)
    for _ in range(5_000):
        queue.enter(start, lambda: None)
    queue.leave()
    assert len(ended) == 5_000
    assert queue.is_idle


@pytest.fixture
async def hung(serve):
    """A participant that answers nobody, and counts who is there."""

    async def script(peer):
        await peer.gone()

    return await serve(script)


@pytest.fixture
async def quick(serve):
    """A participant that answers at once."""

    async def script(peer):
        while True:
            await peer.request()
            await peer.send(reply())

    return await serve(script)


async def test_hung_participant_delays_no_other(make_dispatch, hung, quick):
    """With all places of one participant taken, and more calls waiting for them, another is called at once."""
    dispatch = await make_dispatch(concurrency=4)
    stuck = [dispatch.start(a_call(hung.url, timeout_ms=60_000)) for _ in range(50)]
    await until(lambda: hung.connections == 4, "the hung one has its four calls")
    ends = await asyncio.gather(*(dispatch.start(a_call(quick.url)) for _ in range(100)))
    assert {end.verdict.outcome for end in ends} == {Outcome.DONE}
    assert not any(end.done() for end in stuck)
    assert hung.connections == 4


async def test_participant_never_has_more_calls_than_its_limit(make_dispatch, serve):
    """The calls of one participant go out a few at a time, and all get there."""
    dispatch = await make_dispatch(concurrency=3)
    now, most = 0, 0

    async def script(peer):
        nonlocal now, most
        while True:
            await peer.request()
            now += 1
            most = max(most, now)
            await asyncio.sleep(0.002)
            now -= 1
            await peer.send(reply())

    server = await serve(script)
    ends = await asyncio.gather(*(dispatch.start(a_call(server.url)) for _ in range(60)))
    assert {end.verdict.outcome for end in ends} == {Outcome.DONE}
    assert most == 3


async def test_instances_of_a_service_share_its_places(make_dispatch, hung, quick):
    """The limit belongs to the participant, whichever of its instances a call goes to."""
    dispatch = await make_dispatch(concurrency=2)
    await dispatch.announce("bank", hung.url, "one")
    await dispatch.announce("bank", hung.url, "two")
    stuck = [dispatch.start(a_call("bank/debit", timeout_ms=60_000)) for _ in range(6)]
    await until(lambda: hung.connections == 2, "two calls are out")
    assert (await dispatch.call(quick.url)).verdict.outcome is Outcome.DONE
    assert not any(end.done() for end in stuck)
