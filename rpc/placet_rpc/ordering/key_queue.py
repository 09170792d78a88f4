"""The calls of one key at one server: one runs, the others wait; who comes twice runs once."""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable
from enum import Enum
from typing import NamedTuple

from placet_rpc.ordering.stamp import Stamp
from placet_rpc.served_call import Answer


class Refused(Enum):
    """Why a call does not run."""

    REPEATED = "repeated"
    """One with its number was run, or given up by its caller, and its answer is not there any more."""

    ONGOING = "ongoing"
    """One with its number is waiting."""

    OUT_OF_ORDER = "out_of_order"
    """An earlier one did not come in time."""

    FULL = "full"
    """Too many wait."""

    MOVED = "moved"
    """The key has another owner."""

    EXPIRED = "expired"
    """Its time was up before its turn came."""


class _Lane:
    """The calls of one client.

    Attributes:
        expected: the number that may run next; lower ones never will.
        last: the call that ran last.
        used_at: when it was last heard of.
    """

    __slots__ = ("expected", "last", "used_at")

    def __init__(self, expected: int) -> None:
        self.expected = expected
        self.last: _Last | None = None
        self.used_at = 0.0


class _Last:
    """The call of a client that ran last, or runs.

    Attributes:
        answer: None: it runs, was stopped, or is too long to be kept.
        waiting: repeats that came while it runs.
    """

    __slots__ = ("answer", "is_running", "number", "waiting")

    def __init__(self, number: int) -> None:
        self.number = number
        self.is_running = True
        self.answer: Answer | None = None
        self.waiting: list[asyncio.Future[None]] = []

    def end(self) -> None:
        self.is_running = False
        for ended in self.waiting:
            if not ended.done():
                ended.set_result(None)
        self.waiting.clear()


class _Ticket:
    """A call that waits."""

    __slots__ = ("lane", "number", "turn")

    def __init__(self, lane: _Lane | None, number: int) -> None:
        self.lane, self.number = lane, number
        self.turn: asyncio.Future[Refused | None] = asyncio.get_running_loop().create_future()

    @property
    def is_next(self) -> bool:
        """True if nothing of its own client has to come before it."""
        return self.lane is None or self.number == self.lane.expected


class QueueLimits(NamedTuple):
    """The limits of a queue.

    Attributes:
        max_waiting: calls that may wait.
        max_clients: clients whose place in the order is known.
        gap_seconds: how long a call waits for an earlier one that has not come.
        remembered_seconds: how long after its last call a client's place is known.
        kept_bytes: the answer of a client's last call is kept for its repeat if it is no longer.
    """

    max_waiting: int
    max_clients: int
    gap_seconds: float
    remembered_seconds: float
    kept_bytes: int


