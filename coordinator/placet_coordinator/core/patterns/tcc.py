"""TCC: try everywhere, then confirm everywhere or cancel everywhere.

Pardon and Pautasso, "Atomic Distributed Transactions: a RESTful Design" (2014), describe the pattern. We depart from
Seata and dtm in three ways: every registered branch is cancelled, tried, rejected or not (its barrier makes that safe);
phase two runs in parallel; and the coordinator may drive the tries itself (`drive`).
"""

from collections.abc import Mapping

from msgspec.structs import replace

from placet_contract.vocabulary import BranchStatus, Operation, Outcome, Reason, Status
from placet_coordinator.core.calling import (
    LOOK_AGAIN_MS,
    OVERDUE,
    decided,
    done_forward,
    finished,
    is_current,
    phase_two_answered,
    released,
    send_all,
    settled,
    waiting,
    with_progress,
    without_overdue,
)
from placet_coordinator.core.events import (
    AbortAsked,
    Adopted,
    Answered,
    BeginAsked,
    CommitAsked,
    Event,
    RegisterAsked,
    RetryAsked,
    TimePassed,
)
from placet_coordinator.core.moves import (
    ABORT_WON,
    COMMIT_WON,
    FINISHED,
    REPEAT,
    Illegal,
    Legal,
    Move,
    PatternRules,
    Refusal,
    RefusalKind,
    Step,
    Table,
)
from placet_coordinator.core.registration import add_branches
from placet_coordinator.core.transaction import Transaction

_DRIVEN_TAKES_NEITHER = Illegal(
    Refusal(
        RefusalKind.RULE,
        "a driven tcc takes neither branches nor a commit: the coordinator calls the tries and decides",
    )
)


def _begun(transaction: Transaction, now_ms: int) -> Step:
    return _advance(transaction, now_ms)


def _register(transaction: Transaction, event: Event, now_ms: int) -> Step:
    """Add branches; their tries are the initiator's to call."""
    assert isinstance(event, RegisterAsked)
    step = add_branches(transaction, event.branches)
    # A repeat has to give the very same transaction: whoever does not own it must not take it over (decision 0002).
    return step if step.transaction is transaction else _advance(step.transaction, now_ms)


def _commit(transaction: Transaction, _event: Event, now_ms: int) -> Step:
    """Decide to commit, and confirm every branch at once."""
    return _advance(decided(transaction, Status.COMMITTING, now_ms), now_ms)


def _abort(transaction: Transaction, event: Event, now_ms: int) -> Step:
    """Decide to abort, and cancel every branch at once, tried, rejected or not."""
    assert isinstance(event, AbortAsked)
    return _aborted(transaction, event.reason, now_ms, event.reason_text)


def _aborted(transaction: Transaction, reason: Reason, now_ms: int, text: str | None = None) -> Step:
    return _advance(decided(transaction, Status.ABORTING, now_ms, reason, text), now_ms)


def _tried(transaction: Transaction, event: Event, now_ms: int) -> Step:
    """Take the answer to a try: the last one done commits, anything but done aborts; no try is sent twice."""
    assert isinstance(event, Answered)
    progress = transaction.progress[event.index]
    if not is_current(progress, event):
        return Step(transaction)
    verdict = event.verdict
    if verdict.outcome is Outcome.DONE:
        transaction = with_progress(transaction, event.index, done_forward(transaction, progress, event))
        if all(each.status is BranchStatus.DONE for each in transaction.progress):
            transaction = decided(transaction, Status.COMMITTING, now_ms)
        return _advance(transaction, now_ms)
    if verdict.outcome is Outcome.REJECTED:
        refused = settled(progress, BranchStatus.REJECTED, verdict.detail)
        reason = Reason.LATE if verdict.late else Reason.REJECTED
        return _aborted(with_progress(transaction, event.index, refused), reason, now_ms, verdict.detail)
    unknown = replace(progress, calling=False, next_at_ms=None, note=verdict.detail)
    return _aborted(with_progress(transaction, event.index, unknown), Reason.UNKNOWN, now_ms, verdict.detail)


