"""The participants' port: one call of one operation of one branch."""

from collections.abc import Callable
from typing import Protocol

from msgspec import Raw, Struct

from placet_contract.outcomes import Verdict
from placet_contract.vocabulary import Operation
from placet_coordinator.core.transaction import Branch, Transaction


class BranchCall(Struct, frozen=True):
    """What to call."""

    transaction: Transaction
    branch: Branch
    index: int
    operation: Operation
    attempt: int


class CallEnd(Struct, frozen=True):
    """How a call ended.

    Attributes:
        participant: its name for metrics and limits: the service, or host and port of the URL.
        result: the JSON body of a 2xx; null if there was none, or it can't be kept (the verdict's detail says why).
        sent: False if the request surely never left us.
        deadline_at_ms: until then an unanswered call may still be at work over there.
    """

    participant: str
    verdict: Verdict
    result: Raw
    sent: bool
    started_at_ms: int
    duration_ms: int
    deadline_at_ms: int


class Participants(Protocol):
    """Calls to branches. It never repeats a call: attempts belong to the engine."""

    def call(self, call: BranchCall, ended: Callable[[CallEnd], None]) -> None:
        """Make one call, and tell `ended` how it ended.

        `ended` is called exactly once, on the loop, whatever happens, at the latest when the call's timeout and the
        longest wait for a place in the participant's queue are over.
        """
