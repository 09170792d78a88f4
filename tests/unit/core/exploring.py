"""Every state that small transactions can reach, one for each that differs in more than its times and counts."""

import functools
from collections import deque
from collections.abc import Callable, Hashable, Iterator

from msgspec.structs import replace

from placet_contract.transactions import NULL
from placet_contract.vocabulary import Operation, Pattern, Reason, Status
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
from placet_coordinator.core.moves import Step
from placet_coordinator.core.patterns.recorded_abort import recorded_abort
from placet_coordinator.core.transaction import Transaction
from placet_coordinator.core.transitions import begin, step
from unit.core.life import BEGUN_AT_MS, further, plan_of, verdict_of

WORDS = {
    Operation.TRY: ("done", "rejected", "late", "lost"),
    Operation.CONFIRM: ("done", "not-tried", "lost"),
    Operation.CANCEL: ("done", "rejected", "lost"),
    Operation.ACTION: ("done", "rejected", "late", "ongoing", "lost", "unsent"),
    Operation.COMPENSATE: ("done", "lost"),
}
"""The answers that may make a difference, by operation."""
NOTHING_TO_UNDO = {"branch_id": "b", "compensate": False}


Taken = tuple[Transaction, Event, Step, int]
"""A transaction, what happened to it, the step that followed, and when."""


@functools.cache
def walk(name: str) -> list[Taken]:
    """Return every step that the exploration of a pattern takes."""
    steps: list[Taken] = []
    explored(name, lambda *each: steps.append(each))
    return steps


def seeds(name: str) -> list[Transaction]:
    """Return the transactions from which a pattern's states are explored."""
    if name == "recorded abort":
        return [recorded_abort("g", None, BEGUN_AT_MS)]
    if name == "driven tcc":
        return [plan_of("tcc", "a", "b", drive=True)]
    if name == "tcc":
        empty = plan_of("tcc")
        # Rows as the one write leaves them that has no read before it: a node adopts them before anything else.
        decided = [
            replace(empty, status=Status.COMMITTING, next_due_at_ms=BEGUN_AT_MS),
            replace(empty, status=Status.ABORTING, reason=Reason.INITIATOR, next_due_at_ms=BEGUN_AT_MS),
        ]
        return [empty, plan_of("tcc", "a"), *decided]
    once = {"branch_id": "a", "retry": {"max_attempts": 1}}
    return [
        plan_of("saga", {"branch_id": "a", "retry": {"max_attempts": 2}}, timeout_ms=100_000),
        plan_of("saga", once, {**NOTHING_TO_UNDO, "after": []}),
        plan_of("saga", once, "b"),
        plan_of("saga", {"branch_id": "p", "pivot": True, "retry": {"max_attempts": 2}}, "b", timeout_ms=100_000),
        plan_of("saga", NOTHING_TO_UNDO, {"branch_id": "p", "pivot": True}, timeout_ms=100_000),
    ]


def explored(name: str, see: Callable[[Transaction, Event, Step, int], None]) -> None:
    """Reach one state of each kind that a pattern can reach, and show every step on the way to `see`."""
    found: set[Hashable] = set()
    waiting: deque[tuple[Transaction, int]] = deque()

    def add(transaction: Transaction, now_ms: int) -> None:
        key = _kind(transaction, now_ms)
        if key not in found:
            found.add(key)
            waiting.append((transaction, now_ms))

    for seed in seeds(name):
        if seed.next_due_at_ms is not None:
            taken = step(seed, Adopted(), BEGUN_AT_MS)
            see(seed, Adopted(), taken, BEGUN_AT_MS)
            add(taken.transaction, BEGUN_AT_MS)
        else:
            add(begin(seed, BEGUN_AT_MS).transaction, BEGUN_AT_MS)
    while waiting:
        transaction, now_ms = waiting.popleft()
        for event, at_ms in happenings(transaction, now_ms):
            taken = step(transaction, event, at_ms)
            see(transaction, event, taken, at_ms)
            add(taken.transaction, at_ms)
        if transaction.is_open:
            paused_at_ms = None if transaction.paused_at_ms is not None else now_ms
            add(replace(transaction, paused_at_ms=paused_at_ms), now_ms)


def happenings(transaction: Transaction, now_ms: int) -> Iterator[tuple[Event, int]]:
    """Yield an event of each kind with the time it comes at; of answers and times all that differ."""
    yield BeginAsked(replace(transaction, branches=transaction.branches[: transaction.begun_count])), now_ms
    yield RegisterAsked(further("b")), now_ms
    yield CommitAsked(), now_ms
    yield AbortAsked(), now_ms
    soon_ms, late_ms = now_ms + 1_000, now_ms + 1_000_000
    due_at_ms = max(transaction.next_due_at_ms or 0, now_ms)
    for at_ms in (now_ms, due_at_ms, late_ms):
        yield TimePassed(), at_ms
        yield Adopted(), at_ms
        yield RetryAsked(), at_ms
    for index, progress in enumerate(transaction.progress):
        if progress.operation is None:
            continue
        stale = _answered(index, progress.operation, progress.attempts - 1, "done", soon_ms)
        yield stale, now_ms
        for word in WORDS[progress.operation]:
            yield _answered(index, progress.operation, progress.attempts, word, soon_ms), now_ms


def _answered(index: int, operation: Operation, attempt: int, word: str, deadline_at_ms: int) -> Answered:
    return Answered(
        index=index,
        operation=operation,
        attempt=attempt,
        verdict=verdict_of(word, operation),
        result=NULL,
        sent=word != "unsent",
        deadline_at_ms=deadline_at_ms,
        chance=0.5,
    )


def _kind(transaction: Transaction, now_ms: int) -> Hashable:
    timeout, is_saga = transaction.times_out_at_ms, transaction.pattern is Pattern.SAGA
    times_out = timeout is not None and timeout <= now_ms
    branches = tuple(
        (
            each.status,
            each.operation,
            each.calling,
            branch.retry.max_attempts is not None and each.tries_used >= branch.retry.max_attempts - 1,
            each.next_at_ms is not None and each.next_at_ms <= now_ms,
            is_saga and each.may_have_run,
            is_saga and each.open_until_ms > now_ms,
            is_saga and each.unanswered,
            each.pivot_sent,
            each.undo,
            each.trouble is not None,
        )
        for branch, each in zip(transaction.branches, transaction.progress, strict=True)
    )
    plan = tuple((branch.branch_id, branch.after, branch.pivot, branch.compensate) for branch in transaction.branches)
    return transaction.status, transaction.paused_at_ms is not None, times_out, plan, branches
