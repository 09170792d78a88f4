"""Leaves a method alone that fails too often, and finds out when it works again.

Closed: calls pass and are counted. Open: calls fail at once. Half-open: a few probes pass; some good ones close it, a
bad one opens it again for twice as long. A permit is given back whatever becomes of the call, and a probe's is a lease
that ends with the call's time: a probe that is cancelled, blocked or lost can't keep the breaker half-open.
"""

import enum
import logging
from dataclasses import dataclass
from datetime import timedelta
from types import TracebackType
from typing import Self

from placet_rpc.chance import Chance
from placet_rpc.clock import Clock
from placet_rpc.errors import BreakerOpen, NoInstance, RpcError
from placet_rpc.filters import Gate
from placet_rpc.invocation import Invocation
from placet_rpc.policies.failure import speaks_against
from placet_rpc.policies.window import Window

_log = logging.getLogger("placet_rpc.client")

_CALLS, _FAILED, _SLOW = 0, 1, 2
_DOUBLINGS_MAX = 16
_SPENT = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerLimits:
    """When a breaker opens, and for how long.

    Attributes:
        calls_min: with fewer calls in the window it stays closed.
        failed_share: of the calls; from it on it opens.
        slow_share: of the calls; from it on it opens.
        slow_after: what counts as slow; None: 80 % of the call's own time.
        open_first: how long it stays open at first; doubled each time that a probe fails.
        open_cap: the longest such time; all of them vary by a fifth.
        probes: calls let through at a time when half-open, and good ones needed to close.
        window_slots: seconds of the window.
    """

    calls_min: int = 20
    failed_share: float = 0.5
    slow_share: float = 0.8
    slow_after: timedelta | None = None
    open_first: timedelta = timedelta(seconds=5)
    open_cap: timedelta = timedelta(seconds=60)
    probes: int = 3
    window_slots: int = 10

    def __post_init__(self) -> None:
        if self.calls_min < 1 or self.probes < 1 or self.window_slots < 1:
            raise ValueError("calls_min, probes and window_slots of a breaker must be at least 1")
        if not (0 < self.failed_share <= 1 and 0 < self.slow_share <= 1):
            raise ValueError("failed_share and slow_share of a breaker are shares: above 0, at most 1")
        if not timedelta() < self.open_first <= self.open_cap:
            raise ValueError("open_first of a breaker must be longer than nothing, and at most open_cap")


SLOW_SHARE_OF_TIMEOUT = 0.8
_VARIATION = 0.2


class State(enum.Enum):
    """What a breaker does with a call."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


_CLOSED = State.CLOSED


class Outcome(enum.Enum):
    """What a call says of the method's health."""

    GOOD = "good"
    BAD = "bad"
    ANSWERED = "answered"
    """An exception of the contract: it works, but the share of failures is not diluted by it."""
    IGNORED = "ignored"
    """It says nothing: the caller left, or a limit of this client's own was met."""


class Permit:
    """One call's leave to pass; a context manager that gives it back with what the call came to."""

    __slots__ = ("_breaker", "_slow_at", "epoch", "expires_at")

    def __init__(self, breaker: "Breaker", epoch: int, slow_at: float, expires_at: float) -> None:
        self._breaker = breaker
        self._slow_at = slow_at
        self.epoch = epoch
        self.expires_at = expires_at

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.end(error)

    def end(self, error: BaseException | None) -> None:
        """Gives the permit back with the call's error, or None for a result."""
        if error is None:
            self.release(Outcome.GOOD)
        elif isinstance(error, NoInstance):
            # No call was made, so nobody is spared by making none; and when an instance comes it is to be called.
            self.release(Outcome.IGNORED)
        elif speaks_against(error):
            self.release(Outcome.BAD)
        elif isinstance(error, Exception) and not isinstance(error, RpcError):
            self.release(Outcome.ANSWERED)
        else:
            self.release(Outcome.IGNORED)

    def release(self, outcome: Outcome) -> None:
        """Gives the permit back. A second time does nothing."""
        now = self._breaker.now()
        self._breaker.take_back(self, outcome, now, is_slow=now >= self._slow_at)
        self.epoch = _SPENT


