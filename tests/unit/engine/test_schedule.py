"""Due times: each is called once its time has come, and none can keep the loop to itself."""

import asyncio

import pytest

from placet_contract.vocabulary import Pattern, Status
from placet_coordinator.core.transaction import Transaction
from placet_coordinator.engine.held import Held
from placet_coordinator.engine.schedule import Schedule
from unit.engine.node import until


class Alarm:
    """A schedule by the loop's own clock, with what it called."""

    def __init__(self) -> None:
        self.called: list[str] = []
        self.base_ms = int(asyncio.get_running_loop().time() * 1_000)
        self.then = lambda _held: None
        loop = asyncio.get_running_loop()
        self.now_ms = lambda: int(loop.time() * 1_000)
        self.schedule = Schedule(self._due, self.now_ms)

    def _due(self, held):
        self.called.append(held.gid)
        self.then(held)

    def set(self, gid: str, in_ms: int) -> Held:
        held = Held(Transaction(gid, Pattern.TCC, Status.ACTIVE, created_at_ms=1), version=1)
        self.schedule.set(held, self.base_ms + in_ms)
        return held


@pytest.fixture
async def alarm():
    """A schedule without a time."""
    alarm = Alarm()
    yield alarm
    alarm.schedule.stop()


async def test_times_are_called_in_their_order(alarm):
    """The earliest first, whatever the order in which they were set."""
    for gid, in_ms in (("late", 90), ("first", 5), ("second", 45)):
        alarm.set(gid, in_ms)
    await until(lambda: len(alarm.called) == 3, "all were called")
    assert alarm.called == ["first", "second", "late"]


async def test_time_that_is_forgotten_or_moved_is_not_called(alarm):
    """Only the last time set counts, once."""
    forgotten, moved = alarm.set("forgotten", 5), alarm.set("moved", 5)
    alarm.schedule.forget(forgotten)
    alarm.schedule.set(moved, alarm.now_ms() + 60)
    alarm.set("other", 5)
    await until(lambda: {"moved", "other"} <= set(alarm.called), "the moved one was called")
    assert sorted(alarm.called) == ["moved", "other"]


async def test_time_that_stays_in_the_past_leaves_the_loop_free(alarm):
    """Whoever is set to the past again while it is called comes with a later tick: others get their turn."""
    alarm.then = lambda held: alarm.schedule.set(held, alarm.now_ms() - 1_000)
    alarm.set("stuck", -1_000)
    alarm.set("other", 60)
    await until(lambda: "other" in alarm.called, "the other one was called")
    assert alarm.called.count("stuck") < 10


async def test_one_that_forgets_another_of_the_same_tick_does_not_spoil_it(alarm):
    """Two due at once may change each other's times."""
    one, two = alarm.set("one", 5), alarm.set("two", 5)
    alarm.then = lambda held: alarm.schedule.forget(two if held is one else one)
    alarm.set("later", 60)
    await until(lambda: "later" in alarm.called, "the later one was called")
    assert set(alarm.called) == {"one", "two", "later"}
