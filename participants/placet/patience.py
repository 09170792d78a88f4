"""How long, and with which pauses, a call of the coordinator is repeated."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import TypeVar

from placet.coordinator import TIMEOUT
from placet.errors import CoordinatorOverloaded, CoordinatorUnavailable
from placet_contract.backoff import backoff_ms

FIRST_PAUSE_MS = 50
LONGEST_PAUSE_MS = 2_000
SHORTEST_ATTEMPT_SECONDS = 0.5
"""Even a call whose time is up gets this much once: a decision should not be given up for a late start."""

T = TypeVar("T")


class Patience:
    """A point in time until which a call of the coordinator is repeated.

    All coordinator calls may be repeated, so what is not known after a lost answer is asked again, with exponential
    backoff and full jitter; an overloaded coordinator is asked again no sooner than it said.

    Args:
        seconds: from now.
    """

    def __init__(self, seconds: float) -> None:
        self._now = asyncio.get_running_loop().time
        self._ends_at = self._now() + seconds

    @property
    def seconds_left(self) -> float:
        """Seconds until it ends; negative afterwards."""
        return self._ends_at - self._now()

    async def until_answered(self, attempt: Callable[[timedelta], Awaitable[T]]) -> T:
        """Repeats `attempt`, which takes the time it may use, until the coordinator answers.

        Raises:
            CoordinatorUnavailable: no answer in time; `maybe_written` says whether any attempt may have had effect.
            CoordinatorOverloaded: as above, and every attempt was shed: nothing was written.
            CoordinatorRefused: an answer that a repeat will not change.
        """
        number = 0
        maybe_written = False
        while True:
            number += 1
            seconds = max(SHORTEST_ATTEMPT_SECONDS, min(TIMEOUT.total_seconds(), self.seconds_left))
            try:
                return await attempt(timedelta(seconds=seconds))
            except (CoordinatorUnavailable, CoordinatorOverloaded) as error:
                maybe_written = maybe_written or error.maybe_written
                pause = _pause_seconds(number, error)
                if pause >= self.seconds_left:
                    if maybe_written and not error.maybe_written:
                        raise CoordinatorUnavailable(
                            f"an earlier attempt may have been carried out; the last one: {error}", maybe_written=True
                        ) from error
                    raise
            await asyncio.sleep(pause)


def _pause_seconds(number: int, error: CoordinatorUnavailable | CoordinatorOverloaded) -> float:
    chance = random.random()  # noqa: S311 - jitter is no secret
    pause = backoff_ms(number, first_ms=FIRST_PAUSE_MS, cap_ms=LONGEST_PAUSE_MS, chance=chance) / 1_000
    if isinstance(error, CoordinatorOverloaded):
        return error.retry_after.total_seconds() + pause
    return pause
