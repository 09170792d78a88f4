"""Any life of any transaction: random plans, answers, losses, crashes, pauses and requests, in any order.

Hypothesis drives the same world as the diamond's test goes through completely: participants with a barrier, messages
that arrive late or never, rows that may be behind. After each step the invariants are checked, and at the end the
transaction is driven home and must have left all effects or none.
"""

from dataclasses import replace as changed
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from msgspec.structs import replace

from placet_contract.vocabulary import Operation, Pattern, Status
from placet_coordinator.core.events import (
    AbortAsked,
    BeginAsked,
    CommitAsked,
    RegisterAsked,
    RetryAsked,
    TimePassed,
)
from placet_coordinator.core.moves import Step
from placet_coordinator.core.transaction import Transaction
from unit.core.life import further, plan_of
from unit.core.world import Message, World

STEPS_MAX = 5
ENOUGH = 2_000
CHANCES = st.floats(0, 1, exclude_max=True)
WISHES = st.sampled_from(["done", "done", "done", "rejected", "ongoing", "error"])
LOSSES = st.sampled_from(["lost", "lost", "unsent"])
DELAYS_MS = st.sampled_from([0, 1, 500, 10_000, 70_000, 700_000])


@st.composite
def sagas(draw: st.DrawFn) -> Transaction:
    """Draw a saga: any order without a cycle, with a pivot or none, with limits or none."""
    count = draw(st.integers(1, STEPS_MAX))
    pivot = draw(st.none() | st.integers(0, count - 1))
    steps: list[dict[str, Any]] = []
    for index in range(count):
        earlier = [f"s{other}" for other in range(index)]
        after = draw(st.lists(st.sampled_from(earlier), unique=True)) if earlier else []
        if pivot is not None and index >= pivot:
            after = earlier if index == pivot else sorted({*after, f"s{pivot}"})
        step: dict[str, Any] = {"branch_id": f"s{index}", "after": after, "pivot": index == pivot}
        step["compensate"] = draw(st.sampled_from([True, True, True, False]))
        step["retry"] = draw(st.sampled_from([{}, {"max_attempts": 2}, {"for_ms": 30_000}, {"cap_ms": 200}]))
        steps.append(step)
    return plan_of("saga", *steps, **draw(st.sampled_from([{}, {"timeout_ms": 20_000}])))


@st.composite
def tccs(draw: st.DrawFn) -> Transaction:
    """Draw a tcc, driven or not."""
    drive = draw(st.booleans())
    count = draw(st.integers(1 if drive else 0, 4))
    return plan_of("tcc", *(f"s{index}" for index in range(count)), drive=drive)


