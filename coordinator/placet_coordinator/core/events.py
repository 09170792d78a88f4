"""What can happen to a transaction. Facts and requests only; what follows from them is the patterns' business."""

from msgspec import Raw, Struct

from placet_contract.outcomes import Verdict
from placet_contract.vocabulary import Operation, Reason
from placet_coordinator.core.transaction import Branch, Transaction


class BeginAsked(Struct, frozen=True):
    """Somebody begins a gid that exists; `asked` is the transaction as it would be if it were new."""

    asked: Transaction


class RegisterAsked(Struct, frozen=True):
    """The initiator adds branches."""

    branches: tuple[Branch, ...]


class CommitAsked(Struct, frozen=True):
    """The initiator wants all of it to happen."""


class AbortAsked(Struct, frozen=True):
    """The initiator or an operator wants none of it to happen."""

    reason: Reason = Reason.INITIATOR
    reason_text: str | None = None


class Answered(Struct, frozen=True):
    """A call of a branch came to its end.

    Attributes:
        result: the answer's JSON body; null if there was none, or it can't be kept.
        sent: False if the request surely never left us: then nothing of it can run.
        deadline_at_ms: until then an unanswered call may still be at work over there.
        chance: a uniform draw from [0, 1) for the backoff's jitter.
    """

    index: int
    operation: Operation
    attempt: int
    verdict: Verdict
    result: Raw
    sent: bool
    deadline_at_ms: int
    chance: float


class TimePassed(Struct, frozen=True):
    """The transaction's due time came: a timeout, a retry, or the deadline of an unanswered call."""


class Adopted(Struct, frozen=True):
    """A node took the transaction up from the store: what was sent before, and not answered in the row, is unknown."""


class RetryAsked(Struct, frozen=True):
    """An operator wants the waiting calls made now."""


Event = BeginAsked | RegisterAsked | CommitAsked | AbortAsked | Answered | TimePassed | Adopted | RetryAsked

EVENTS: tuple[type[Event], ...] = (
    BeginAsked,
    RegisterAsked,
    CommitAsked,
    AbortAsked,
    Answered,
    TimePassed,
    Adopted,
    RetryAsked,
)
