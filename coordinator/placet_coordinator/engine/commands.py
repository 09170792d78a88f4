"""The commands: begin, register, commit, abort, retry. Every reply reports a durable state.

A request that meets a row which is not what this node thought (another node wrote it) is stepped again on the row as it
is; how often is bounded.
"""

from collections.abc import Callable
from dataclasses import dataclass

from placet_contract import limits as wire_limits
from placet_contract.transactions import BeginRequest, RegisterRequest, TransactionReply
from placet_contract.vocabulary import Pattern, Reason, Status
from placet_coordinator.core.calling import LOOK_AGAIN_MS
from placet_coordinator.core.events import AbortAsked, BeginAsked, CommitAsked, Event, RegisterAsked, RetryAsked
from placet_coordinator.core.patterns.recorded_abort import recorded_abort
from placet_coordinator.core.plan import plan_branches, planned
from placet_coordinator.core.rule import RuleBroken
from placet_coordinator.core.transaction import FORMAT, Branch, Transaction
from placet_coordinator.core.transitions import step
from placet_coordinator.engine.driver import Driver
from placet_coordinator.engine.errors import Overloaded, Refused, Standing, UnknownGid, Unresolved
from placet_coordinator.engine.held import Held, Write, WriteEnd
from placet_coordinator.engine.rows import from_row
from placet_coordinator.engine.waiting import EndWatch
from placet_coordinator.ports.clock import Chance, Clock
from placet_coordinator.ports.owner import Owner
from placet_coordinator.ports.rows import Row
from placet_coordinator.ports.store import StoreUnavailable, TransactionStore

STEPS_AGAIN_MAX = 12
"""How often one request is stepped again because somebody else wrote its row in between."""


@dataclass(frozen=True)
class CommandLimits:
    """Where requests are shed.

    Attributes:
        open_transactions_max: transactions in memory; beyond it a begin is shed.
        journal_begins_max: writes on their way beyond which a begin is shed.
        journal_writes_max: writes on their way beyond which everything is shed: places reserved for the end of what
            has begun.
        branches_max: branches of one transaction.
    """

    open_transactions_max: int = 100_000
    journal_begins_max: int = 8_192
    journal_writes_max: int = 16_384
    branches_max: int = wire_limits.BRANCHES_MAX


EventFor = Callable[[Transaction], Event]


class _Again(Exception):
    """The row is not what this node thought: step the request again."""


