"""One transaction in a test: begun as a client would, on a clock that the test moves, with its calls by name."""

import json
from typing import Any, Self

import msgspec
from msgspec import Raw
from msgspec.structs import replace

from placet_contract.outcomes import Verdict, classify
from placet_contract.transactions import BeginRequest, BranchRequest
from placet_contract.vocabulary import BranchStatus, Operation, Outcome
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
from placet_coordinator.core.plan import plan_branches, planned
from placet_coordinator.core.transaction import Branch, Progress, Transaction
from placet_coordinator.core.transitions import begin, step

BEGUN_AT_MS = 1_700_000_000_000
ANSWERS = {
    "done": (200, b""),
    "rejected": (409, b'{"type":"https://placet.dev/problems/rejected","detail":"no"}'),
    "late": (409, b'{"type":"https://placet.dev/problems/late"}'),
    "not-tried": (409, b'{"type":"https://placet.dev/problems/not-tried"}'),
    "ongoing": (425, b""),
    "error": (500, b""),
}
"""What a participant can say; anything else that befalls a call is `lost` or `unsent`."""


def plan_of(pattern: str, *branches: str | dict[str, Any], gid: str = "g", **fields: Any) -> Transaction:
    """Return a new transaction; a bare name stands for a branch of that name."""
    asked = [{"branch_id": each} if isinstance(each, str) else each for each in branches]
    body = {"pattern": pattern, "branches": [{"target": f"shop/{each['branch_id']}", **each} for each in asked]}
    request = msgspec.json.decode(json.dumps({**body, **fields}), type=BeginRequest)
    return planned(request, gid, BEGUN_AT_MS)


def further(*branches: str | dict[str, Any]) -> tuple[Branch, ...]:
    """Return branches as a tcc would register them."""
    asked = [{"branch_id": each} if isinstance(each, str) else each for each in branches]
    text = json.dumps([{"target": f"shop/{each['branch_id']}", **each} for each in asked])
    transaction = plan_of("tcc")
    return plan_branches(msgspec.json.decode(text, type=list[BranchRequest]), transaction.pattern, drive=False)


def verdict_of(word: str, operation: Operation) -> Verdict:
    """Return what the coordinator makes of an answer, or of none."""
    if word in ANSWERS:
        return classify(operation, *ANSWERS[word])
    return Verdict(Outcome.UNKNOWN, detail="connection cut" if word == "lost" else "no live instance")


class Life:
    """A transaction's life: events go in, the last step is looked at.

    Args:
        transaction: as planned; it is begun at once.
    """

    def __init__(self, transaction: Transaction) -> None:
        self.now_ms = transaction.created_at_ms
        self.last = begin(transaction, self.now_ms)

    @classmethod
    def of(cls, pattern: str, *branches: str | dict[str, Any], **fields: Any) -> Self:
        """Begin a transaction of these branches."""
        return cls(plan_of(pattern, *branches, **fields))

    @property
    def transaction(self) -> Transaction:
        return self.last.transaction

    @property
    def status(self) -> str:
        return self.transaction.status.value

    @property
    def calls(self) -> list[str]:
        """The calls of the last step, such as `action a`."""
        return [f"{each.operation} {self.transaction.branches[each.index].branch_id}" for each in self.last.calls]

    @property
    def out(self) -> set[str]:
        """The calls that are out, such as `action a`."""
        pairs = zip(self.transaction.branches, self.transaction.progress, strict=True)
        return {f"{each.operation} {branch.branch_id}" for branch, each in pairs if each.calling}

    @property
    def branch_statuses(self) -> dict[str, str]:
        """What is known of each branch."""
        pairs = zip(self.transaction.branches, self.transaction.progress, strict=True)
        return {branch.branch_id: each.status.value for branch, each in pairs}

    @property
    def due_in_ms(self) -> int | None:
        """How long until somebody must look again."""
        due_at_ms = self.transaction.next_due_at_ms
        return None if due_at_ms is None else due_at_ms - self.now_ms

    def progress(self, branch_id: str) -> Progress:
        return self.transaction.progress[self.index(branch_id)]

    def index(self, branch_id: str) -> int:
        return [branch.branch_id for branch in self.transaction.branches].index(branch_id)

    def take(self, event: Event) -> Step:
        """Let something happen now."""
        self.last = step(self.transaction, event, self.now_ms)
        return self.last

    def answer(self, branch_id: str, word: str = "done", *, attempt: int | None = None, **details: Any) -> Step:
        """Let the call of a branch that is out come to its end.

        Args:
            branch_id: of the branch.
            word: one of `ANSWERS`, `lost` (sent, and nothing came back) or `unsent`.
            attempt: that it answers; the last one if left out.
            details: `operation`, `result`, `chance`, and `open_for_ms`: how much longer a lost call may be at work.
        """
        progress = self.progress(branch_id)
        operation = details.get("operation", progress.operation) or Operation.ACTION
        answered = Answered(
            index=self.index(branch_id),
            operation=operation,
            attempt=progress.attempts if attempt is None else attempt,
            verdict=details.get("verdict") or verdict_of(word, operation),
            result=Raw(json.dumps(details.get("result")).encode()),
            sent=word != "unsent",
            deadline_at_ms=self.now_ms + details.get("open_for_ms", 0),
            chance=details.get("chance", 0.5),
        )
        return self.take(answered)

    def wait(self, delay_ms: int) -> Step:
        """Let time pass, and look at the transaction then."""
        self.now_ms += delay_ms
        return self.take(TimePassed())

    def wait_until_due(self) -> Step:
        """Let time pass until somebody must look."""
        assert self.due_in_ms is not None
        return self.wait(max(self.due_in_ms, 0))

    def commit(self) -> Step:
        return self.take(CommitAsked())

    def abort(self, text: str | None = None) -> Step:
        return self.take(AbortAsked(reason_text=text))

    def adopt(self) -> Step:
        return self.take(Adopted())

    def retry(self) -> Step:
        return self.take(RetryAsked())

    def register(self, *branches: str | dict[str, Any]) -> Step:
        return self.take(RegisterAsked(further(*branches)))

    def begin_again(self, asked: Transaction) -> Step:
        return self.take(BeginAsked(asked))

    def pause(self) -> None:
        """Set the field, as an operator's command would."""
        self.last = Step(replace(self.transaction, paused_at_ms=self.now_ms))

    def resume(self) -> None:
        """Clear the field, and look at the transaction."""
        self.last = Step(replace(self.transaction, paused_at_ms=None))
        self.wait(0)

    def finish(self, limit: int = 100) -> None:
        """Let every call be done, and time pass where nothing is out, until the transaction is final."""
        for _ in range(limit):
            if not self.transaction.is_open:
                return
            waiting = [each.split()[1] for each in sorted(self.out)]
            if waiting:
                self.answer(waiting[0])
            else:
                self.wait_until_due()
        raise AssertionError(f"{self.transaction.status} after {limit} answers")


def is_settled(transaction: Transaction, index: int) -> bool:
    """Say whether nothing is left to undo in a step."""
    progress = transaction.progress[index]
    if progress.status is BranchStatus.REJECTED:
        return not progress.undo
    return progress.status in (BranchStatus.COMPENSATED, BranchStatus.SKIPPED)
