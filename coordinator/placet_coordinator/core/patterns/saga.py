"""Saga: actions in the order of `after`, each undone by a compensation if a later one fails.

Garcia-Molina and Salem, "Sagas" (SIGMOD 1987); the pivot (from there only forward) is Richardson's word. Unlike Seata
and dtm: an action that was rejected is not compensated (unless an earlier attempt of it may have run), a compensation
waits until the action's outstanding call is over, and a pivot is durable before it is sent.

The row does not prove that a step was *not* started, for sends are not journaled. So an abort undoes every step except
those durably rejected and those that an owner with unbroken ownership since begin knows it never sent.
"""

from msgspec.structs import replace

from placet_contract.vocabulary import BranchStatus, Operation, Outcome, Reason, Status
from placet_coordinator.core.calling import (
    Sending,
    decided,
    done_forward,
    finished,
    is_current,
    is_due,
    phase_two_answered,
    postponed,
    released,
    send,
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
    PatternRules,
    Refusal,
    RefusalKind,
    Step,
    Table,
)
from placet_coordinator.core.order import in_order
from placet_coordinator.core.transaction import Branch, Progress, Transaction

_NO_COMMIT = Illegal(Refusal(RefusalKind.RULE, "a saga takes no commit: it commits when its last step is done"))
_NO_BRANCHES = Illegal(Refusal(RefusalKind.RULE, "a saga takes no further branches: its steps are those of begin"))
_PIVOT_SENT = Refusal(RefusalKind.DECIDED, "the pivot was sent: from there only its own rejection can abort the saga")


def _begun(transaction: Transaction, now_ms: int) -> Step:
    return _forward(transaction, now_ms)


def _abort(transaction: Transaction, event: Event, now_ms: int) -> Step:
    """Decide to abort, and compensate; refused once the pivot was sent."""
    assert isinstance(event, AbortAsked)
    if _pivot_was_sent(transaction):
        return Step(transaction, refusal=_PIVOT_SENT)
    return _aborted(transaction, event.reason, now_ms, event.reason_text)


def _aborted(transaction: Transaction, reason: Reason, now_ms: int, text: str | None = None) -> Step:
    return _backward(decided(transaction, Status.ABORTING, now_ms, reason, text), now_ms)


def _acted(transaction: Transaction, event: Event, now_ms: int) -> Step:
    """Take the answer to an action: done starts the steps after it, rejected or used-up retries abort."""
    assert isinstance(event, Answered)
    progress, branch = transaction.progress[event.index], transaction.branches[event.index]
    if not is_current(progress, event):
        return Step(transaction)
    progress = _with_evidence(progress, event)
    outcome = event.verdict.outcome
    if outcome is Outcome.DONE:
        transaction = with_progress(transaction, event.index, _done(transaction, progress, event))
        if branch.pivot and transaction.status is Status.ACTIVE:
            transaction = decided(transaction, Status.COMMITTING, now_ms)
        return _forward(transaction, now_ms)
    only_forward = transaction.status is Status.COMMITTING
    if outcome is Outcome.REJECTED and not only_forward:
        reason = Reason.LATE if event.verdict.late else Reason.REJECTED
        return _aborted(
            with_progress(transaction, event.index, _refused(progress, event)), reason, now_ms, event.verdict.detail
        )
    if outcome is Outcome.UNKNOWN:
        progress = replace(progress, tries_used=progress.tries_used + 1)
    may_abort = not only_forward and not progress.pivot_sent
    if not _is_exhausted(progress, branch, now_ms):
        progress = postponed(progress, branch, event, now_ms)
        progress = _not_past_its_limit(progress, branch) if may_abort else progress
    elif may_abort:
        given_up = replace(progress, calling=False, next_at_ms=None, note=event.verdict.detail)
        text = f"step {branch.branch_id}: {event.verdict.detail}"
        return _aborted(with_progress(transaction, event.index, given_up), Reason.EXHAUSTED, now_ms, text)
    else:
        trouble = f"step {branch.branch_id} has used up its retries and can't be undone: {event.verdict.detail}"
        progress = replace(postponed(progress, branch, event, now_ms), trouble=trouble)
    return _forward(with_progress(transaction, event.index, progress), now_ms)


