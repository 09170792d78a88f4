"""The writes that wait for a batch, in three lanes by their hurry, and those parked behind a locked row."""

import asyncio
from collections import deque
from collections.abc import Callable, Iterator

from placet_coordinator.engine.held import Lane, Write, WriteEnd

_PARTIAL, _RIDER, _URGENT = Lane  # looked up once: an enum's member costs 0.1 µs each time (CPython 3.11)


class WriteQueue:
    """Hands out batches: urgent writes at once, riders with the next batch, partial results when they are ripe.

    A write moves to a faster lane by being appended there, too; what stands in a lane that is not its own is stale.

    Args:
        rider_delay_s: the longest that a write nobody waits for waits for a batch to ride with.
        refuse: settles a write whose transaction's copy was dropped meanwhile.
    """

    def __init__(self, rider_delay_s: float, refuse: Callable[[Write, WriteEnd], None]) -> None:
        self._rider_delay_s, self._refuse = rider_delay_s, refuse
        self._lanes: tuple[deque[Write], deque[Write], deque[Write]] = (deque(), deque(), deque())
        self._parked: dict[str, list[Write]] = {}
        self._loop = asyncio.get_running_loop()
        self._sleeper: asyncio.Future[None] | None = None
        self._rider_timer: asyncio.TimerHandle | None = None
        self._is_closing = False

    def enter(self, write: Write, lane: Lane) -> None:
        """Put a new write in."""
        write.lane = lane
        write.ride_at = self._loop.time() + self._rider_delay_s
        self._lanes[lane].append(write)
        if lane is _URGENT:
            self._wake()
        elif self._rider_timer is None:
            self._rider_timer = self._loop.call_later(self._rider_delay_s, self._riders_wake)

    def hurry(self, write: Write, lane: Lane) -> None:
        """Give a waiting write more hurry."""
        if lane > write.lane and not write.taken:
            write.lane = lane
            self._lanes[lane].append(write)
            if lane is _URGENT:
                self._wake()

    async def has_work(self) -> bool:
        """Return True when a batch should be taken; False once the queue is closed and empty."""
        while not self._lanes[_URGENT] and not self._riders_are_due():
            if self._is_closing and not any(self._lanes) and not self._parked:
                return False
            self._sleeper = self._loop.create_future()
            await self._sleeper
            self._sleeper = None
        return True

    def take(self, entries_max: int, bytes_max: int, prepare: Callable[[Write], int | None]) -> list[Write]:
        """Return the next batch: at most one write per gid, and no more bytes than the limit unless one alone has more.

        Args:
            entries_max: writes in a batch.
            bytes_max: bytes in a batch.
            prepare: makes a write's row and returns its size in bytes; None if it can't, and has settled the write.
        """
        batch: list[Write] = []
        gids: set[str] = set()
        again: list[Write] = []
        left = bytes_max
        for write in self._in_turn(entries_max // 2):
            gid = write.held.gid
            if gid in gids:
                again.append(write)  # a decision without a read beside a step: one write per gid and batch
                continue
            size = prepare(write)
            if size is None:
                continue
            if size > left and batch:
                self._lanes[write.lane].appendleft(write)
                break
            left -= size
            gids.add(gid)
            write.taken = True
            write.held.pending, write.held.writing = None, write
            batch.append(write)
            if left <= 0 or len(batch) == entries_max:
                break
        for write in again:
            self._lanes[write.lane].append(write)
        self._arm_riders()
        return batch

    def _in_turn(self, overdue_max: int) -> Iterator[Write]:
        """Take out the writes that may go now: riders that have waited their time first, then all by their hurry.

        Whatever hurries, it leaves room for those that have waited: their transactions would pile up in memory.
        """
        now = self._loop.time()
        for _ in range(overdue_max):
            write = self._first(_RIDER, now) or self._first(_PARTIAL, now)
            if write is None:
                break
            yield write
        ripe_at = float("inf") if self._is_closing else now + 0.001
        for lane, until in ((_URGENT, None), (_RIDER, None), (_PARTIAL, ripe_at)):
            while (write := self._first(lane, until)) is not None:
                yield write

    def _first(self, lane: Lane, ride_until: float | None) -> Write | None:
        """Take the lane's first write that may be written out of it, if it has to ride by then."""
        queue = self._lanes[lane]
        while queue:
            write = queue[0]
            is_stale = write.taken or write.lane is not lane or write.end is not None
            if not is_stale and ride_until is not None and write.ride_at > ride_until:
                return None
            queue.popleft()
            if is_stale:
                continue
            if write.held.dead:
                self._refuse(write, WriteEnd.MISSED)
            elif write.held.gid in self._parked:
                self._parked[write.held.gid].append(write)
            else:
                return write
        return None

    def park(self, gid: str) -> None:
        """Keep the gid's later writes out of batches: its row is locked."""
        self._parked.setdefault(gid, [])

    def unpark(self, gid: str) -> None:
        """Let the gid's writes take part again."""
        for write in self._parked.pop(gid, ()):
            if write.end is None:
                self._lanes[write.lane].append(write)
        self._wake()

    def is_parked(self, gid: str) -> bool:
        """Say whether the gid's row is known to be locked."""
        return gid in self._parked

    def clear(self) -> None:
        """Refuse everything that waits: this node has lost its lease."""
        for queue in (*self._lanes, *self._parked.values()):
            waiting = list(queue)
            queue.clear()
            for write in waiting:
                if not write.taken and write.end is None:
                    self._refuse(write, WriteEnd.MISSED)

    def close(self) -> None:
        """Let `has_work` end once nothing waits any more."""
        self._is_closing = True
        self._wake()

    def _wake(self) -> None:
        if self._sleeper is not None and not self._sleeper.done():
            self._sleeper.set_result(None)

    def _riders_wake(self) -> None:
        self._rider_timer = None
        self._wake()

    def _riders_are_due(self) -> bool:
        waiting = bool(self._lanes[_RIDER] or self._lanes[_PARTIAL])
        return waiting and (self._rider_timer is None or self._is_closing)

    def _arm_riders(self) -> None:
        waiting = self._lanes[_RIDER] or self._lanes[_PARTIAL]
        if waiting and self._rider_timer is None:
            self._rider_timer = self._loop.call_at(waiting[0].ride_at, self._riders_wake)
