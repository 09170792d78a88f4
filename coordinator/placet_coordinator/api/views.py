"""What people and programs see of a transaction: its row and attempts as a view with branches and a timeline."""

from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec

from placet_contract.transactions import (
    AttemptView,
    BranchView,
    TimelineEntry,
    TransactionView,
)
from placet_contract.vocabulary import FINAL_STATUSES, FORWARD_OPERATIONS, Pattern, Status
from placet_coordinator.core.documents import decode_plan, decode_progress
from placet_coordinator.core.transaction import UNTOUCHED, Branch, PlanDocument, Progress, ProgressDocument
from placet_coordinator.ports.rows import AttemptRow, Row

MASK = "***"
_COMMIT_SIDE = (Status.COMMITTING, Status.COMMITTED)


def instant(at_ms: int) -> str:
    """Return milliseconds since the epoch as an RFC 3339 instant in UTC."""
    return f"{datetime.fromtimestamp(at_ms // 1_000, UTC):%Y-%m-%dT%H:%M:%S}.{at_ms % 1_000:03d}Z"


def _instant_or_none(at_ms: int | None) -> str | None:
    return None if at_ms is None else instant(at_ms)


def view_of(row: Row, attempts: Sequence[AttemptRow], node: str, *, with_timeline: bool) -> TransactionView:
    """Return the view of a transaction.

    Args:
        row: as last committed.
        attempts: its recorded attempts, oldest first.
        node: the name of the node that owns it, as far as it is known.
        with_timeline: the list leaves the timeline out.
    """
    attention = row.attention
    try:
        plan, progress = decode_plan(row.plan), decode_progress(row.progress)
    except msgspec.MsgspecError as error:
        # A damaged row is shown as far as it goes: hiding it would hide the trouble.
        plan, progress = PlanDocument(), ProgressDocument()
        attention = f"the documents of this row cannot be read: {error}"
    known = progress.branches
    pairs = [(branch, known[i] if i < len(known) else UNTOUCHED) for i, branch in enumerate(plan.branches)]
    next_at_ms = _next_attempt_at_ms(row, pairs)
    decided_at_ms = progress.decided_at_ms
    return TransactionView(
        gid=row.gid,
        pattern=None if row.pattern is None else Pattern(row.pattern),
        name=row.name,
        key=row.business_key,
        parent=row.parent,
        status=row.status,
        reason=row.reason,
        reason_text=row.reason_text,
        attention=attention,
        heuristic=row.heuristic,
        version=row.version,
        created_at=instant(row.created_at_ms),
        decided_at=_instant_or_none(decided_at_ms),
        finished_at=_instant_or_none(row.finished_at_ms),
        paused_at=_instant_or_none(row.paused_at_ms),
        timeout_ms=plan.timeout_ms,
        next_attempt_at=_instant_or_none(next_at_ms),
        drive=plan.drive,
        node=node,
        branches=[_branch_view(row, branch, progress) for branch, progress in pairs],
        attempts=[_attempt_view(attempt) for attempt in attempts],
        timeline=_timeline(row, attempts, decided_at_ms, pairs) if with_timeline else msgspec.UNSET,
    )


def _branch_view(row: Row, branch: Branch, progress: Progress) -> BranchView:
    is_saga = row.pattern == Pattern.SAGA
    return BranchView(
        branch_id=branch.branch_id,
        target=branch.target if isinstance(branch.target, str) else {str(op): url for op, url in branch.target.items()},
        status=progress.status,
        payload=branch.payload,
        result=progress.result,
        headers=dict.fromkeys(branch.headers, MASK) if branch.headers else msgspec.UNSET,
        after=list(branch.after) if is_saga else msgspec.UNSET,
        pivot=branch.pivot,
        compensate=branch.compensate,
        envelope=branch.envelope,
        timeout_ms=branch.timeout_ms,
        attempts=progress.attempts,
        next_attempt_at=_instant_or_none(_waits_until_ms(row, progress)),
        attention=progress.trouble,
        note=progress.note,
    )


def _waits_until_ms(row: Row, progress: Progress) -> int | None:
    """Return when the branch is called again; while a call is out, its `next_at_ms` is when the answer is overdue."""
    if row.status in FINAL_STATUSES or row.paused_at_ms is not None or progress.calling:
        return None
    return progress.next_at_ms


def _next_attempt_at_ms(row: Row, pairs: Sequence[tuple[Branch, Progress]]) -> int | None:
    waits = [at_ms for _, progress in pairs if (at_ms := _waits_until_ms(row, progress)) is not None]
    return min(waits, default=None)


def _attempt_view(attempt: AttemptRow) -> AttemptView:
    return AttemptView(
        branch_id=attempt.branch_id,
        op=attempt.operation,
        attempt=attempt.attempt,
        outcome=attempt.outcome,
        started_at=instant(attempt.started_at_ms),
        duration_ms=attempt.duration_ms,
        detail=attempt.detail,
    )


def _timeline(
    row: Row,
    attempts: Sequence[AttemptRow],
    decided_at_ms: int | None,
    pairs: Sequence[tuple[Branch, Progress]],
) -> list[TimelineEntry]:
    """Tell the story, oldest first, of the same instant cause before effect; what is still to come stands last."""
    story = [(row.created_at_ms, _entry(row.created_at_ms, *_begun(row)))]
    forward = [attempt for attempt in attempts if attempt.operation in FORWARD_OPERATIONS]
    story += map(_attempted, forward)
    if decided_at_ms is not None and row.pattern is not None:
        story.append((decided_at_ms, _entry(decided_at_ms, *_decided(row))))
    story += [_attempted(attempt) for attempt in attempts if attempt not in forward]
    if row.paused_at_ms is not None:
        story.append((row.paused_at_ms, _entry(row.paused_at_ms, "paused", "nothing is sent or timed out")))
    if row.finished_at_ms is not None:
        told = f"{len(pairs)} branches" if len(pairs) != 1 else "1 branch"
        story.append((row.finished_at_ms, _entry(row.finished_at_ms, row.status, told)))
    for branch, progress in pairs:
        at_ms = _waits_until_ms(row, progress)
        if at_ms is not None:
            entry = TimelineEntry(
                at=instant(at_ms),
                event="next attempt",
                branch_id=branch.branch_id,
                op=progress.operation,
                detail=progress.note,
            )
            story.append((at_ms, entry))
    story.sort(key=lambda told: told[0])  # stable
    return [entry for _, entry in story]


def _attempted(attempt: AttemptRow) -> tuple[int, TimelineEntry]:
    told = f"{attempt.outcome} after {attempt.duration_ms} ms"
    entry = TimelineEntry(
        at=instant(attempt.started_at_ms),
        event=f"attempt {attempt.attempt}",
        branch_id=attempt.branch_id,
        op=attempt.operation,
        detail=f"{told}: {attempt.detail}" if attempt.detail else told,
    )
    return attempt.started_at_ms, entry


def _entry(at_ms: int, event: str, detail: str | None) -> TimelineEntry:
    return TimelineEntry(at=instant(at_ms), event=event, detail=detail)


def _begun(row: Row) -> tuple[str, str | None]:
    if row.pattern is None:
        return "recorded as aborted", "abort came before any begin; a begin still on its way gets 409"
    return "begun", row.name


def _decided(row: Row) -> tuple[str, str | None]:
    if row.status in _COMMIT_SIDE:
        return "commit decided", row.reason
    told = ": ".join(part for part in (row.reason, row.reason_text) if part)
    return "abort decided", told or None