def _with_evidence(progress: Progress, answer: Answered) -> Progress:
    """Note what this answer proves: whether the action may have run, and until when it may be running."""
    if not answer.sent:
        # A pivot of which no attempt ever left was not sent: its mark is lifted (decision 0007).
        return progress if progress.may_have_run else replace(progress, pivot_sent=False)
    if answer.verdict.answered:
        return replace(progress, may_have_run=True)
    return replace(
        progress,
        may_have_run=True,
        unanswered=True,
        open_until_ms=max(progress.open_until_ms, answer.deadline_at_ms),
    )


def _done(transaction: Transaction, progress: Progress, answer: Answered) -> Progress:
    """An earlier attempt that is unanswered has no work left to do: this answer is its answer, too."""
    return replace(done_forward(transaction, progress, answer), open_until_ms=0)


def _refused(progress: Progress, answer: Answered) -> Progress:
    """A rejection is final only if no other attempt may have run; late means that one may have."""
    refused = settled(progress, BranchStatus.REJECTED, answer.verdict.detail)
    return replace(refused, undo=progress.unanswered or answer.verdict.late)


def _is_exhausted(progress: Progress, branch: Branch, now_ms: int) -> bool:
    retry = branch.retry
    if retry.max_attempts is not None and progress.tries_used >= retry.max_attempts:
        return True
    return (
        retry.for_ms is not None and progress.first_at_ms is not None and now_ms - progress.first_at_ms >= retry.for_ms
    )


def _not_past_its_limit(progress: Progress, branch: Branch) -> Progress:
    """Let the last attempt come at `for_ms`, not a backoff later."""
    if branch.retry.for_ms is None or progress.first_at_ms is None or progress.next_at_ms is None:
        return progress
    return replace(progress, next_at_ms=min(progress.next_at_ms, progress.first_at_ms + branch.retry.for_ms))


def _undo_answered(transaction: Transaction, event: Event, now_ms: int) -> Step:
    """Take the answer to a compensation, repeated until it is done, or to an action that was still out."""
    assert isinstance(event, Answered)
    if event.operation is Operation.COMPENSATE:
        return phase_two_answered(
            transaction, event, now_ms, _backward, owed=Operation.COMPENSATE, done=BranchStatus.COMPENSATED
        )
    progress = transaction.progress[event.index]
    if not is_current(progress, event):
        return Step(transaction)
    progress = _with_evidence(progress, event)
    if event.verdict.outcome is Outcome.DONE:
        progress = _done(transaction, progress, event)
    elif event.verdict.outcome is Outcome.REJECTED:
        progress = _refused(progress, event)
    else:
        progress = replace(progress, calling=False, next_at_ms=None, note=event.verdict.detail)
    return _backward(with_progress(transaction, event.index, progress), now_ms)


def _time_passed(transaction: Transaction, _event: Event, now_ms: int) -> Step:
    """Abort an active saga past its timeout, unless its pivot was sent; make the calls that are due."""
    transaction = without_overdue(transaction, now_ms)
    times_out_at_ms = transaction.times_out_at_ms
    if (
        transaction.status is Status.ACTIVE
        and transaction.paused_at_ms is None
        and times_out_at_ms is not None
        and times_out_at_ms <= now_ms
        and not _pivot_was_sent(transaction)
    ):
        return _aborted(transaction, Reason.TIMEOUT, now_ms)
    return _advance(transaction, now_ms)


