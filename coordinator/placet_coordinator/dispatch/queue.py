"""One participant's queue: so many calls at once, the others wait their turn, so that a hung one delays nobody else."""

import asyncio
from collections import deque
from collections.abc import Callable
from datetime import timedelta

CONCURRENCY = 128
"""Calls in flight at one participant; as many as dtm's and Dubbo's defaults keep busy, and below a pool's 256."""

WAIT_MAX = timedelta(seconds=10)
"""A call that got no place by then ends as not sent, and comes again after its backoff."""

WAITING_MAX = 10_000
"""Calls that wait for a place at one participant; beyond it a call ends as not sent at once."""

Start = Callable[[], None]


class ParticipantQueue:
    """Limits the calls in flight at one participant.

    Args:
        concurrency: calls in flight.
        wait_max: the longest wait for a place.
        waiting_max: calls that may wait.
    """

    __slots__ = ("_concurrency", "_is_starting", "_loop", "_timer", "_wait_s", "_waiting", "_waiting_max", "in_flight")

    def __init__(self, concurrency: int, wait_max: timedelta = WAIT_MAX, waiting_max: int = WAITING_MAX) -> None:
        self._concurrency, self._wait_s, self._waiting_max = concurrency, wait_max.total_seconds(), waiting_max
        self._is_starting = False
        self._waiting: deque[tuple[float, Start, Start]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()
        self.in_flight = 0

    @property
    def is_idle(self) -> bool:
        """Say whether nothing is in flight or waits."""
        return self.in_flight == 0 and not self._waiting

    def enter(self, start: Start, refused: Start) -> None:
        """Call `start` when there is a place, or `refused` when the wait was too long; exactly one of them.

        `refused` is called later, never from here: whoever enters is in the middle of a step.
        """
        if self.in_flight < self._concurrency:
            self.in_flight += 1
            start()
            return
        if len(self._waiting) >= self._waiting_max:
            self._loop.call_soon(refused)
            return
        self._waiting.append((self._loop.time() + self._wait_s, start, refused))
        if self._timer is None:
            self._timer = self._loop.call_later(self._wait_s, self._expire)

    def leave(self) -> None:
        """Give a place back; the first who waits takes it."""
        self.in_flight -= 1
        if self._is_starting:
            return  # a call that ended while it was started: the loop below takes its place
        self._is_starting = True
        try:
            while self._waiting and self.in_flight < self._concurrency:
                _, start, _ = self._waiting.popleft()
                self.in_flight += 1
                start()
        finally:
            self._is_starting = False

    def _expire(self) -> None:
        self._timer = None
        now = self._loop.time()
        while self._waiting and self._waiting[0][0] <= now:
            _, _, refused = self._waiting.popleft()
            refused()
        if self._waiting:
            self._timer = self._loop.call_at(self._waiting[0][0], self._expire)
