"""Bookkeeping of calls that the patterns share: sending, postponing, settling, and when to look again."""

from collections.abc import Callable

from msgspec.structs import replace

from placet_contract.backoff import backoff_ms
from placet_contract.limits import RESULTS_BYTES_MAX
from placet_contract.transactions import NULL
from placet_contract.vocabulary import BranchStatus, Operation, Outcome, Reason, Status
from placet_coordinator.core.events import Answered
from placet_coordinator.core.moves import Step
from placet_coordinator.core.transaction import Branch, Call, Progress, Transaction

ATTENTION_AFTER_MS = 600_000
"""A call that has failed for ten minutes gets a human's attention; it is still retried, slowly."""

ANSWER_SLACK_MS = 15_000
"""An answer is overdue this long after the call's own timeout: the longest wait for a place in the participant's queue
(10 s) and room for a busy loop."""

OVERDUE = "the call came to no end in time"

LOOK_AGAIN_MS = 60_000
"""An open transaction that waits for nothing in particular is looked at this often, so that none is forgotten."""


class Sending:
    """Branches' progress after some calls were asked for, and those calls."""

    __slots__ = ("calls", "progress")

    def __init__(self, transaction: Transaction) -> None:
        self.progress = list(transaction.progress)
        self.calls: list[Call] = []


def send(sending: Sending, index: int, branch: Branch, operation: Operation, now_ms: int) -> None:
    """Ask for one call, and count it."""
    before = sending.progress[index]
    again = before.operation is operation
    attempt = before.attempts + 1 if again else 1
    sending.progress[index] = replace(
        before,
        operation=operation,
        calling=True,
        attempts=attempt,
        tries_used=before.tries_used if again else 0,
        first_at_ms=before.first_at_ms if again else now_ms,
        next_at_ms=now_ms + branch.timeout_ms + ANSWER_SLACK_MS,
    )
    sending.calls.append(Call(index, operation, attempt))


def send_all(transaction: Transaction, operation: Operation, settled: BranchStatus, now_ms: int) -> Sending:
    """Ask for the operation at every branch that has not settled, whose call is not out and whose time has come."""
    sending = Sending(transaction)
    if transaction.paused_at_ms is not None:
        return sending
    for index, progress in enumerate(transaction.progress):
        if progress.status is not settled and is_due(progress, operation, now_ms):
            send(sending, index, transaction.branches[index], operation, now_ms)
    return sending


def is_due(progress: Progress, operation: Operation, now_ms: int) -> bool:
    """Say whether the operation may be called now: no call of it is out and its backoff is over."""
    if progress.operation is not operation:
        return True
    return not progress.calling and (progress.next_at_ms is None or progress.next_at_ms <= now_ms)


def is_current(progress: Progress, answer: Answered) -> bool:
    """Say whether the answer belongs to the call that is out; any other is stale and changes nothing."""
    return progress.calling and progress.operation is answer.operation and progress.attempts == answer.attempt


def is_breach(answer: Answered) -> bool:
    """Say whether the participant itself said no where the protocol allows no such answer."""
    return answer.verdict.outcome is Outcome.UNKNOWN and answer.verdict.answered


def postponed(progress: Progress, branch: Branch, answer: Answered, now_ms: int) -> Progress:
    """Return the progress of a call that will be made again: backoff, and attention where it is due.

    A breach of the protocol (a refused confirm, a compensation that says no) sets attention at once and is retried at
    the slowest rate, for repeating it quickly helps nobody.
    """
    verdict, retry = answer.verdict, branch.retry
    trouble, what = progress.trouble, f"{answer.operation} of branch {branch.branch_id}"
    if is_breach(answer) or verdict.outcome is Outcome.REJECTED:
        trouble = f"{what}: {verdict.detail or verdict.outcome}"
        delay_ms = backoff_ms(1, first_ms=retry.cap_ms, cap_ms=retry.cap_ms, chance=0.5 + answer.chance / 2)
    else:
        delay_ms = backoff_ms(progress.attempts, first_ms=retry.first_ms, cap_ms=retry.cap_ms, chance=answer.chance)
        first_at_ms = now_ms if progress.first_at_ms is None else progress.first_at_ms
        if now_ms - first_at_ms >= ATTENTION_AFTER_MS:
            minutes = (now_ms - first_at_ms) // 60_000
            trouble = f"{what} is not done after {minutes} min: {verdict.detail}"
    return replace(
        progress,
        calling=False,
        next_at_ms=now_ms + delay_ms,
        trouble=trouble,
        note=verdict.detail or str(verdict.outcome),
    )


def with_progress(transaction: Transaction, index: int, progress: Progress) -> Transaction:
    """Return a copy in which one branch has got this far."""
    changed = (*transaction.progress[:index], progress, *transaction.progress[index + 1 :])
    return replace(transaction, progress=changed)


def settled(progress: Progress, status: BranchStatus, note: str = "") -> Progress:
    """Return the progress of a branch of which nothing more is asked in this phase."""
    return replace(progress, status=status, calling=False, next_at_ms=None, trouble=None, note=note or None)