def _adopted(transaction: Transaction, _event: Event, now_ms: int) -> Step:
    """Take over: every step that the row does not show as over may have been sent, and may be at work right now.

    A pivot is written before it is sent, so its row is proof, and so is it for every step after the pivot.
    """
    never_sent = _never_sent(transaction)
    progress = tuple(
        each if index in never_sent else _doubted(each, transaction.branches[index], now_ms)
        for index, each in enumerate(transaction.progress)
    )
    return _time_passed(released(replace(transaction, progress=progress)), TimePassed(), now_ms)


def _never_sent(transaction: Transaction) -> set[int]:
    """Return the steps that no owner ever sent: a pivot without its mark, and all that come after it."""
    order = in_order(transaction.branches)
    for place, index in enumerate(order):
        if transaction.branches[index].pivot and not transaction.progress[index].pivot_sent:
            return set(order[place:])  # each step is ordered before or after a pivot (`order.check_order`)
    return set()


def _doubted(progress: Progress, branch: Branch, now_ms: int) -> Progress:
    if progress.status is not BranchStatus.PENDING or progress.operation is Operation.COMPENSATE:
        return progress  # its answer is in the row, or its deadline had passed when its compensation was sent
    return replace(progress, may_have_run=True, unanswered=True, open_until_ms=now_ms + branch.timeout_ms)


def _retry(transaction: Transaction, _event: Event, now_ms: int) -> Step:
    """Call at once what waits for its backoff."""
    progress = tuple(each if each.calling else replace(each, next_at_ms=None) for each in transaction.progress)
    return _advance(replace(transaction, progress=progress), now_ms)


def _advance(transaction: Transaction, now_ms: int) -> Step:
    return _backward(transaction, now_ms) if transaction.status is Status.ABORTING else _forward(transaction, now_ms)


def _pivot_was_sent(transaction: Transaction) -> bool:
    return any(each.pivot_sent for each in transaction.progress)


def _forward(transaction: Transaction, now_ms: int) -> Step:
    """Send every action whose predecessors are done; commit when the last one is."""
    done = {
        branch.branch_id
        for branch, each in zip(transaction.branches, transaction.progress, strict=True)
        if each.status is BranchStatus.DONE
    }
    if len(done) == len(transaction.branches):
        return Step(finished(transaction, Status.COMMITTED, now_ms))
    sending, pivot_goes_out = Sending(transaction), False
    for index, branch in enumerate(transaction.branches):
        progress = sending.progress[index]
        if transaction.paused_at_ms is not None or branch.branch_id in done or not done.issuperset(branch.after):
            continue
        if not is_due(progress, Operation.ACTION, now_ms):
            continue
        if branch.pivot and not progress.pivot_sent:
            sending.progress[index] = replace(progress, pivot_sent=True)
            pivot_goes_out = True
        send(sending, index, branch, Operation.ACTION, now_ms)
    pivot_was_sent = any(each.pivot_sent for each in sending.progress)
    timeout = transaction.times_out_at_ms
    counts = transaction.status is Status.ACTIVE and not pivot_was_sent
    changed = waiting(transaction, sending, now_ms, timeout if counts else None)
    return Step(changed, tuple(sending.calls), awaited=pivot_goes_out)


def _backward(transaction: Transaction, now_ms: int) -> Step:
    """Compensate in reverse `after` order: a step once its own call is over and every step after it is settled."""
    sending = Sending(transaction)
    followers_open: set[str] = set()
    for index in reversed(in_order(transaction.branches)):
        branch, progress = transaction.branches[index], sending.progress[index]
        if not _is_settled(progress) and branch.branch_id not in followers_open and not _is_busy(progress, now_ms):
            progress = _undo(transaction, sending, index, now_ms)
        if not _is_settled(progress):
            followers_open.update(branch.after)  # whoever comes before this step waits for it
    if all(map(_is_settled, sending.progress)):
        ended = replace(transaction, progress=tuple(sending.progress))
        return Step(finished(ended, Status.ABORTED, now_ms))
    return Step(waiting(transaction, sending, now_ms), tuple(sending.calls))