def _confirmed(transaction: Transaction, event: Event, now_ms: int) -> Step:
    """Take the answer to a confirm: repeated until it is done; the last one done ends the transaction."""
    assert isinstance(event, Answered)
    return phase_two_answered(transaction, event, now_ms, _advance, owed=Operation.CONFIRM, done=BranchStatus.CONFIRMED)


def _cancelled(transaction: Transaction, event: Event, now_ms: int) -> Step:
    """Take the answer to a cancel: repeated until it is done; the last one done ends the transaction."""
    assert isinstance(event, Answered)
    return phase_two_answered(transaction, event, now_ms, _advance, owed=Operation.CANCEL, done=BranchStatus.CANCELLED)


def _time_passed(transaction: Transaction, _event: Event, now_ms: int) -> Step:
    """Abort an active transaction past its timeout; repeat the calls that are due."""
    transaction = without_overdue(transaction, now_ms)
    times_out_at_ms = transaction.times_out_at_ms
    if (
        transaction.status is Status.ACTIVE
        and transaction.paused_at_ms is None
        and times_out_at_ms is not None
        and times_out_at_ms <= now_ms
    ):
        return _aborted(transaction, Reason.TIMEOUT, now_ms)
    return _advance(transaction, now_ms)


def _driven_time_passed(transaction: Transaction, event: Event, now_ms: int) -> Step:
    """Abort past the timeout, and when a try came to no end: it would have to be sent twice."""
    seen = without_overdue(transaction, now_ms)
    if seen is not transaction:
        return _aborted(seen, Reason.UNKNOWN, now_ms, OVERDUE)
    return _time_passed(transaction, event, now_ms)


def _adopted(transaction: Transaction, _event: Event, now_ms: int) -> Step:
    """Take over: every earlier call counts as unanswered, and what is owed is called again."""
    transaction = released(transaction)
    if transaction.status is not Status.ACTIVE and transaction.decided_at_ms is None:
        # Decided without a read (design, section 4): the columns say so, the document does not know the time.
        transaction = replace(transaction, decided_at_ms=now_ms)
    return _time_passed(transaction, TimePassed(), now_ms)


def _driven_adopted(transaction: Transaction, _event: Event, now_ms: int) -> Step:
    """Take over by aborting: tries go out once, and nobody can know any more which did."""
    return _aborted(released(transaction), Reason.UNKNOWN, now_ms, "the coordinator that called the tries is gone")


def _retry(transaction: Transaction, _event: Event, now_ms: int) -> Step:
    """Call at once what waits for its backoff."""
    progress = tuple(each if each.calling else replace(each, next_at_ms=None) for each in transaction.progress)
    return _advance(replace(transaction, progress=progress), now_ms)


def _advance(transaction: Transaction, now_ms: int) -> Step:
    """Ask for every call that is due, or end the transaction when none is owed."""
    phase_two = _PHASE_TWO.get(transaction.status)
    if phase_two is not None:
        return _owe(transaction, *phase_two, now_ms)
    if transaction.drive:
        sending = send_all(transaction, Operation.TRY, BranchStatus.DONE, now_ms)
        return Step(waiting(transaction, sending, now_ms, transaction.times_out_at_ms), tuple(sending.calls))
    times_out_at_ms = transaction.times_out_at_ms
    if times_out_at_ms is None or transaction.paused_at_ms is not None:
        return Step(replace(transaction, next_due_at_ms=now_ms + LOOK_AGAIN_MS))
    return Step(replace(transaction, next_due_at_ms=max(times_out_at_ms, now_ms + 1)))


_PHASE_TWO = {
    Status.COMMITTING: (Operation.CONFIRM, BranchStatus.CONFIRMED, Status.COMMITTED),
    Status.ABORTING: (Operation.CANCEL, BranchStatus.CANCELLED, Status.ABORTED),
}
"""What every branch is owed once a decision is made: the operation, what it makes of the branch, and the end of all."""


