"""The commands: begin, register, commit, abort, retry. Every reply reports a durable state.

A request that meets a row which is not what this node thought (another node wrote it) is stepped again on the row as it
is; how often is bounded.
"""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TypeVar

from placet_contract.transactions import BeginRequest, RegisterRequest, TransactionReply
from placet_contract.vocabulary import Pattern, Reason, Status
from placet_coordinator.core.calling import LOOK_AGAIN_MS
from placet_coordinator.core.events import AbortAsked, BeginAsked, CommitAsked, Event, RegisterAsked, RetryAsked
from placet_coordinator.core.patterns.recorded_abort import recorded_abort
from placet_coordinator.core.plan import check_room, plan_branches, planned
from placet_coordinator.core.rule import RuleBroken
from placet_coordinator.core.transaction import FORMAT, Branch, Transaction
from placet_coordinator.core.transitions import step
from placet_coordinator.engine.admission import Admission, CommandLimits
from placet_coordinator.engine.driver import Driver
from placet_coordinator.engine.errors import Overloaded, Refused, Standing, UnknownGid, Unresolved
from placet_coordinator.engine.held import Held, Waiter, Write, WriteEnd
from placet_coordinator.engine.rows import from_row
from placet_coordinator.engine.waiting import EndWatch
from placet_coordinator.ports.clock import Chance, Clock
from placet_coordinator.ports.owner import Owner
from placet_coordinator.ports.rows import Row
from placet_coordinator.ports.store import StoreUnavailable, TransactionStore

STEPS_AGAIN_MAX = 12
"""How often one request is stepped again because somebody else wrote its row in between."""


_Answer = TypeVar("_Answer")
EventFor = Callable[[Transaction], Event]