class KeyQueue:
    """The queue of one key.

    Args:
        limits: the named limits.

    Attributes:
        used_at: when it was last asked to run something, in monotonic seconds.
    """

    def __init__(self, limits: QueueLimits) -> None:
        self.used_at = 0.0
        self._limits = limits
        self._lanes: OrderedDict[str, _Lane] = OrderedDict()
        self._waiting: deque[_Ticket] = deque()
        self._is_running = False
        self._empty: list[asyncio.Future[None]] = []

    @property
    def is_idle(self) -> bool:
        """True if nothing runs and nothing waits."""
        return not self._is_running and not self._waiting

    async def run(
        self, stamp: Stamp | None, now: float, left_seconds: float | None, work: Callable[[], Awaitable[Answer]]
    ) -> Answer | Refused:
        """Runs a call in its turn.

        Args:
            stamp: its place; None: its caller numbers nothing, so it runs after what is there.
            now: in monotonic seconds.
            left_seconds: of its time; None: it has no end.
            work: the call.
        """
        self.used_at = now
        lane, number = None, 0
        if stamp is not None:
            lane, number = self._lane(stamp, now), stamp.number
            if lane is None:
                return Refused.FULL
            if number < lane.expected:
                return await _repeated(lane, number)
        if not self._is_running and not self._waiting and (lane is None or number == lane.expected):
            self._is_running = True
        else:
            refused = await self._wait(_Ticket(lane, number), left_seconds)
            if refused is not None:
                return refused
        return await self._work(lane, number, work)

    def refuse_all(self, reason: Refused) -> None:
        """Refuses what waits; what runs goes on."""
        for ticket in tuple(self._waiting):
            self._drop(ticket, reason)

    async def idle(self) -> None:
        """Returns when nothing runs and nothing waits."""
        while not self.is_idle:
            empty: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._empty.append(empty)
            await empty

    # -- inside ------------------------------------------------------------------------------------------------

    def _lane(self, stamp: Stamp, now: float) -> _Lane | None:
        lane = self._lanes.get(stamp.client)
        if lane is None:
            self._forget(now)
            if len(self._lanes) >= self._limits.max_clients:
                return None
            lane = self._lanes[stamp.client] = _Lane(stamp.first)
        elif stamp.first > lane.expected:
            lane.expected = stamp.first
            for ticket in [one for one in self._waiting if one.lane is lane and one.number < stamp.first]:
                self._drop(ticket, Refused.REPEATED)  # its caller has given it up
            self._advance()
        lane.used_at = now
        self._lanes.move_to_end(stamp.client)
        return lane

    def _forget(self, now: float) -> None:
        """Forgets the clients longest unheard; one whose call waits was heard of within that call's time."""
        while self._lanes:
            client, lane = next(iter(self._lanes.items()))
            if now - lane.used_at < self._limits.remembered_seconds:
                return
            del self._lanes[client]

    async def _wait(self, ticket: _Ticket, left_seconds: float | None) -> Refused | None:
        """Waits for a turn; None: it has come, and is this call's."""
        if any(
            one.lane is ticket.lane and one.number == ticket.number for one in self._waiting if one.lane is not None
        ):
            return Refused.ONGOING
        if len(self._waiting) >= self._limits.max_waiting:
            return Refused.FULL
        self._waiting.append(ticket)
        self._advance()
        loop = asyncio.get_running_loop()
        timers = []
        if not ticket.is_next:
            timers.append(loop.call_later(self._limits.gap_seconds, self._missed, ticket))
        if left_seconds is not None:
            timers.append(loop.call_later(left_seconds, self._expired, ticket))
        try:
            return await ticket.turn
        except asyncio.CancelledError:
            if ticket.turn.done() and not ticket.turn.cancelled():
                if ticket.turn.result() is None:
                    self._end()  # its turn came just as its caller left
            else:
                self._waiting.remove(ticket)
            raise
        finally:
            for timer in timers:
                timer.cancel()

    def _missed(self, ticket: _Ticket) -> None:
        if not ticket.is_next:
            self._drop(ticket, Refused.OUT_OF_ORDER)

    def _expired(self, ticket: _Ticket) -> None:
        self._drop(ticket, Refused.EXPIRED)

    def _drop(self, ticket: _Ticket, reason: Refused) -> None:
        if not ticket.turn.done():
            self._waiting.remove(ticket)
            ticket.turn.set_result(reason)

    async def _work(self, lane: _Lane | None, number: int, work: Callable[[], Awaitable[Answer]]) -> Answer:
        last = None
        if lane is not None:
            lane.expected = number + 1
            lane.last = last = _Last(number)
        try:
            answer = await work()
            if last is not None and len(answer.body) <= self._limits.kept_bytes:
                last.answer = answer
            return answer
        finally:
            if last is not None:
                last.end()
            self._end()

    def _end(self) -> None:
        self._is_running = False
        self._advance()
        if self.is_idle:
            for empty in self._empty:
                if not empty.done():
                    empty.set_result(None)
            self._empty.clear()

    def _advance(self) -> None:
        """Gives the turn to the first that may have it."""
        if self._is_running:
            return
        for ticket in self._waiting:
            if ticket.is_next and not ticket.turn.done():  # else its caller has left, and will take it out
                self._waiting.remove(ticket)
                self._is_running = True
                ticket.turn.set_result(None)
                return


async def _repeated(lane: _Lane, number: int) -> Answer | Refused:
    """Returns the answer of a call that is running or was the last, for its repeat."""
    last = lane.last
    if last is None or last.number != number:
        return Refused.REPEATED
    if last.is_running:
        ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        last.waiting.append(ended)
        await ended
    return last.answer or Refused.REPEATED