class Breaker(Gate):
    """The breaker of one method of one service; a `ClientFilter`.

    Args:
        clock: where time comes from.
        chance: varies how long it stays open.
        limits: when it opens.
        name: of the method, for messages.

    Attributes:
        opened: how often it has opened.
        refused: calls that it has not let through.
    """

    def __init__(self, clock: Clock, chance: Chance, limits: BreakerLimits | None = None, *, name: str = "") -> None:
        self.limits = limits or BreakerLimits()
        self.now = clock.monotonic
        self.name = name
        self.opened = 0
        self.refused = 0
        self._chance = chance
        self._state = State.CLOSED
        self._window = Window(3, slots=self.limits.window_slots)
        self._epoch = 0  # counts changes of state: what was let through in one says nothing in another
        self._times = 0  # opened in a row
        self._open_until = 0.0
        self._leases: set[Permit] = set()
        self._good_probes = 0
        after = self.limits.slow_after
        self._slow_seconds = None if after is None else after.total_seconds()

    @property
    def state(self) -> State:
        """What it does with a call now."""
        if self._state is State.OPEN and self.now() >= self._open_until:
            return State.HALF_OPEN
        return self._state

    def enter(self, call: Invocation) -> "Permit | tuple[int, float]":
        """Lets the call in, or refuses it."""
        if self._state is not _CLOSED:
            return self.admit(call.timeout_ms)
        # A good call of a closed breaker does without a permit: it is what nearly all calls are.
        return self._epoch, self._slow_at(self.now(), call.timeout_ms * 0.001)

    def leave(self, entered: "Permit | tuple[int, float]", error: BaseException | None) -> None:
        """Takes its outcome."""
        if isinstance(entered, Permit):
            entered.end(error)
            return
        epoch, slow_at = entered
        now = self.now()
        if error is not None or now >= slow_at:
            Permit(self, epoch, slow_at, slow_at).end(error)
        elif epoch == self._epoch:
            self._window.add(now, _CALLS)

    def admit(self, timeout_ms: int) -> Permit:
        """Lets a call pass.

        Args:
            timeout_ms: the time it has, and so a probe's lease.

        Raises:
            BreakerOpen: it does not pass.
        """
        now = self.now()
        if self._state is not State.CLOSED:
            self._check_probe(now)
        seconds = timeout_ms * 0.001
        permit = Permit(self, self._epoch, self._slow_at(now, seconds), now + seconds)
        if self._state is State.HALF_OPEN:
            self._leases.add(permit)
        return permit

    def force_open(self, seconds: float) -> None:
        """Opens it by hand; afterwards probes pass as usual."""
        self._open(self.now(), seconds)

    def reset(self) -> None:
        """Closes it by hand, and forgets what it has counted."""
        self._times = 0
        self._close()

    def take_back(self, permit: Permit, outcome: Outcome, now: float, *, is_slow: bool) -> None:
        """Takes a permit back; see `Permit.release`."""
        self._leases.discard(permit)
        if permit.epoch != self._epoch or outcome is Outcome.IGNORED:
            return
        if self._state is State.HALF_OPEN:
            self._judge_probe(outcome, now, is_slow=is_slow)
        elif self._state is State.CLOSED and outcome is not Outcome.ANSWERED:
            window = self._window
            window.add(now, _CALLS)
            if outcome is Outcome.BAD:
                window.add(now, _FAILED)
            if is_slow:
                window.add(now, _SLOW)
            if is_slow or outcome is Outcome.BAD:
                self._judge(now)

    def _slow_at(self, began_at: float, timeout_seconds: float) -> float:
        slow = self._slow_seconds
        return began_at + (timeout_seconds * SLOW_SHARE_OF_TIMEOUT if slow is None else slow)

    def _judge(self, now: float) -> None:
        calls, failed, slow = self._window.totals
        limits = self.limits
        if calls >= limits.calls_min and (failed >= calls * limits.failed_share or slow >= calls * limits.slow_share):
            self._open(now, self._next_seconds())

    def _check_probe(self, now: float) -> None:
        if self._state is State.OPEN:
            if now < self._open_until:
                self._refuse(self._open_until - now)
            self._state = State.HALF_OPEN
            self._epoch += 1
            self._good_probes = 0
            self._leases.clear()
        if len(self._leases) >= self.limits.probes:
            self._leases = {lease for lease in self._leases if lease.expires_at > now}
            if len(self._leases) >= self.limits.probes:
                self._refuse(min(lease.expires_at for lease in self._leases) - now)

    def _judge_probe(self, outcome: Outcome, now: float, *, is_slow: bool) -> None:
        if outcome is Outcome.BAD or is_slow:
            self._open(now, self._next_seconds())
            return
        self._good_probes += 1
        if self._good_probes >= self.limits.probes:
            self._times = 0
            self._close()

    def _close(self) -> None:
        _log.info("the breaker of %s is closed", self.name or "a method")
        self._state = State.CLOSED
        self._epoch += 1
        self._window.clear()
        self._leases.clear()

    def _open(self, now: float, seconds: float) -> None:
        self._state = State.OPEN
        self._epoch += 1
        self._open_until = now + seconds
        self._leases.clear()
        self.opened += 1
        _log.warning("the breaker of %s is open for %.1f s", self.name or "a method", seconds)

    def _next_seconds(self) -> float:
        first, cap = self.limits.open_first.total_seconds(), self.limits.open_cap.total_seconds()
        seconds = min(first * (1 << self._times), cap)
        self._times = min(self._times + 1, _DOUBLINGS_MAX)
        return seconds * self._chance.uniform(1 - _VARIATION, 1 + _VARIATION)

    def _refuse(self, seconds: float) -> None:
        self.refused += 1
        milliseconds = max(1, round(seconds * 1000))
        message = f"{self.name or 'the method'} failed too often of late; the next call is let through in"
        raise BreakerOpen(f"{message} {milliseconds} ms", retry_after_ms=milliseconds)
