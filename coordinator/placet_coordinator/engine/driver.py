"""The driver: the open transactions of this node, and the law: step, persist, then act."""

from collections.abc import Callable
from dataclasses import dataclass

from placet_contract.vocabulary import FINAL_STATUSES, Outcome
from placet_coordinator.core.calling import LOOK_AGAIN_MS
from placet_coordinator.core.events import Adopted, Answered, Event, TimePassed
from placet_coordinator.core.moves import Step
from placet_coordinator.core.transaction import Call, Transaction
from placet_coordinator.core.transitions import begin, step
from placet_coordinator.engine.flusher import JournalLimits, JournalStorage
from placet_coordinator.engine.held import Held, Lane, Write, WriteEnd
from placet_coordinator.engine.journal import Journal
from placet_coordinator.engine.rows import from_row
from placet_coordinator.engine.schedule import Schedule
from placet_coordinator.ports.clock import Chance, Clock
from placet_coordinator.ports.observer import Observer
from placet_coordinator.ports.owner import Owner
from placet_coordinator.ports.participants import BranchCall, CallEnd, Participants
from placet_coordinator.ports.rows import AttemptRow, EntryKind, Row


@dataclass(frozen=True)
class DriverLimits:
    """The driver's figures.

    Attributes:
        slow_call_ms: a call that took longer is recorded as an attempt although it was done.
        horizon_ms: a transaction that is due later than this, and waits for nothing, leaves memory until then.
    """

    slow_call_ms: int = 1_000
    horizon_ms: int = 60_000