def done_forward(transaction: Transaction, progress: Progress, answer: Answered) -> Progress:
    """Return the branch's progress after a forward operation that is done; its result is kept while there is room.

    What has no room is null, with a note: the participant keeps what it needs to undo (wire.md), and a row that no
    database takes would leave the transaction without an end.
    """
    result, note = answer.result, answer.verdict.detail
    if len(result) > len(NULL):
        kept_bytes = sum([len(each.result) for each in transaction.progress if each.result is not NULL])
        if kept_bytes + len(result) > RESULTS_BYTES_MAX:
            note = f"no room for {len(result)} bytes, all results have {RESULTS_BYTES_MAX}; the result is null"
            result = NULL
    return replace(settled(progress, BranchStatus.DONE, note), result=result)


def phase_two_answered(
    transaction: Transaction,
    answer: Answered,
    now_ms: int,
    advance: Callable[[Transaction, int], Step],
    *,
    owed: Operation,
    done: BranchStatus,
) -> Step:
    """Handle the answer to an operation that is repeated until it is done: confirm, cancel, compensate.

    What the phase before called may still be out, if a pause kept the owed operation from being sent: its answer says
    nothing about what is owed.
    """
    progress = transaction.progress[answer.index]
    if answer.operation is not owed or not is_current(progress, answer):
        return Step(transaction)
    if answer.verdict.outcome is Outcome.DONE:
        progress = settled(progress, done)
    else:
        progress = postponed(progress, transaction.branches[answer.index], answer, now_ms)
    return advance(with_progress(transaction, answer.index, progress), now_ms)


def without_overdue(transaction: Transaction, now_ms: int) -> Transaction:
    """Take each call whose answer is overdue for one that got none; what is owed of it is due at once.

    Participants promise an end to every call (`ports.participants`). This is for the end that got lost all the same:
    nothing else would ever move its transaction, as long as the owner lives.
    """
    if transaction.paused_at_ms is not None or not any(_is_overdue(each, now_ms) for each in transaction.progress):
        return transaction
    progress = tuple(_unanswered(each) if _is_overdue(each, now_ms) else each for each in transaction.progress)
    return replace(transaction, progress=progress)


def _is_overdue(progress: Progress, now_ms: int) -> bool:
    return progress.calling and progress.next_at_ms is not None and progress.next_at_ms <= now_ms


def _unanswered(progress: Progress) -> Progress:
    return replace(
        progress,
        calling=False,
        next_at_ms=None,
        tries_used=progress.tries_used + 1,
        may_have_run=True,
        unanswered=True,
        note=OVERDUE,
    )


def released(transaction: Transaction) -> Transaction:
    """Return the transaction with no call out and nothing waiting: what is still owed is due at once."""
    progress = tuple(
        replace(each, calling=False, next_at_ms=None) if each.calling or each.next_at_ms is not None else each
        for each in transaction.progress
    )
    return replace(transaction, progress=progress)


def decided(
    transaction: Transaction, status: Status, now_ms: int, reason: Reason | None = None, text: str | None = None
) -> Transaction:
    """Return the transaction after its decision; what the phase before waited for or complained of is over."""
    progress = transaction.progress
    for each in progress:
        if _is_burdened(each):
            progress = tuple(_relieved(each) if _is_burdened(each) else each for each in progress)
            break
    return replace(transaction, status=status, reason=reason, reason_text=text, decided_at_ms=now_ms, progress=progress)


def _is_burdened(progress: Progress) -> bool:
    return progress.trouble is not None or (progress.next_at_ms is not None and not progress.calling)


def _relieved(progress: Progress) -> Progress:
    return replace(progress, next_at_ms=progress.next_at_ms if progress.calling else None, trouble=None)


def finished(transaction: Transaction, status: Status, now_ms: int) -> Transaction:
    """Return the transaction at its end."""
    decided_at_ms = now_ms if transaction.decided_at_ms is None else transaction.decided_at_ms
    return replace(
        transaction,
        status=status,
        decided_at_ms=decided_at_ms,
        finished_at_ms=now_ms,
        next_due_at_ms=None,
        attention=None,
    )


def waiting(transaction: Transaction, sending: Sending, now_ms: int, also_due_at_ms: int | None = None) -> Transaction:
    """Return an open transaction after its calls were asked for: progress, attention, and when to look again.

    The time is always to come, whatever waits: a time that is over would be looked at again at once, and for ever.
    """
    is_paused = transaction.paused_at_ms is not None
    due_at_ms = now_ms + LOOK_AGAIN_MS if also_due_at_ms is None or is_paused else also_due_at_ms
    attention = None
    for each in sending.progress:
        if each.next_at_ms is not None and now_ms < each.next_at_ms < due_at_ms:
            due_at_ms = each.next_at_ms
        if now_ms < each.open_until_ms < due_at_ms:
            due_at_ms = each.open_until_ms
        if each.trouble is not None and attention is None:
            attention = each.trouble
    return replace(
        transaction,
        progress=tuple(sending.progress),
        attention=attention,
        next_due_at_ms=max(due_at_ms, now_ms + 1),
    )