class AnyLife(RuleBasedStateMachine):
    """One transaction, and what may befall it."""

    world: World
    asked: Transaction

    @initialize(asked=sagas() | tccs())
    def begin(self, asked: Transaction) -> None:
        self.asked = asked
        self.world = World.begun(asked)

    def teardown(self) -> None:
        if hasattr(self, "world"):
            drive_home(self.world)

    def is_up(self) -> bool:
        return self.world.memory is not None

    def waits(self, *, answered: bool) -> list[Message]:
        return [each for each in self.world.wire if (each.answer is not None) is answered]

    # --- the network

    @precondition(lambda self: self.waits(answered=False))
    @rule(data=st.data(), wish=WISHES)
    def arrive(self, data: st.DataObject, wish: str) -> None:
        message = data.draw(st.sampled_from(self.waits(answered=False)))
        self.world = self.world.arrive(message, wish)

    @precondition(lambda self: self.waits(answered=True))
    @rule(data=st.data(), chance=CHANCES)
    def reply(self, data: st.DataObject, chance: float) -> None:
        self.world = self.world.reply(data.draw(st.sampled_from(self.waits(answered=True))), chance)

    @precondition(lambda self: self.is_up() and any(not each.stray for each in self.world.wire))
    @rule(data=st.data(), word=LOSSES, open_for_ms=DELAYS_MS, chance=CHANCES)
    def cut(self, data: st.DataObject, word: str, open_for_ms: int, chance: float) -> None:
        message = data.draw(st.sampled_from([each for each in self.world.wire if not each.stray]))
        if message.answer is not None:
            word = "lost"  # it arrived, so it was sent
        self.world = self.world.cut(message, word, open_for_ms, chance)

    @precondition(lambda self: self.is_up() and any(each.operation for each in self.world.memory.progress))
    @rule(data=st.data(), verdict=WISHES)
    def stale_answer(self, data: st.DataObject, verdict: str) -> None:
        """An answer of an attempt that nobody waits for changes nothing."""
        progress = self.world.memory.progress
        index = data.draw(st.sampled_from([at for at, each in enumerate(progress) if each.operation]))
        message = Message(index, progress[index].operation or Operation.TRY, progress[index].attempts + 7, verdict)
        before = self.world.memory
        self.world = self.world.reply(message)
        assert self.world.memory is before

    # --- the coordinator

    @precondition(lambda self: self.is_up() and self.world.memory.is_open)
    @rule(delay_ms=DELAYS_MS)
    def look(self, delay_ms: int) -> None:
        self.world = self.world.look(self.world.now_ms + delay_ms)

    @precondition(lambda self: self.is_up() and self.world.memory.is_open)
    @rule()
    def look_when_due(self) -> None:
        self.world = self.world.look(self.world.memory.next_due_at_ms)

    @precondition(lambda self: self.is_up() and self.world.memory.is_open)
    @rule(data=st.data(), delay_ms=DELAYS_MS)
    def crash(self, data: st.DataObject, delay_ms: int) -> None:
        row = data.draw(st.sampled_from(self.world.rows))
        self.world = self.world.crash(row)
        if row.is_open:
            self.world = self.world.adopt(delay_ms)

    @precondition(lambda self: self.is_up() and self.world.memory.is_open)
    @rule()
    def pause_or_resume(self) -> None:
        paused_at_ms = None if self.world.memory.paused_at_ms is not None else self.world.now_ms
        flipped = replace(self.world.memory, paused_at_ms=paused_at_ms)
        self.world = self.world.after(Step(flipped, awaited=True))

    # --- requests

    @precondition(lambda self: self.is_up())
    @rule(event=st.sampled_from([CommitAsked(), AbortAsked(), RetryAsked(), TimePassed()]))
    def ask(self, event: CommitAsked | AbortAsked | RetryAsked | TimePassed) -> None:
        """An initiator commits only what it has tried everywhere, as the SDK sees to."""
        if isinstance(event, CommitAsked) and self.world.status is Status.ACTIVE and not self.asked.drive:
            self.try_everywhere()
            if any(mark.forward != "done" for mark in self.world.marks):
                return
        self.world = self.world.happen(event)

    @precondition(lambda self: self.is_up())
    @rule(name=st.sampled_from(["new", "s0", "other"]))
    def register(self, name: str) -> None:
        """A branch is registered durably before anything of it is called."""
        after = self.world.happen(RegisterAsked(further(name)))
        self.world = changed(after, rows=after.rows[-1:])

    @precondition(lambda self: self.is_up())
    @rule()
    def begin_again(self) -> None:
        before = self.world.memory
        self.world = self.world.happen(BeginAsked(self.asked))
        assert self.world.memory is before

    def try_everywhere(self) -> None:
        if self.asked.pattern is not Pattern.TCC:
            return
        for index in range(len(self.world.marks)):
            mine = Message(index, Operation.TRY, 1, stray=True)
            self.world = self.world.arrive(mine)


def drive_home(world: World) -> None:
    """Let everything arrive and every call be done, until the transaction is final; then let the strays arrive."""
    if world.memory is None:
        return
    if world.memory.paused_at_ms is not None and world.memory.is_open:
        world = world.after(Step(replace(world.memory, paused_at_ms=None), awaited=True)).look(world.now_ms)
    for _ in range(ENOUGH):
        assert world.memory is not None
        expected = [each for each in world.wire if not each.stray]
        if not world.memory.is_open and not expected:
            break
        if not expected:
            assert world.memory.next_due_at_ms is not None
            world = world.look(world.memory.next_due_at_ms)
            continue
        message = expected[0]
        world = world.arrive(message) if message.answer is None else world.reply(message)
    if world.status is Status.COMMITTING and any(mark.forward == "rejected" for mark in world.marks):
        # A step after the pivot said no for good: there is no way back, so a human has to look.
        assert world.memory.attention is not None
        return
    assert not world.memory.is_open, f"{world.status} after {ENOUGH} moves"
    while world.wire:
        world = world.arrive(world.wire[0])


AnyLife.TestCase.settings = settings(
    max_examples=150,
    stateful_step_count=40,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
)
TestAnyLife = AnyLife.TestCase