class Again(Exception):
    """The row is not what this node thought: step the request again.

    Attributes:
        is_certain: nothing of this attempt was written; else its write may have been, and was overwritten since.
    """

    def __init__(self, *, is_certain: bool = True) -> None:
        super().__init__()
        self.is_certain = is_certain


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
        self._admission = Admission(driver, owner, limits)

    def drain(self) -> None:
        """Take no new transactions from now on."""
        self._admission.draining = True

    async def begin(
        self, request: BeginRequest, *, traceparent: str | None = None, wait_ms: int = 0
    ) -> tuple[TransactionReply, bool]:
        """Begin a transaction, or answer a repeat; the second value tells whether it is new.

        When this returns, the transaction and its branches are durable.
        """
        return await self.begin_planned(self.plan(request, traceparent=traceparent), wait_ms=wait_ms)

    def plan(self, request: BeginRequest, *, traceparent: str | None = None) -> Transaction:
        """Return the transaction that a begin asks for; nothing has happened yet."""
        self._admission.check_begin()
        if request.gid is None and request.pattern is Pattern.SAGA:
            raise RuleBroken("gid", "a saga needs a gid of your own: it is what makes a repeated begin the same saga")
        gid = self._chance.new_gid() if request.gid is None else request.gid
        transaction = planned(
            request, gid, self._clock.now_ms(), branches_max=self._limits.branches_max, traceparent=traceparent
        )
        self._check_targets(transaction.branches)
        return transaction

    async def begin_planned(
        self, transaction: Transaction, *, wait_ms: int = 0, is_certain: bool = True
    ) -> tuple[TransactionReply, bool]:
        """Begin what `plan` returned; `is_certain`: no earlier attempt of this request may have written anything."""
        return await self._fitting(transaction.gid, lambda: self._begin(transaction, wait_ms), is_certain=is_certain)

    async def register(self, gid: str, request: RegisterRequest, *, is_certain: bool = True) -> TransactionReply:
        """Add branches to an active transaction. When this returns, they are durable."""
        event = self.registration(request)
        return await self._fitting(gid, lambda: self._step(gid, event), is_certain=is_certain)

    def registration(self, request: RegisterRequest) -> EventFor:
        """Return what a registration asks of a transaction; it raises `RuleBroken` for one that it can't be made of."""
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
            check_room(transaction, branches[pattern], branches_max=self._limits.branches_max)
            return RegisterAsked(branches[pattern])

        return event

    async def commit(self, gid: str, *, wait_ms: int = 0, is_certain: bool = True) -> TransactionReply:
        """Decide that all of it happens. When this returns, the decision is durable."""
        event = CommitAsked()
        return await self._fitting(
            gid, lambda: self._decide(gid, Status.COMMITTING, event, None, wait_ms), is_certain=is_certain
        )

    async def abort(
        self, gid: str, reason_text: str | None = None, *, wait_ms: int = 0, is_certain: bool = True
    ) -> TransactionReply:
        """Decide that none of it happens; an unknown gid is recorded as aborted. The decision is durable on return."""
        event = AbortAsked(Reason.INITIATOR, reason_text)

        async def attempt() -> TransactionReply:
            with suppress(UnknownGid):
                return await self._decide(gid, Status.ABORTING, event, reason_text, wait_ms)
            write = self._driver.begin(recorded_abort(gid, reason_text, self._clock.now_ms()))
            await self._durable(write)
            return self.report(write)

        return await self._fitting(gid, attempt, is_certain=is_certain)

    async def retry(self, gid: str) -> TransactionReply:
        """Make the waiting calls of an open transaction now: an operator's nudge, which decides nothing."""
        return await self._fitting(gid, lambda: self._step(gid, lambda _transaction: RetryAsked()))

    # --- first attempts: without a task, a future or a coroutine, for most requests need no second one

    def begin_at_once(self, transaction: Transaction, waiter: Waiter) -> Write | None:
        """Begin what `plan` returned, if this node does not know the gid; the waiter is told how its write ended.

        None: the gid is known; nothing has happened, `begin_planned` answers.
        """
        if transaction.gid in self._driver.held:
            return None
        write = self._driver.begin(transaction)
        self._driver.journal.tell(write, waiter)
        return write

    def step_at_once(self, gid: str, event_for: EventFor, waiter: Waiter) -> Write | None:
        """Step a transaction that this node holds; the waiter is told how the write ended.

        None: it is not held, or the event changes nothing or is refused; the command itself answers.

        Raises:
            RuleBroken, Overloaded: nothing has happened.
        """
        held = self._driver.held.get(gid)
        if held is None:
            return None
        self._admission.check()
        taken = self._driver.apply(held, event_for(held.transaction))
        write = held.pending or held.writing
        if write is None or taken.refusal is not None:
            return None
        self._driver.journal.tell(write, waiter)
        return write

    # --- one request, stepped until it fits the row

    async def _fitting(
        self, gid: str, attempt: Callable[[], Awaitable[_Answer]], *, is_certain: bool = True
    ) -> _Answer:
        """Make attempts until one fits the row as it is; how often is bounded.

        What says that nothing was written has to hold for the attempts before as well.
        """
        for _ in range(STEPS_AGAIN_MAX):
            try:
                self._admission.check()
                return await attempt()
            except Again as again:
                is_certain = is_certain and again.is_certain
            except Overloaded as error:
                if is_certain:
                    raise
                raise Unresolved(f"an earlier write of this request was lost sight of; then: {error}") from error
        if is_certain:
            raise Overloaded(f"{gid} changes too fast")
        raise Unresolved(f"{gid} changes too fast; repeat the call")

    async def _begin(self, transaction: Transaction, wait_ms: int) -> tuple[TransactionReply, bool]:
        gid = transaction.gid
        held = self._driver.held.get(gid)
        if held is None:
            write = self._driver.begin(transaction)
            end = await self._driver.journal.wait(write)
            if end is WriteEnd.DURABLE:
                return await self._reply(write.held, write, wait_ms), True
            if end is not WriteEnd.MISSED:
                raise failure(end)
        else:
            await self._latest_is_settled(held)
        row = await self._load(gid)
        if row is None:
            raise Again
        return await self._answer_from(row, lambda _stored: BeginAsked(transaction), wait_ms), False

    async def _decide(
        self, gid: str, status: Status, event: Event, reason_text: str | None, wait_ms: int
    ) -> TransactionReply:
        """Decide a gid that is in memory by a step, any other without a read (design, section 4)."""
        if gid not in self._driver.held:
            decision = Held(self._decision(gid, status, reason_text), version=0)
            write = self._driver.journal.append_decision(decision)
            end = await self._driver.journal.wait(write)
            if end is WriteEnd.DURABLE and write.row is not None:
                return await self._reply(self._driver.held.get(gid), None, wait_ms, at_least=write.row)
            if end is not WriteEnd.MISSED:
                raise failure(end)
        return await self._step(gid, lambda _transaction: event, wait_ms)

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

    async def _step(self, gid: str, event_for: EventFor, wait_ms: int = 0) -> TransactionReply:
        held = self._driver.held.get(gid)
        if held is not None:
            return await self._step_held(held, event_for(held.transaction), wait_ms)
        row = await self._load(gid)
        if row is None:
            raise UnknownGid(gid)
        if gid in self._driver.held:
            raise Again
        return await self._answer_from(row, event_for, wait_ms)

    async def _step_held(self, held: Held, event: Event, wait_ms: int) -> TransactionReply:
        taken = self._driver.apply(held, event)
        write = held.pending or held.writing
        if taken.refusal is not None:
            # The refusal must report a durable state: it waits for the write that it was computed from.
            if write is not None:
                await self._durable(write, is_own=False)
            raise Refused(taken.refusal, _standing(taken.transaction))
        if write is None:
            return await self._reply(held, None, wait_ms, at_least=await self._row_of(held))
        await self._durable(write)
        return await self._reply(held, write, wait_ms)

    async def _row_of(self, held: Held) -> Row:
        """Return the row of a copy that is durable: a repeat is answered from it, for others may have written."""
        version = held.version
        row = await self._load(held.gid)
        if row is not None and row.version == version:
            return row
        if held.version == version:
            self._driver.forget(held)  # somebody else wrote; else it was this node, while the row was read
        raise Again

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

    async def _durable(self, write: Write, *, is_own: bool = True) -> None:
        """Wait until a write is durable; `is_own`: the request has a part in it, and may be to blame for its data."""
        end = await self._driver.journal.wait(write)
        if end is WriteEnd.BAD_DATA and not is_own:
            raise Again
        if end is not WriteEnd.DURABLE:
            raise failure(end)

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
        report = self.report(durable)
        if wait_ms == 0 or report.status in (Status.COMMITTED, Status.ABORTED):
            return report
        end = await self._ends.wait(report.gid, held, wait_ms)
        return report if end is None else self.report(end)

    def report(self, durable: Write | Row) -> TransactionReply:
        """Return the reply that reports a durable write or row."""
        state: Transaction | Row
        if isinstance(durable, Write):
            state = durable.transaction
            pattern = durable.transaction.pattern
        else:
            state = durable
            pattern = None if durable.pattern is None else Pattern(durable.pattern)
        return TransactionReply(
            gid=state.gid,
            pattern=pattern,
            status=state.status,
            reason=state.reason,
            version=durable.version,
            node=self._owner.node_id,
        )

    # --- reading

    async def _load(self, gid: str) -> Row | None:
        try:
            return await self._store.load(gid)
        except StoreUnavailable as error:
            raise Unresolved(f"the store can't be read: {error}") from error


def failure(end: WriteEnd) -> Exception:
    """Return what a write's end means for whoever waited for it."""
    if end in (WriteEnd.MISSED, WriteEnd.UNSEEN):
        return Again(is_certain=end is WriteEnd.MISSED)
    if end is WriteEnd.REFUSED:
        return Overloaded("the store takes no writes at the moment")
    if end is WriteEnd.BAD_DATA:
        return RuleBroken("body", "the database refuses a value of this request, such as text it can't hold")
    return Unresolved("the store did not tell in time whether the write is durable; repeat the call")


def _standing(transaction: Transaction) -> Standing:
    return Standing(transaction.gid, transaction.status, transaction.reason)