class Driver:
    """Holds open transactions, applies events to them, and makes the calls that their steps ask for."""

    def __init__(
        self,
        *,
        store: JournalStorage,
        participants: Participants,
        owner: Owner,
        clock: Clock,
        chance: Chance,
        observer: Observer,
        limits: DriverLimits,
        journal_limits: JournalLimits,
    ) -> None:
        self._participants, self._owner, self._clock = participants, owner, clock
        self._chance, self._observer, self._limits = chance, observer, limits
        self.journal = Journal(
            store=store,
            owner=owner,
            clock=clock,
            chance=chance,
            observer=observer,
            limits=journal_limits,
            settled=self._settled,
        )
        self._schedule = Schedule(self._came_due, clock.now_ms)
        self.held: dict[str, Held] = {}
        self._lost_sight_of: set[str] = set()  # the last write of these may still arrive (decision 0014)
        self.lost: Callable[[str], None] = lambda _gid: None
        """Called with the gid when a write of a transaction did not hit and its copy was dropped."""
        self.left: set[str] | None = None
        """Collects the gids that leave memory, while somebody reads rows that might be older than what left."""

    def begin(self, transaction: Transaction) -> Write:
        """Take up a new transaction; its calls go out once the returned write is durable."""
        first = begin(transaction, transaction.created_at_ms)
        held = Held(first.transaction, version=0)
        if first.transaction.status not in FINAL_STATUSES:
            self.held[held.gid] = held
        write = self.journal.append(held, first.transaction, Lane.URGENT, plan_changed=True)
        self._after(held, write, first)
        return write

    def adopt(self, row: Row) -> Held:
        """Take up an open transaction from its row; what an earlier owner had sent counts as unanswered.

        If the row names another owner, or an earlier write of ours may still arrive, calls wait for a write of this
        copy (decisions 0002 and 0014).

        Raises:
            Damaged: the row can't be read; nothing has changed.
        """
        is_fenced = row.owner == self._owner.boot_id and row.gid not in self._lost_sight_of
        held = Held(from_row(row), row.version, is_fenced=is_fenced)
        earlier = self.held.get(row.gid)
        if earlier is not None:
            self.forget(earlier)
        held.stored_due_at_ms = row.next_due_at_ms
        self.held[held.gid] = held
        try:
            self.apply(held, Adopted())
        except BaseException:
            self.forget(held)
            raise
        self._look_again(held)
        return held

    def touch(self, held: Held, row: Row) -> None:
        """Write the transaction's true due time: the row's comes too early, and others claim what is overdue."""
        held.stored_due_at_ms = row.next_due_at_ms
        if held.pending is None and held.writing is None:
            self.journal.append(held, held.transaction, Lane.PARTIAL)

    def apply(self, held: Held, event: Event, attempts: tuple[AttemptRow, ...] = ()) -> Step:
        """Step, queue the write, and make the calls as soon as the law allows."""
        before = held.transaction
        taken = step(before, event, self._clock.now_ms())
        after = taken.transaction
        if after is before or (after == before and not attempts):
            return taken
        if after.status in FINAL_STATUSES:
            lane = Lane.URGENT if held.finish_waiters else Lane.RIDER
        elif taken.calls and (taken.awaited or not held.is_fenced):
            lane = Lane.URGENT
        else:
            lane = Lane.PARTIAL
        plan_changed = after.branches is not before.branches
        held.transaction = after
        write = self.journal.append(held, after, lane, plan_changed=plan_changed, attempts=attempts)
        self._after(held, write, taken)
        if after.attention is not None and before.attention is None:
            self._observer.attention(after)
        return taken

    def forget(self, held: Held) -> None:
        """Drop a copy that is not the truth any more; what comes back for it is ignored."""
        held.dead = True
        self._drop(held)
        self._release_waiters(held, None)

    def let_go(self, gid: str) -> None:
        """Hear that the gid's row is not open, or not ours: no write that was lost sight of can harm a copy of it."""
        self._lost_sight_of.discard(gid)

    def drop_all(self) -> None:
        """Forget every copy: this node has lost its lease, and others may drive them now."""
        copies, self.held = list(self.held.values()), {}
        self._lost_sight_of.clear()  # of another boot: its rows are taken up by a claim, which is a write
        for held in copies:
            held.dead = True
            self._schedule.forget(held)
            self._release_waiters(held, None)
        self.journal.abandon()

    def release_waiters(self) -> None:
        """Answer everybody who waits for an end with the status as it is: this node drains."""
        for held in self.held.values():
            self._release_waiters(held, None)

    def stop(self) -> None:
        """Stop the timers."""
        self._schedule.stop()

    # --- what follows a step

    def _after(self, held: Held, write: Write, taken: Step) -> None:
        if taken.awaited or not held.is_fenced:
            held.gate = write
        if taken.calls:
            if held.gate is None:
                self._call(held, taken.calls)
            else:
                held.gate.calls.extend(taken.calls)
        due_at_ms = held.transaction.next_due_at_ms
        if due_at_ms is None:
            self._schedule.forget(held)
        else:
            self._schedule.set(held, due_at_ms)

    def _call(self, held: Held, calls: tuple[Call, ...] | list[Call]) -> None:
        if not self._owner.holds_lease:
            return  # others may drive it by now; every copy is about to be dropped
        transaction = held.transaction
        for each in calls:
            progress = transaction.progress[each.index]
            if not progress.calling or progress.operation is not each.operation or progress.attempts != each.attempt:
                continue  # a later step has taken this call back
            call = BranchCall(transaction, transaction.branches[each.index], each.index, each.operation, each.attempt)
            self._participants.call(call, lambda end, call=call: self._call_ended(held, call, end))  # type: ignore[misc]

    def _call_ended(self, held: Held, call: BranchCall, end: CallEnd) -> None:
        verdict = end.verdict
        self._observer.called(end.participant, call.operation, verdict.outcome, end.duration_ms)
        if held.dead:
            return
        attempts: tuple[AttemptRow, ...] = ()
        if verdict.outcome is not Outcome.DONE or end.duration_ms >= self._limits.slow_call_ms:
            attempts = (_attempt(call, end),)
        answered = Answered(
            index=call.index,
            operation=call.operation,
            attempt=call.attempt,
            verdict=verdict,
            result=end.result,
            sent=end.sent,
            deadline_at_ms=end.deadline_at_ms,
            chance=self._chance.uniform(),
        )
        self._apply_unasked(held, answered, attempts)

    def _came_due(self, held: Held) -> None:
        due_at_ms = held.transaction.next_due_at_ms
        if held.dead or due_at_ms is None:
            return
        if due_at_ms <= self._clock.now_ms():
            self._apply_unasked(held, TimePassed())
        self._look_again(held)

    def _apply_unasked(self, held: Held, event: Event, attempts: tuple[AttemptRow, ...] = ()) -> None:
        """Apply an outcome or a timer: no caller would hear of a defect, and it must not stop the others' events."""
        try:
            self.apply(held, event, attempts)
        except Exception as error:  # noqa: BLE001 - as said
            self._observer.trouble("defect", f"{held.gid}: {type(error).__name__}: {error}")

    def _look_again(self, held: Held) -> None:
        """See that an open transaction has a time; one in the past, which a look did not move, is no time."""
        due_at_ms = held.transaction.next_due_at_ms
        if held.tick is None and due_at_ms is not None and not held.dead:
            now_ms = self._clock.now_ms()
            self._schedule.set(held, due_at_ms if due_at_ms > now_ms else now_ms + LOOK_AGAIN_MS)

    # --- what follows a write

    def _settled(self, write: Write) -> None:
        held = write.held
        if write.end is not WriteEnd.DURABLE:
            self._failed(write)
            return
        if self._lost_sight_of:
            self._lost_sight_of.discard(held.gid)
        if write.kind is EntryKind.DECIDE and write.row is not None:
            self._decided(write.row)
            return
        if held.dead:
            return
        held.is_fenced = True
        transaction = write.transaction
        if write.kind is EntryKind.INSERT and transaction.pattern is not None:
            self._observer.started(transaction)
        if transaction.status in FINAL_STATUSES:
            self._drop(held)
            self._observer.finished(transaction)
            self._release_waiters(held, write)
            return
        if write.calls:
            self._call(held, write.calls)
        due_at_ms = transaction.next_due_at_ms
        if due_at_ms is None or due_at_ms <= transaction.created_at_ms + self._limits.horizon_ms:
            return  # the clock need not be asked: now is not before the begin
        if due_at_ms > self._clock.now_ms() + self._limits.horizon_ms and held.is_idle:
            self._drop(held)
            held.dead = True

    def _decided(self, row: Row) -> None:
        """Take up what was decided without a read, unless a sweep has read the row before its answer came."""
        held = self.held.get(row.gid)
        if held is None or held.durable_version < row.version:
            self.adopt(row)

    def _failed(self, write: Write) -> None:
        """Drop the copy that the write was to make durable, and note where to look for what became of it."""
        held = write.held
        may_arrive = write.end in (WriteEnd.UNRESOLVED, WriteEnd.UNSEEN)
        if may_arrive:
            self._lost_sight_of.add(held.gid)
        self._drop(held)
        self._release_waiters(held, None)
        if write.kind is EntryKind.UPDATE or may_arrive:
            self.lost(held.gid)

    def _drop(self, held: Held) -> None:
        self._schedule.forget(held)
        if self.held.get(held.gid) is held:
            del self.held[held.gid]
            if self.left is not None:
                self.left.add(held.gid)

    def _release_waiters(self, held: Held, end: Write | None) -> None:
        waiters, held.finish_waiters = held.finish_waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(end)


def _attempt(call: BranchCall, end: CallEnd) -> AttemptRow:
    verdict = end.verdict
    return AttemptRow(
        gid=call.transaction.gid,
        branch_id=call.branch.branch_id,
        operation=call.operation,
        attempt=call.attempt,
        outcome=verdict.outcome,
        started_at_ms=end.started_at_ms,
        duration_ms=end.duration_ms,
        detail=verdict.detail,
    )
