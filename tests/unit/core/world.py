"""A whole world in miniature: a coordinator that may crash, a network that may lose, participants with a barrier.

Everything is a value: a world and what happens in it give the next world, so that a test can go every way there is.
"""

from collections.abc import Callable
from dataclasses import dataclass
from dataclasses import replace as changed
from typing import Self

from placet_contract.transactions import NULL
from placet_contract.vocabulary import FORWARD_OPERATIONS, Operation, Pattern, Status
from placet_coordinator.core.events import Adopted, Answered, Event, TimePassed
from placet_coordinator.core.moves import Step
from placet_coordinator.core.transaction import Transaction
from placet_coordinator.core.transitions import begin, step
from unit.core.invariants import check_step
from unit.core.life import verdict_of

Adoption = Callable[[Transaction, int], Step]


def adoption(row: Transaction, now_ms: int) -> Step:
    """Take a transaction up from its row, as the engine does."""
    return step(row, Adopted(), now_ms)


@dataclass(frozen=True)
class Message:
    """One call on its way.

    Attributes:
        answer: what the participant said; None as long as it did not get the message.
        stray: nobody waits for the answer any more; the message may still arrive, or never.
    """

    index: int
    operation: Operation
    attempt: int
    answer: str | None = None
    stray: bool = False


@dataclass(frozen=True)
class Mark:
    """What a branch's barrier remembers, and what the branch has in effect: 0 or 1."""

    forward: str | None = None
    is_undone: bool = False
    is_confirmed: bool = False

    @property
    def effect(self) -> int:
        return int(self.forward == "done" and not self.is_undone)

    def taken(self, operation: Operation, wish: str) -> tuple[Self, str]:
        """Return the barrier after an operation, and the answer; `wish` is what a first try or action would say."""
        if operation in FORWARD_OPERATIONS:
            if self.forward is not None:
                return self, self.forward
            if self.is_undone:
                return self, "late"
            if wish not in ("done", "rejected"):
                return self, wish
            return changed(self, forward=wish), wish
        if operation is Operation.CONFIRM:
            assert not self.is_undone, "confirmed after it was cancelled"
            return (changed(self, is_confirmed=True), "done") if self.forward == "done" else (self, "not-tried")
        assert not self.is_confirmed, "cancelled after it was confirmed"
        return changed(self, is_undone=True), "done"


@dataclass(frozen=True)
class World:
    """One moment.

    Attributes:
        memory: the coordinator's copy; None between a crash and the adoption.
        rows: what the store may hold by now, oldest first: a result is written some time later, a decision at once.
        wire: calls on their way.
        marks: the participants' barriers.
        adoption: how a transaction is taken up; a test puts a faulty one here to see it found.
    """

    now_ms: int
    memory: Transaction | None
    rows: tuple[Transaction, ...]
    wire: tuple[Message, ...]
    marks: tuple[Mark, ...]
    adoption: Adoption = adoption

    @classmethod
    def begun(cls, transaction: Transaction, adopt: Adoption = adoption) -> Self:
        """Begin a transaction in a world without messages."""
        marks = (Mark(),) * len(transaction.branches)
        empty = cls(transaction.created_at_ms, transaction, (transaction,), (), marks, adopt)
        return empty.after(begin(transaction, transaction.created_at_ms))

    @property
    def status(self) -> Status | None:
        return None if self.memory is None else self.memory.status

    def after(self, taken: Step) -> Self:
        """Take a step: what is awaited is durable before its calls leave, anything else may become durable later."""
        assert self.memory is not None
        check_step(self.memory, taken, self.now_ms)
        calls = tuple(Message(call.index, call.operation, call.attempt) for call in taken.calls)
        rows = (taken.transaction,) if taken.awaited else (*self.rows, taken.transaction)
        new = taken.transaction.branches[len(self.marks) :]
        marks = (*self.marks, *(Mark() for _ in new))
        after = changed(self, memory=taken.transaction, rows=rows, wire=(*self.wire, *calls), marks=marks)
        after.check()
        return after

    def happen(self, event: Event) -> Self:
        """Let something happen to the coordinator's copy."""
        assert self.memory is not None
        return self.after(step(self.memory, event, self.now_ms))

    # --- the network

    def arrive(self, message: Message, wish: str = "done") -> Self:
        """Let a message reach its participant."""
        mark, answer = self.marks[message.index].taken(message.operation, wish)
        marks = (*self.marks[: message.index], mark, *self.marks[message.index + 1 :])
        wire = tuple(changed(each, answer=answer) if each is message else each for each in self.wire)
        if message.stray:
            wire = tuple(each for each in self.wire if each is not message)
        after = changed(self, marks=marks, wire=wire)
        after.check()
        return after

    def reply(self, message: Message, chance: float = 0.5) -> Self:
        """Let an answer reach the coordinator."""
        assert message.answer is not None
        without = changed(self, wire=tuple(each for each in self.wire if each is not message))
        return without.happen(_answered(message, message.answer, self.now_ms, chance))

    def cut(self, message: Message, word: str, open_for_ms: int, chance: float = 0.5) -> Self:
        """Let a connection break: the coordinator learns nothing, and the message may still arrive some time."""
        stray = [changed(message, stray=True)] if message.answer is None and word != "unsent" else []
        without = changed(self, wire=(*(each for each in self.wire if each is not message), *stray))
        return without.happen(_answered(message, word, self.now_ms + open_for_ms, chance))

    # --- the coordinator

    def crash(self, row: Transaction) -> Self:
        """Let the coordinator die; `row` is what the store holds. Answers on their way are lost, calls are not."""
        strays = tuple(changed(each, stray=True) for each in self.wire if each.answer is None)
        return changed(self, memory=None, rows=(row,), wire=strays)

    def adopt(self, delay_ms: int) -> Self:
        """Let a coordinator take the transaction up, some time after the crash."""
        (row,) = self.rows
        now_ms = self.now_ms + delay_ms
        return changed(self, now_ms=now_ms, memory=row).after(self.adoption(row, now_ms))

    def look(self, at_ms: int) -> Self:
        """Let time pass until the coordinator looks at the transaction."""
        return changed(self, now_ms=max(at_ms, self.now_ms)).happen(TimePassed())

    # --- the promise

    def check(self) -> None:
        """Fail if a finished transaction has left another effect than its outcome promises."""
        transaction = self.memory
        if transaction is None or transaction.is_open:
            return
        effects = [
            mark.effect
            for mark, branch in zip(self.marks, transaction.branches, strict=True)
            if branch.compensate or transaction.status is Status.COMMITTED
        ]
        owed = int(transaction.status is Status.COMMITTED)
        assert effects == [owed] * len(effects), f"{transaction.status}, yet the effects are {effects}"
        if transaction.pattern is Pattern.TCC and transaction.status is Status.COMMITTED:
            assert all(mark.is_confirmed for mark in self.marks)


def _answered(message: Message, word: str, deadline_at_ms: int, chance: float) -> Answered:
    return Answered(
        index=message.index,
        operation=message.operation,
        attempt=message.attempt,
        verdict=verdict_of(word, message.operation),
        result=NULL,
        sent=word != "unsent",
        deadline_at_ms=deadline_at_ms,
        chance=chance,
    )
