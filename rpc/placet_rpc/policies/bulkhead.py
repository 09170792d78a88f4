"""How many calls of one service may be under way from here, so that a slow one can't take everything with it."""

import asyncio
from collections import OrderedDict
from collections.abc import Coroutine
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from placet_rpc.clock import Clock
from placet_rpc.errors import LimitReached
from placet_rpc.filters import Gate
from placet_rpc.invocation import Invocation


@dataclass(frozen=True, slots=True, kw_only=True)
class BulkheadLimits:
    """Limits of a bulkhead.

    Attributes:
        max_concurrent: calls under way.
        max_waiting: that many more may wait for a place, in order; beyond it calls fail at once.
        wait: how long one waits at most, and never past the call's own time.
    """

    max_concurrent: int = 1_024
    max_waiting: int = 1_024
    wait: timedelta = timedelta(milliseconds=50)

    def __post_init__(self) -> None:
        if self.max_concurrent < 1 or self.max_waiting < 0 or self.wait < timedelta():
            raise ValueError("a bulkhead needs max_concurrent of at least 1, and max_waiting and wait not below 0")


class Bulkhead(Gate):
    """The bulkhead of one service; a `ClientFilter`.

    Args:
        clock: where time comes from; its seconds are those of the event loop.
        limits: how many calls.
        name: of the service, for messages.

    Attributes:
        taken: calls under way.
        refused: calls that found no place, or not in time.
    """

    def __init__(self, clock: Clock, limits: BulkheadLimits | None = None, *, name: str = "") -> None:
        self.limits = limits or BulkheadLimits()
        self.name = name
        self.taken = 0
        self.refused = 0
        self._now = clock.monotonic
        self._max = self.limits.max_concurrent
        # In order of arrival. A place that falls free goes straight to the first, so nobody overtakes.
        self._waiting: OrderedDict[asyncio.Future[bool], None] = OrderedDict()

    @property
    def waiting(self) -> int:
        """Calls that wait for a place."""
        return len(self._waiting)

    def enter(self, call: Invocation) -> Coroutine[Any, Any, None] | None:
        """Lets the call in as soon as there is a place."""
        if self.taken < self._max:
            self.taken += 1
            return None
        return self._wait(call)

    def leave(self, entered: None, error: BaseException | None) -> None:  # noqa: ARG002 - whatever it came to
        """Gives the place to whoever waits."""
        while self._waiting:
            place, _ = self._waiting.popitem(last=False)
            if not place.done():
                place.set_result(True)
                return
        self.taken -= 1

    async def _wait(self, call: Invocation) -> None:
        seconds = min(self.limits.wait.total_seconds(), call.timeout_ms / 1000)
        if len(self._waiting) >= self.limits.max_waiting or seconds <= 0:
            raise self._refusal()
        loop = asyncio.get_running_loop()
        place: asyncio.Future[bool] = loop.create_future()
        timer = loop.call_later(seconds, self._expire, place)
        self._waiting[place] = None
        began_at = self._now()
        try:
            got = await place
        except asyncio.CancelledError:
            self._waiting.pop(place, None)
            if place.done() and not place.cancelled() and place.result():
                self.leave(None, None)  # it was given a place just as its caller left
            raise
        finally:
            timer.cancel()
        if not got:
            raise self._refusal()
        call.timeout_ms -= int((self._now() - began_at) * 1000)

    def _expire(self, place: asyncio.Future[bool]) -> None:
        self._waiting.pop(place, None)
        if not place.done():
            place.set_result(False)

    def _refusal(self) -> LimitReached:
        self.refused += 1
        message = (
            f"max_concurrent ({self._max}) calls of {self.name or 'the service'} are under way and {self.waiting} wait:"
            " call less at a time, or raise the bulkhead's limits"
        )
        return LimitReached(message, limit="bulkhead")
