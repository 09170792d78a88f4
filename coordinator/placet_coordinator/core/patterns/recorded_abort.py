"""An abort of a gid that nobody had begun: recorded, so that a begin still on its way is refused.

Without it, an initiator that gave up and aborted could meet its own delayed begin later, and the transaction would live
on with nobody behind it (wire.md: "an unknown gid is recorded as aborted").
"""

from placet_contract.vocabulary import Reason, Status
from placet_coordinator.core.calling import finished
from placet_coordinator.core.events import (
    AbortAsked,
    Adopted,
    Answered,
    BeginAsked,
    CommitAsked,
    RegisterAsked,
    RetryAsked,
    TimePassed,
)
from placet_coordinator.core.moves import ABORT_WON, FINISHED, REPEAT, PatternRules, Step, Table
from placet_coordinator.core.transaction import Transaction

_TABLE: Table = {
    Status.ABORTED: {
        BeginAsked: ABORT_WON,
        RegisterAsked: ABORT_WON,
        CommitAsked: ABORT_WON,
        AbortAsked: REPEAT,
        Answered: REPEAT,
        TimePassed: REPEAT,
        Adopted: REPEAT,
        RetryAsked: FINISHED,
    },
}


def recorded_abort(gid: str, reason_text: str | None, now_ms: int) -> Transaction:
    """Return the transaction that stands for an abort without a begin."""
    aborted = Transaction(
        gid=gid,
        pattern=None,
        status=Status.ABORTED,
        created_at_ms=now_ms,
        reason=Reason.INITIATOR,
        reason_text=reason_text,
    )
    return finished(aborted, Status.ABORTED, now_ms)


def _begun(transaction: Transaction, _now_ms: int) -> Step:
    return Step(transaction, awaited=True)


RECORDED_ABORT = PatternRules(name="recorded abort", table=_TABLE, begun=_begun)
