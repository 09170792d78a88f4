"""How many calls a second may leave, by token bucket: kept here, or shared between processes through Redis."""

from collections import OrderedDict
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Protocol

from placet_rpc.clock import Clock
from placet_rpc.errors import LimitReached
from placet_rpc.filters import Gate
from placet_rpc.invocation import Invocation

KEYS_MAX = 10_000
"""Buckets kept by one limiter; beyond it the one longest unused is forgotten, and so is full again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """A rate of calls.

    Attributes:
        per_second: calls, in the long run.
        burst: calls that may come at once; 0: as many as one second brings, at least one.
    """

    per_second: float
    burst: int = 0

    def __post_init__(self) -> None:
        if self.per_second <= 0 or self.burst < 0:
            raise ValueError("a rate needs per_second above 0 and a burst not below 0")

    @property
    def depth(self) -> int:
        """Tokens of a full bucket."""
        return self.burst or max(1, int(self.per_second))


class Limiter(Protocol):
    """Counts calls against a rate, by key."""

    async def take(self, key: str, /) -> float:
        """Takes a token; returns 0, or the seconds until there is one."""
        ...


class TokenBuckets:
    """Token buckets of this process by the generic cell rate algorithm: one float per key.

    The float is the time at which the bucket is full again. A token moves it by one interval, and there is none if
    that takes it further ahead than the bucket is deep.
    """

    def __init__(self, clock: Clock, rate: Rate) -> None:
        self.rate = rate
        self._now = clock.monotonic
        self._interval = 1 / rate.per_second
        self._depth = rate.depth * self._interval
        self._full_at: OrderedDict[str, float] = OrderedDict()

    async def take(self, key: str) -> float:
        """Takes a token; returns 0, or the seconds until there is one."""
        return self.take_now(key)

    def take_now(self, key: str) -> float:
        """As `take`, without a coroutine."""
        now = self._now()
        full_at = self._full_at.get(key, now)
        full_at = (full_at if full_at > now else now) + self._interval  # noqa: FURB136 - `max` would cost as much as the rest
        # An interval is a fraction, and their sum is off by a few of its last bits.
        missing = full_at - self._depth - now
        if missing > self._interval * 1e-6:
            return missing
        self._full_at[key] = full_at
        self._full_at.move_to_end(key)
        if len(self._full_at) > KEYS_MAX:
            self._full_at.popitem(last=False)
        return 0.0


def by_method(call: Invocation) -> str:
    """One bucket per method."""
    return f"{call.service.key}.{call.method.name}"


def by_service(call: Invocation) -> str:
    """One bucket per service."""
    return call.service.key


class RateLimit(Gate):
    """Refuses calls beyond a rate; a `ClientFilter`.

    Args:
        limiter: counts them.
        key: which bucket a call takes from, such as `by_method`; or by caller, tenant or an argument.

    Attributes:
        refused: calls beyond the rate.
    """

    def __init__(self, limiter: Limiter, *, key: Callable[[Invocation], str] = by_method) -> None:
        self.refused = 0
        self._limiter = limiter
        self._key = key
        self._take_now = limiter.take_now if isinstance(limiter, TokenBuckets) else None

    def enter(self, call: Invocation) -> Coroutine[Any, Any, None] | None:
        """Lets the call in if there is a token for it."""
        key = self._key(call)
        if self._take_now is None:
            return self._ask(key)
        seconds = self._take_now(key)
        if seconds > 0:
            raise self._refusal(key, seconds)
        return None

    async def _ask(self, key: str) -> None:
        seconds = await self._limiter.take(key)
        if seconds > 0:
            raise self._refusal(key, seconds)

    def _refusal(self, key: str, seconds: float) -> LimitReached:
        self.refused += 1
        message = f"the rate limit of {key!r} is reached: the next call may go in {seconds * 1000:.0f} ms"
        return LimitReached(message, limit="rate_limit")
