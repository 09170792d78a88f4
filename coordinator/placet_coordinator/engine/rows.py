"""Between a transaction and its row."""

import msgspec

from placet_contract.vocabulary import Pattern, Reason, Status
from placet_coordinator.core.documents import decode_plan, decode_progress, encode_plan, encode_progress
from placet_coordinator.core.patterns import PATTERNS
from placet_coordinator.core.transaction import FORMAT, UNTOUCHED, Transaction
from placet_coordinator.engine.errors import Damaged
from placet_coordinator.engine.held import Write
from placet_coordinator.ports.rows import EntryKind, Row

_DUE_STAYS_FROM_MS = 5_000
_DUE_STAYS_UNTIL_MS = 60_000
"""A due time beyond it is written as it is: the transaction may leave memory, and is found again by its row alone."""


def to_row(write: Write, owner: str, written_by: str, now_ms: int) -> Row:
    """Return the row that the write shall leave behind."""
    transaction, held = write.transaction, write.held
    due_at_ms = transaction.next_due_at_ms
    if due_at_ms is not None:
        due_at_ms = _due_to_store(due_at_ms, held.stored_due_at_ms, now_ms)
    held.stored_due_at_ms = due_at_ms
    with_plan = write.kind is EntryKind.INSERT or write.plan_changed
    # By position, in the order of the port's fields: 21 names cost as much as everything else here.
    return Row(
        transaction.gid,
        transaction.pattern,
        transaction.name,
        transaction.key,
        transaction.parent,
        transaction.status,
        transaction.reason,
        transaction.reason_text,
        transaction.attention,
        transaction.heuristic,
        transaction.paused_at_ms,
        transaction.drive,
        write.version,
        owner,
        written_by,
        FORMAT,
        due_at_ms,
        transaction.created_at_ms,
        transaction.finished_at_ms,
        encode_plan(transaction) if with_plan else "",
        encode_progress(transaction),
    )


def _due_to_store(due_at_ms: int, stored_at_ms: int | None, now_ms: int) -> int:
    """Leave the stored due time alone while it, and the true one, lie in the near future (decision 0005).

    Not changing it spares PostgreSQL an index entry with each step (heap-only tuples, PostgreSQL documentation 65.7).
    """
    if stored_at_ms is None or due_at_ms > now_ms + _DUE_STAYS_UNTIL_MS:
        return due_at_ms
    stays = now_ms + _DUE_STAYS_FROM_MS <= stored_at_ms <= now_ms + _DUE_STAYS_UNTIL_MS
    return stored_at_ms if stays else due_at_ms


def from_row(row: Row) -> Transaction:
    """Return the transaction that the row holds.

    Raises:
        Damaged: its documents or its words can't be read, or do not fit together.
    """
    try:
        return _read(row)
    except (msgspec.MsgspecError, ValueError) as error:
        raise Damaged(row.gid, str(error)) from error


def _read(row: Row) -> Transaction:
    plan, progress = decode_plan(row.plan), decode_progress(row.progress)
    known = progress.branches
    if len(known) > len(plan.branches):
        raise ValueError(f"progress of {len(known)} branches, a plan of {len(plan.branches)}")
    pattern = None if row.pattern is None else Pattern(row.pattern)
    if (pattern, plan.drive) not in PATTERNS:
        raise ValueError(f"this build does not drive {pattern}{', driven' if plan.drive else ''}")
    return Transaction(
        gid=row.gid,
        pattern=pattern,
        status=Status(row.status),
        created_at_ms=row.created_at_ms,
        name=row.name,
        key=row.business_key,
        parent=row.parent,
        reason=None if row.reason is None else Reason(row.reason),
        reason_text=row.reason_text,
        attention=row.attention,
        heuristic=row.heuristic,
        paused_at_ms=row.paused_at_ms,
        timeout_ms=plan.timeout_ms,
        drive=plan.drive,
        traceparent=plan.traceparent,
        decided_at_ms=progress.decided_at_ms,
        finished_at_ms=row.finished_at_ms,
        next_due_at_ms=row.next_due_at_ms,
        begun_count=plan.begun_count,
        branches=plan.branches,
        progress=known + (UNTOUCHED,) * (len(plan.branches) - len(known)),
    )
