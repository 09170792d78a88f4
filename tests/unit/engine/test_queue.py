"""The queue of writes: who wakes the flusher, who only rides along."""

import asyncio

import pytest

from placet_contract.vocabulary import Pattern, Status
from placet_coordinator.core.transaction import Transaction
from placet_coordinator.engine.held import Held, Lane, Write, WriteEnd
from placet_coordinator.engine.queue import WriteQueue
from placet_coordinator.ports.rows import EntryKind

TURNS = 20


class Line:
    """A queue, with what it refused."""

    def __init__(self) -> None:
        self.refused: list[tuple[str, WriteEnd]] = []
        self.queue = WriteQueue(0.02, self._refuse)

    def _refuse(self, write, end):
        write.end = end
        self.refused.append((write.held.gid, end))

    def enter(self, gid: str, lane: Lane) -> Write:
        held = Held(Transaction(gid, Pattern.TCC, Status.ACTIVE, created_at_ms=1), version=1)
        write = held.pending = Write(held, EntryKind.UPDATE, held.transaction, 2)
        self.queue.enter(write, lane)
        return write

    def take(self) -> list[str]:
        return [write.held.gid for write in self.queue.take(256, 1_000_000, lambda _write: 10)]


@pytest.fixture
async def line():
    """An empty queue."""
    return Line()


async def turns() -> None:
    """Let everything run that is ready to."""
    for _ in range(TURNS):
        await asyncio.sleep(0)


@pytest.mark.parametrize("lane", [Lane.RIDER, Lane.PARTIAL])
async def test_write_that_nobody_waits_for_wakes_no_flusher(line, lane):
    """The flusher sleeps on; the write is taken once its 20 ms are over."""
    waiting = asyncio.create_task(line.queue.has_work())
    await turns()
    line.enter("t", lane)
    await turns()
    assert not waiting.done()
    assert await waiting
    assert line.take() == ["t"]


async def test_rider_goes_with_the_next_batch(line):
    """A finish rides with whatever batch comes next; a partial result waits for its own transaction's next write."""
    line.enter("finish", Lane.RIDER)
    line.enter("partial", Lane.PARTIAL)
    line.enter("decision", Lane.URGENT)
    assert await line.queue.has_work()
    assert line.take() == ["decision", "finish"]
    assert await line.queue.has_work()
    assert line.take() == ["partial"]


async def test_riders_that_have_waited_are_not_starved(line):
    """However many writes hurry, half a batch is left to those whose 20 ms are over."""
    riders = [line.enter(f"rider-{number}", Lane.RIDER) for number in range(4)]
    for number in range(8):
        line.enter(f"urgent-{number}", Lane.URGENT)
    for rider in riders[:3]:
        rider.ride_at = 0
    first = [write.held.gid for write in line.queue.take(4, 1_000_000, lambda _write: 10)]
    second = [write.held.gid for write in line.queue.take(4, 1_000_000, lambda _write: 10)]
    assert first == ["rider-0", "rider-1", "urgent-0", "urgent-1"]
    assert second == ["rider-2", "urgent-2", "urgent-3", "urgent-4"]


async def test_write_that_is_too_large_for_the_rest_of_a_batch_comes_first_in_the_next(line):
    """It keeps its place, and nothing is lost."""
    for number in range(3):
        line.enter(f"t-{number}", Lane.URGENT)
    assert [write.held.gid for write in line.queue.take(256, 100, lambda _write: 60)] == ["t-0"]
    assert line.take() == ["t-1", "t-2"]


async def test_write_that_somebody_comes_to_wait_for_is_hurried(line):
    """Folding a decision into a waiting result makes it urgent, once."""
    waiting = asyncio.create_task(line.queue.has_work())
    write = line.enter("t", Lane.PARTIAL)
    line.queue.hurry(write, Lane.URGENT)
    line.queue.hurry(write, Lane.RIDER)
    await turns()
    assert waiting.done()
    assert line.take() == ["t"]
    assert line.take() == []


async def test_parked_gid_stays_out_of_batches_until_its_row_is_free(line):
    """While a row is locked its later writes wait, and nobody else's."""
    line.queue.park("locked")
    line.enter("locked", Lane.URGENT)
    line.enter("free", Lane.URGENT)
    assert line.take() == ["free"]
    assert line.take() == []
    line.queue.unpark("locked")
    assert await line.queue.has_work()
    assert line.take() == ["locked"]


async def test_write_of_a_dropped_copy_is_refused_not_written(line):
    """What waits behind a copy that is no longer the truth never reaches the store."""
    line.enter("t", Lane.URGENT).held.dead = True
    assert line.take() == []
    assert line.refused == [("t", WriteEnd.MISSED)]


async def test_closing_takes_what_waits_and_then_ends(line):
    """A shutdown writes riders and partial results at once, and then has no more work."""
    line.enter("t", Lane.PARTIAL)
    line.queue.close()
    assert await line.queue.has_work()
    assert line.take() == ["t"]
    assert not await line.queue.has_work()


async def test_clearing_refuses_what_waits_and_what_is_parked(line):
    """After a lost lease nothing that waits is written under the old life."""
    line.queue.park("parked")
    line.enter("parked", Lane.URGENT)
    assert line.take() == []
    line.enter("waits", Lane.URGENT)
    line.queue.clear()
    assert sorted(line.refused) == [("parked", WriteEnd.MISSED), ("waits", WriteEnd.MISSED)]
