"""What holds of every step of every transaction, whatever happens: asked after each step by the tests that explore."""

from placet_contract.vocabulary import BranchStatus, Operation, Pattern, Status
from placet_coordinator.core.moves import Step
from placet_coordinator.core.transaction import Transaction
from unit.core.life import is_settled

COMMIT_SIDE = {Status.COMMITTING, Status.COMMITTED}
ABORT_SIDE = {Status.ABORTING, Status.ABORTED}


def check_step(before: Transaction, taken: Step, now_ms: int) -> None:
    """Fail if the step breaks a promise of the design."""
    after = taken.transaction
    check_decision(before, after)
    check_due(taken, now_ms)
    check_calls(before, taken)
    if after.status is Status.COMMITTED:
        check_committed(after)
    if after.status is Status.ABORTED:
        check_aborted(after)
    if taken.refusal is not None:
        assert after is before, "a refusal changes nothing"
        assert not taken.calls


def check_decision(before: Transaction, after: Transaction) -> None:
    """One decision, which never changes; and nothing leaves its end."""
    for side in (COMMIT_SIDE, ABORT_SIDE):
        if before.status in side:
            assert after.status in side
    if not before.is_open:
        assert after is before
    if before.status in ABORT_SIDE:
        assert after.reason is before.reason
    if before.decided_at_ms is not None:
        assert after.decided_at_ms == before.decided_at_ms
    assert (after.reason is None) == (after.status not in ABORT_SIDE)
    for earlier, later in zip(before.progress, after.progress, strict=False):
        if earlier.pivot_sent and earlier.may_have_run:
            assert later.pivot_sent


def check_due(taken: Step, now_ms: int) -> None:
    """Whatever is open is looked at again, in time to come; whatever is final is not."""
    after = taken.transaction
    if not after.is_open:
        assert after.next_due_at_ms is None
        assert after.attention is None
        assert after.finished_at_ms is not None
        assert not any(each.trouble for each in after.progress)
        return
    assert after.next_due_at_ms is not None
    if taken.calls:
        assert after.next_due_at_ms > now_ms
    troubles = [each.trouble for each in after.progress if each.trouble is not None]
    assert (after.attention is None) == (not troubles)


def check_calls(before: Transaction, taken: Step) -> None:
    """No call twice at once for one branch, none while paused, none that the status does not allow, none too soon."""
    after = taken.transaction
    assert len({each.index for each in taken.calls}) == len(taken.calls)
    if taken.calls:
        assert after.paused_at_ms is None
    for call in taken.calls:
        progress = after.progress[call.index]
        assert progress.calling
        assert (progress.operation, progress.attempts) == (call.operation, call.attempt)
        earlier = before.progress[call.index]
        assert not (earlier.calling and earlier.operation is call.operation and earlier.attempts == call.attempt)
        assert call.operation in _ALLOWED[after.pattern, after.status]
        if call.operation is Operation.ACTION:
            _check_action(after, taken, call.index)
        if call.operation is Operation.COMPENSATE:
            _check_compensation(after, call.index)


_ALLOWED = {
    (Pattern.TCC, Status.ACTIVE): {Operation.TRY},
    (Pattern.TCC, Status.COMMITTING): {Operation.CONFIRM},
    (Pattern.TCC, Status.ABORTING): {Operation.CANCEL},
    (Pattern.SAGA, Status.ACTIVE): {Operation.ACTION},
    (Pattern.SAGA, Status.COMMITTING): {Operation.ACTION},
    (Pattern.SAGA, Status.ABORTING): {Operation.COMPENSATE},
}


def _check_action(after: Transaction, taken: Step, index: int) -> None:
    place = {branch.branch_id: at for at, branch in enumerate(after.branches)}
    branch = after.branches[index]
    assert all(after.progress[place[name]].status is BranchStatus.DONE for name in branch.after)
    if branch.pivot:
        assert after.progress[index].pivot_sent
        assert taken.awaited or after.progress[index].attempts > 1


def _check_compensation(after: Transaction, index: int) -> None:
    branch = after.branches[index]
    assert branch.compensate
    for at, other in enumerate(after.branches):
        if branch.branch_id in other.after:
            assert is_settled(after, at), f"{branch.branch_id} is undone before {other.branch_id}, which came after it"


def check_committed(after: Transaction) -> None:
    """All of it happened."""
    owed = BranchStatus.CONFIRMED if after.pattern is Pattern.TCC else BranchStatus.DONE
    assert all(each.status is owed for each in after.progress)


def check_aborted(after: Transaction) -> None:
    """None of it is left: what may have run was undone, or leaves nothing to undo."""
    for branch, each in zip(after.branches, after.progress, strict=True):
        if after.pattern is Pattern.TCC:
            assert each.status is BranchStatus.CANCELLED
        elif each.status is BranchStatus.REJECTED:
            assert not each.undo
            assert not each.unanswered
        elif each.status is BranchStatus.SKIPPED:
            assert not branch.compensate or not branch.offers(Operation.COMPENSATE) or not each.may_have_run
        else:
            assert each.status is BranchStatus.COMPENSATED
