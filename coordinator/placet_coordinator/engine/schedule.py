"""When to look at an open transaction again: a wheel of 20 ms ticks, so that setting and forgetting a time is cheap.

A heap would keep the entry of each finished transaction until its timeout: 30 s of them at full load.
"""

import asyncio
import heapq
from collections.abc import Callable

from placet_coordinator.engine.held import Held

TICK_MS = 20


class Schedule:
    """Due times of the transactions in memory.

    Args:
        due: called on the loop for each transaction whose time has come.
        now_ms: the database's clock.
    """

    def __init__(self, due: Callable[[Held], None], now_ms: Callable[[], int]) -> None:
        self._due, self._now_ms = due, now_ms
        self._ticks: dict[int, set[Held]] = {}
        self._order: list[int] = []
        self._timer: asyncio.TimerHandle | None = None
        self._timer_tick = 0
        self._fired_tick = 0
        self._loop = asyncio.get_running_loop()

    def set(self, held: Held, due_at_ms: int) -> None:
        """Set, or move, the transaction's time."""
        # Never a tick that is being served: a time that stays in the past must not keep the loop to itself.
        tick = max(-(-due_at_ms // TICK_MS), self._fired_tick + 1)
        if held.tick == tick:
            return
        self.forget(held)
        held.tick = tick
        waiting = self._ticks.get(tick)
        if waiting is None:
            waiting = self._ticks[tick] = set()
            heapq.heappush(self._order, tick)
            if self._timer is None or tick < self._timer_tick:
                self._arm()
        waiting.add(held)

    def forget(self, held: Held) -> None:
        """Drop the transaction's time, if it has one."""
        if held.tick is not None:
            waiting = self._ticks.get(held.tick)
            if waiting is not None:
                waiting.discard(held)
            held.tick = None

    def stop(self) -> None:
        """Never call anything again."""
        if self._timer is not None:
            self._timer.cancel()
        self._ticks.clear()
        self._order.clear()

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._order:
            self._timer_tick = self._order[0]
            delay_ms = max(self._timer_tick * TICK_MS - self._now_ms(), 1)
            self._timer = self._loop.call_later(delay_ms / 1_000, self._fire)

    def _fire(self) -> None:
        self._timer = None
        now_tick = self._fired_tick = self._now_ms() // TICK_MS
        while self._order and self._order[0] <= now_tick:
            for held in self._ticks.pop(heapq.heappop(self._order)):
                held.tick = None
                self._due(held)
        self._arm()