class Commands:
    """What initiators and operators may ask for.

    Every command is idempotent: after an error of which the outcome is unknown, repeat it.

    Raises (each command):
        RuleBroken: the request breaks a rule of the wire; nothing has happened.
        Refused: the state or the pattern does not allow it; nothing changed.
        UnknownGid: no such transaction.
        Overloaded: nothing was written; repeat later.
        Damaged: the row can't be read; nothing was written.
        Unresolved: the store did not tell in time; repeat the command.
    """

    def __init__(
        self,
        *,
        driver: Driver,
        store: TransactionStore,
        owner: Owner,
        clock: Clock,
        chance: Chance,
        ends: EndWatch,
        limits: CommandLimits,
        check_targets: Callable[[tuple[Branch, ...]], None],
    ) -> None:
        self._driver, self._store, self._owner = driver, store, owner
        self._clock, self._chance, self._ends = clock, chance, ends
        self._limits, self._check_targets = limits, check_targets
        self.draining = False

    async def begin(
        self, request: BeginRequest, *, traceparent: str | None = None, wait_ms: int = 0
    ) -> tuple[TransactionReply, bool]:
        """Begin a transaction, or answer a repeat; the second value tells whether it is new.

        When this returns, the transaction and its branches are durable.
        """
        self._admit_begin()
        if request.gid is None and request.pattern is Pattern.SAGA:
            raise RuleBroken("gid", "a saga needs a gid of your own: it is what makes a repeated begin the same saga")
        gid = self._chance.new_gid() if request.gid is None else request.gid
        transaction = planned(
            request, gid, self._clock.now_ms(), branches_max=self._limits.branches_max, traceparent=traceparent
        )
        self._check_targets(transaction.branches)
        for _ in range(STEPS_AGAIN_MAX):
            self._admit()
            held = self._driver.held.get(gid)
            if held is None:
                write = self._driver.begin(transaction)
                end = await self._driver.journal.wait(write)
                if end is WriteEnd.DURABLE:
                    return await self._reply(write.held, write, wait_ms), True
                if end is not WriteEnd.MISSED:
                    self._raise_for(end)
            else:
                await self._latest_is_settled(held)
            row = await self._load(gid)
            if row is not None:
                try:
                    return await self._answer_from(row, lambda _stored: BeginAsked(transaction), wait_ms), False
                except _Again:
                    continue
        raise Overloaded(f"{gid} changes too fast")

    async def register(self, gid: str, request: RegisterRequest) -> TransactionReply:
        """Add branches to an active transaction. When this returns, they are durable."""
        branches: dict[Pattern | None, tuple[Branch, ...]] = {}

        def event(transaction: Transaction) -> RegisterAsked:
            pattern = transaction.pattern
            if pattern not in branches:
                # The rules of a step differ by pattern; a saga refuses registration anyway, so plan it as a tcc's.
                planned_as = Pattern.TCC if pattern is Pattern.SAGA else pattern
                branches[pattern] = plan_branches(
                    request.branches, planned_as, drive=transaction.drive, branches_max=self._limits.branches_max
                )
                self._check_targets(branches[pattern])
            fresh = {branch.branch_id for branch in branches[pattern]}
            total = len(fresh.union(branch.branch_id for branch in transaction.branches))
            if total > self._limits.branches_max:
                raise RuleBroken("branches", "a transaction has at most this many branches", self._limits.branches_max)
            return RegisterAsked(branches[pattern])

        return await self._stepped(gid, event)

    async def commit(self, gid: str, *, wait_ms: int = 0) -> TransactionReply:
        """Decide that all of it happens. When this returns, the decision is durable."""
        return await self._decided(gid, Status.COMMITTING, CommitAsked(), None, wait_ms)

    async def abort(self, gid: str, reason_text: str | None = None, *, wait_ms: int = 0) -> TransactionReply:
        """Decide that none of it happens; an unknown gid is recorded as aborted. The decision is durable on return."""
        event = AbortAsked(Reason.INITIATOR, reason_text)
        for _ in range(STEPS_AGAIN_MAX):
            try:
                return await self._decided(gid, Status.ABORTING, event, reason_text, wait_ms)
            except UnknownGid:
                write = self._driver.begin(recorded_abort(gid, reason_text, self._clock.now_ms()))
                end = await self._driver.journal.wait(write)
                if end is WriteEnd.DURABLE:
                    return self._report(write)
                if end is not WriteEnd.MISSED:
                    self._raise_for(end)
        raise Overloaded(f"{gid} changes too fast")

    async def retry(self, gid: str) -> TransactionReply:
        """Make the waiting calls of an open transaction now: an operator's nudge, which decides nothing."""
        return await self._stepped(gid, lambda _transaction: RetryAsked())

    # --- one request, stepped until it fits the row

    async def _decided(
        self, gid: str, status: Status, event: Event, reason_text: str | None, wait_ms: int
    ) -> TransactionReply:
        """Decide a gid that is in memory by a step, any other without a read (design, section 4)."""
        self._admit()
        if gid in self._driver.held:
            return await self._stepped(gid, lambda _transaction: event, wait_ms)
        write = self._driver.journal.append_decision(Held(self._decision(gid, status, reason_text), version=0))
        end = await self._driver.journal.wait(write)
        if end is WriteEnd.DURABLE and write.row is not None:
            return await self._reply(self._driver.held.get(gid), None, wait_ms, at_least=write.row)
        if end is not WriteEnd.MISSED:
            self._raise_for(end)
        return await self._stepped(gid, lambda _transaction: event, wait_ms)

    def _decision(self, gid: str, status: Status, reason_text: str | None) -> Transaction:
        now_ms = self._clock.now_ms()
        return Transaction(
            gid=gid,
            pattern=None,
            status=status,
            created_at_ms=now_ms,
            reason=Reason.INITIATOR if status is Status.ABORTING else None,
            reason_text=reason_text,
            next_due_at_ms=now_ms + LOOK_AGAIN_MS,
        )

    async def _stepped(self, gid: str, event_for: EventFor, wait_ms: int = 0) -> TransactionReply:
        for _ in range(STEPS_AGAIN_MAX):
            self._admit()
            try:
                held = self._driver.held.get(gid)
                if held is not None:
                    return await self._step_held(held, event_for(held.transaction), wait_ms)
                row = await self._load(gid)
                if row is None:
                    raise UnknownGid(gid)
                if gid not in self._driver.held:
                    return await self._answer_from(row, event_for, wait_ms)
            except _Again:
                continue
        raise Overloaded(f"{gid} changes too fast")

    async def _step_held(self, held: Held, event: Event, wait_ms: int) -> TransactionReply:
        taken = self._driver.apply(held, event)
        write = held.pending or held.writing
        if taken.refusal is not None:
            # The refusal must report a durable state: it waits for the write that it was computed from.
            await self._settled_or_again(write, is_own=False)
            raise Refused(taken.refusal, _standing(taken.transaction))
        if write is None:
            return await self._reply(held, None, wait_ms, at_least=await self._row_of(held))
        await self._settled_or_again(write)
        return await self._reply(held, write, wait_ms)

    async def _row_of(self, held: Held) -> Row:
        """Return the row of a copy that is durable: a repeat is answered from it, for others may have written."""
        version = held.version
        row = await self._load(held.gid)
        if row is not None and row.version == version:
            return row
        if held.version == version:
            self._driver.forget(held)  # somebody else wrote; else it was this node, while the row was read
        raise _Again

    async def _answer_from(self, row: Row, event_for: EventFor, wait_ms: int) -> TransactionReply:
        """Answer from a row that this node does not hold; take the transaction up only if the event changes it."""
        if row.format > FORMAT:
            raise Overloaded(f"{row.gid} was written by a newer coordinator, which has to serve it")
        stored = from_row(row)
        event = event_for(stored)
        probe = step(stored, event, self._clock.now_ms())
        if probe.refusal is not None:
            raise Refused(probe.refusal, _standing(stored))
        if probe.transaction is stored:
            return await self._reply(None, None, wait_ms, at_least=row)
        held = self._driver.adopt(row)
        return await self._step_held(held, event_for(held.transaction), wait_ms)

    async def _settled_or_again(self, write: Write | None, *, is_own: bool = True) -> None:
        """Wait for a write; `is_own` tells that the request has a part in it, and may be to blame for its data."""
        if write is None:
            return
        end = await self._driver.journal.wait(write)
        if end is WriteEnd.MISSED or (end is WriteEnd.BAD_DATA and not is_own):
            raise _Again
        if end is not WriteEnd.DURABLE:
            self._raise_for(end)

    async def _latest_is_settled(self, held: Held) -> None:
        write = held.pending or held.writing
        if write is not None:
            await self._driver.journal.wait(write)

    # --- replies

    async def _reply(
        self, held: Held | None, write: Write | None, wait_ms: int, at_least: Row | None = None
    ) -> TransactionReply:
        durable = write if write is not None else at_least
        assert durable is not None  # noqa: S101 - a reply stands on a write or on a row
        report = self._report(durable)
        if wait_ms == 0 or report.status in (Status.COMMITTED, Status.ABORTED):
            return report
        end = await self._ends.wait(report.gid, held, wait_ms)
        return report if end is None else self._report(end)

    def _report(self, durable: Write | Row) -> TransactionReply:
        state = durable.transaction if isinstance(durable, Write) else durable
        return TransactionReply(
            gid=state.gid,
            pattern=None if state.pattern is None else Pattern(state.pattern),
            status=state.status,
            reason=state.reason,
            version=durable.version,
            node=self._owner.node_id,
        )

    # --- admission and failure

    def _admit_begin(self) -> None:
        if self.draining:
            raise Overloaded("this node is draining and takes no new transactions")
        if len(self._driver.held) >= self._limits.open_transactions_max:
            raise Overloaded(f"{self._limits.open_transactions_max} transactions are open, the limit of this node")
        if self._driver.journal.depth >= self._limits.journal_begins_max:
            raise Overloaded(f"{self._limits.journal_begins_max} writes wait for the store, the limit for begins")
        self._admit()

    def _admit(self) -> None:
        if not self._owner.holds_lease:
            raise Overloaded("this node holds no lease at the moment")
        if self._driver.journal.depth >= self._limits.journal_writes_max:
            raise Overloaded(f"{self._limits.journal_writes_max} writes wait for the store, the limit")

    async def _load(self, gid: str) -> Row | None:
        try:
            return await self._store.load(gid)
        except StoreUnavailable as error:
            raise Unresolved(f"the store can't be read: {error}") from error

    def _raise_for(self, end: WriteEnd) -> None:
        if end is WriteEnd.REFUSED:
            raise Overloaded("the store takes no writes at the moment")
        if end is WriteEnd.BAD_DATA:
            raise RuleBroken("body", "the database refuses a value of this request, such as text it can't hold")
        raise Unresolved("the store did not tell in time whether the write is durable; repeat the call")


def _standing(transaction: Transaction) -> Standing:
    return Standing(transaction.gid, transaction.status, transaction.reason)
