"""Time as the parts of the RPC ask for it, so that tests can turn it."""

import asyncio
import time
from collections.abc import Awaitable, Iterable
from typing import Any, Protocol, TypeVar

_Result = TypeVar("_Result")


class Clock(Protocol):
    """Where time comes from."""

    def monotonic(self) -> float:
        """Returns seconds that only grow, from an unknown beginning."""
        ...

    def wall(self) -> float:
        """Returns seconds since the epoch, as this machine believes."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Returns when the time has passed."""
        ...


class SystemClock:
    """The machine's own clocks."""

    monotonic = staticmethod(time.monotonic)
    wall = staticmethod(time.time)
    sleep = staticmethod(asyncio.sleep)


SYSTEM_CLOCK: Clock = SystemClock()


async def pause(clock: Clock, seconds: float, event: asyncio.Event) -> bool:
    """Returns when the event is set, or when the time has passed; True if it was the event."""
    tasks = [asyncio.ensure_future(event.wait()), asyncio.ensure_future(clock.sleep(seconds))]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        await _end(tasks)
    return event.is_set()


async def within(clock: Clock, seconds: float, work: Awaitable[_Result]) -> _Result:
    """Returns the result of some work.

    Raises:
        TimeoutError: the time has passed; the work was cancelled, and has ended.
    """
    task = asyncio.ensure_future(work)
    timer = asyncio.ensure_future(clock.sleep(seconds))
    try:
        await asyncio.wait((task, timer), return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
    finally:
        await _end((task, timer))
    raise TimeoutError


async def _end(tasks: Iterable[asyncio.Future[Any]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
