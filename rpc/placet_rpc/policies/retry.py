"""When a failed call is sent again, and after how long.

An attempt that never left, or that an instance refused because it is going away, costs nobody anything: the next
instance is tried at once. Every other repeat counts as an attempt, waits with full jitter or as long as the server
asks, and comes out of the budget. Nothing is repeated that might have an effect twice.
"""

from dataclasses import dataclass
from datetime import timedelta

from placet_contract.backoff import backoff_ms
from placet_rpc.errors import (
    BreakerOpen,
    CallOngoing,
    CallRefused,
    ClientClosed,
    LimitReached,
    OutcomeLost,
    RpcError,
    Safety,
    TargetRefused,
)

FREE_HOPS_MAX = 10
"""Instances that a call may pass over because they can't be reached; they cost no attempt and no budget."""

_OF_THE_CALL = frozenset({"header_bytes", "max_message_bytes"})
"""Limits that the call would meet anywhere."""
_NEVER = (BreakerOpen, ClientClosed, OutcomeLost, TargetRefused)
_OF_THE_ORDER = frozenset({"handing_over", "moved", "out_of_order"})
"""Refusals after which a call has to go elsewhere or to wait for another one: `ordering` repeats it, and knows how."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """How often and how soon.

    Attributes:
        attempts: of one call, the first included.
        backoff_first: ceiling of the first delay; doubled by each further one.
        backoff_cap: ceiling of every delay.
        attempt_timeout: of each attempt; None: whatever the call has left.
    """

    attempts: int = 3
    backoff_first: timedelta = timedelta(milliseconds=50)
    backoff_cap: timedelta = timedelta(seconds=1)
    attempt_timeout: timedelta | None = None

    def __post_init__(self) -> None:
        if self.attempts < 1:
            raise ValueError(f"attempts={self.attempts}: a call has at least one attempt")
        if not timedelta() < self.backoff_first <= self.backoff_cap:
            raise ValueError("backoff_first must be longer than nothing, and at most backoff_cap")
        if self.attempt_timeout is not None and self.attempt_timeout < timedelta(milliseconds=1):
            raise ValueError("attempt_timeout must be at least a millisecond")

    def delay_ms(self, error: RpcError, attempt: int, chance: float) -> int:
        """Returns the delay before the attempt after a failed one.

        Args:
            error: of the attempt that failed.
            attempt: its number, from 1.
            chance: a uniform draw from [0, 1).
        """
        if isinstance(error, CallRefused) and error.push_back_ms > 0:
            return error.push_back_ms
        if isinstance(error, CallOngoing) and error.retry_after_ms > 0:
            return error.retry_after_ms
        if isinstance(error, CallOngoing) and error.retry_after_ms > 0:
            return error.retry_after_ms
        first, cap = (value // timedelta(milliseconds=1) for value in (self.backoff_first, self.backoff_cap))
        return backoff_ms(attempt, first_ms=max(first, 1), cap_ms=max(cap, 1), chance=chance)


def may_repeat(error: RpcError, *, idempotent: bool) -> bool:
    """True if sending the call again can't have its effect twice, and may help."""
    if isinstance(error, _NEVER) or (isinstance(error, LimitReached) and error.limit in _OF_THE_CALL):
        return False
    if isinstance(error, CallRefused) and (error.push_back_ms < 0 or error.reason in _OF_THE_ORDER):
        return False
    return error.safety.repeatable or (idempotent and error.safety is Safety.UNKNOWN)


def is_free(error: RpcError) -> bool:
    """True if the attempt cost the service nothing, so that another instance may be tried at once."""
    return error.safety is Safety.NOT_SENT or (isinstance(error, CallRefused) and error.reason == "draining")