def _undo(transaction: Transaction, sending: Sending, index: int, now_ms: int) -> Progress:
    branch, progress = transaction.branches[index], sending.progress[index]
    if not progress.may_have_run or not branch.compensate or not branch.offers(Operation.COMPENSATE):
        sending.progress[index] = settled(progress, BranchStatus.SKIPPED)
    elif transaction.paused_at_ms is None and is_due(progress, Operation.COMPENSATE, now_ms):
        send(sending, index, branch, Operation.COMPENSATE, now_ms)
    return sending.progress[index]


def _is_settled(progress: Progress) -> bool:
    if progress.status is BranchStatus.REJECTED:
        return not progress.undo
    return progress.status in (BranchStatus.COMPENSATED, BranchStatus.SKIPPED)


def _is_busy(progress: Progress, now_ms: int) -> bool:
    """Say whether the action may still be at work: its call is out, or an unanswered one is not past its deadline."""
    if progress.calling and progress.operation is Operation.ACTION:
        return True
    return progress.open_until_ms > now_ms


_TABLE: Table = {
    Status.ACTIVE: {
        BeginAsked: REPEAT,
        RegisterAsked: _NO_BRANCHES,
        CommitAsked: _NO_COMMIT,
        AbortAsked: Legal(_abort, (Status.ACTIVE, Status.ABORTING, Status.ABORTED)),
        Answered: Legal(_acted, (Status.ACTIVE, Status.COMMITTING, Status.COMMITTED, Status.ABORTING, Status.ABORTED)),
        TimePassed: Legal(_time_passed, (Status.ACTIVE, Status.ABORTING, Status.ABORTED)),
        Adopted: Legal(_adopted, (Status.ACTIVE, Status.ABORTING, Status.ABORTED)),
        RetryAsked: Legal(_retry, (Status.ACTIVE,)),
    },
    Status.COMMITTING: {
        BeginAsked: REPEAT,
        RegisterAsked: _NO_BRANCHES,
        CommitAsked: _NO_COMMIT,
        AbortAsked: COMMIT_WON,
        Answered: Legal(_acted, (Status.COMMITTING, Status.COMMITTED)),
        TimePassed: Legal(_time_passed, (Status.COMMITTING,)),
        Adopted: Legal(_adopted, (Status.COMMITTING,)),
        RetryAsked: Legal(_retry, (Status.COMMITTING,)),
    },
    Status.COMMITTED: {
        BeginAsked: REPEAT,
        RegisterAsked: _NO_BRANCHES,
        CommitAsked: _NO_COMMIT,
        AbortAsked: COMMIT_WON,
        Answered: REPEAT,
        TimePassed: REPEAT,
        Adopted: REPEAT,
        RetryAsked: FINISHED,
    },
    Status.ABORTING: {
        BeginAsked: ABORT_WON,
        RegisterAsked: _NO_BRANCHES,
        CommitAsked: _NO_COMMIT,
        AbortAsked: REPEAT,
        Answered: Legal(_undo_answered, (Status.ABORTING, Status.ABORTED)),
        TimePassed: Legal(_time_passed, (Status.ABORTING, Status.ABORTED)),
        Adopted: Legal(_adopted, (Status.ABORTING, Status.ABORTED)),
        RetryAsked: Legal(_retry, (Status.ABORTING, Status.ABORTED)),
    },
    Status.ABORTED: {
        BeginAsked: ABORT_WON,
        RegisterAsked: _NO_BRANCHES,
        CommitAsked: _NO_COMMIT,
        AbortAsked: REPEAT,
        Answered: REPEAT,
        TimePassed: REPEAT,
        Adopted: REPEAT,
        RetryAsked: FINISHED,
    },
}

SAGA = PatternRules(name="saga", table=_TABLE, begun=_begun)