def _owe(transaction: Transaction, operation: Operation, fulfilled: BranchStatus, end: Status, now_ms: int) -> Step:
    for each in transaction.progress:
        if each.status is not fulfilled:
            sending = send_all(transaction, operation, fulfilled, now_ms)
            return Step(waiting(transaction, sending, now_ms), tuple(sending.calls))
    return Step(finished(transaction, end, now_ms))


_TABLE: Table = {
    Status.ACTIVE: {
        BeginAsked: REPEAT,
        RegisterAsked: Legal(_register, (Status.ACTIVE,)),
        CommitAsked: Legal(_commit, (Status.COMMITTING, Status.COMMITTED)),
        AbortAsked: Legal(_abort, (Status.ABORTING, Status.ABORTED)),
        Answered: REPEAT,
        TimePassed: Legal(_time_passed, (Status.ACTIVE, Status.ABORTING, Status.ABORTED)),
        Adopted: Legal(_adopted, (Status.ACTIVE, Status.ABORTING, Status.ABORTED)),
        RetryAsked: Legal(_retry, (Status.ACTIVE,)),
    },
    Status.COMMITTING: {
        BeginAsked: REPEAT,
        RegisterAsked: COMMIT_WON,
        CommitAsked: REPEAT,
        AbortAsked: COMMIT_WON,
        Answered: Legal(_confirmed, (Status.COMMITTING, Status.COMMITTED)),
        TimePassed: Legal(_time_passed, (Status.COMMITTING,)),
        Adopted: Legal(_adopted, (Status.COMMITTING, Status.COMMITTED)),
        RetryAsked: Legal(_retry, (Status.COMMITTING,)),
    },
    Status.COMMITTED: {
        BeginAsked: REPEAT,
        RegisterAsked: COMMIT_WON,
        CommitAsked: REPEAT,
        AbortAsked: COMMIT_WON,
        Answered: REPEAT,
        TimePassed: REPEAT,
        Adopted: REPEAT,
        RetryAsked: FINISHED,
    },
    Status.ABORTING: {
        BeginAsked: ABORT_WON,
        RegisterAsked: ABORT_WON,
        CommitAsked: ABORT_WON,
        AbortAsked: REPEAT,
        Answered: Legal(_cancelled, (Status.ABORTING, Status.ABORTED)),
        TimePassed: Legal(_time_passed, (Status.ABORTING,)),
        Adopted: Legal(_adopted, (Status.ABORTING, Status.ABORTED)),
        RetryAsked: Legal(_retry, (Status.ABORTING,)),
    },
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

_NEITHER: Mapping[type[Event], Move] = {RegisterAsked: _DRIVEN_TAKES_NEITHER, CommitAsked: _DRIVEN_TAKES_NEITHER}

_DRIVEN_TABLE: Table = {
    Status.ACTIVE: {
        **_TABLE[Status.ACTIVE],
        **_NEITHER,
        AbortAsked: Legal(_abort, (Status.ABORTING,)),
        Answered: Legal(_tried, (Status.ACTIVE, Status.COMMITTING, Status.ABORTING)),
        TimePassed: Legal(_driven_time_passed, (Status.ACTIVE, Status.ABORTING)),
        Adopted: Legal(_driven_adopted, (Status.ABORTING,)),
    },
    Status.COMMITTING: {**_TABLE[Status.COMMITTING], **_NEITHER, Adopted: Legal(_adopted, (Status.COMMITTING,))},
    Status.COMMITTED: {**_TABLE[Status.COMMITTED], **_NEITHER},
    Status.ABORTING: {**_TABLE[Status.ABORTING], **_NEITHER, Adopted: Legal(_adopted, (Status.ABORTING,))},
    Status.ABORTED: {**_TABLE[Status.ABORTED], **_NEITHER},
}

TCC = PatternRules(name="tcc", table=_TABLE, begun=_begun)
DRIVEN_TCC = PatternRules(name="driven tcc", table=_DRIVEN_TABLE, begun=_begun)
