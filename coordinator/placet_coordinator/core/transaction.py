"""One global transaction as one frozen value: its plan as begun, and its progress since."""

from msgspec import Raw, Struct, field

from placet_contract.transactions import NULL
from placet_contract.vocabulary import FINAL_STATUSES, BranchStatus, Operation, Pattern, Reason, Status

FORMAT = 1
"""Format of the two documents; a node neither claims nor writes a row of a newer format (design, section 4)."""


class Retry(Struct, frozen=True, omit_defaults=True):
    """How calls of a branch are repeated; `max_attempts` and `for_ms` bind only a saga's actions."""

    first_ms: int
    cap_ms: int
    for_ms: int | None = None
    max_attempts: int | None = None


class Branch(Struct, frozen=True, omit_defaults=True):
    """One participant's part, as planned, defaults filled in; never changed afterwards."""

    branch_id: str
    target: str | dict[Operation, str]
    timeout_ms: int
    retry: Retry
    payload: Raw = NULL
    headers: dict[str, str] = {}
    envelope: bool = False
    after: tuple[str, ...] = ()
    pivot: bool = False
    compensate: bool = True

    def offers(self, operation: Operation) -> bool:
        """Say whether this branch can be asked for the operation at all."""
        return isinstance(self.target, str) or operation in self.target


class Progress(Struct, frozen=True, omit_defaults=True):
    """What is known of one branch.

    Attributes:
        status: what is known to be finished.
        result: the answer of the forward operation, raw JSON; null where there was none.
        operation: the operation last called; the five figures below belong to it and begin anew with the next one.
        calling: a call of it is out.
        attempts: number of its last call.
        tries_used: attempts that count against `max_attempts`: a 425 does not.
        first_at_ms: when it was first called.
        next_at_ms: when its next call is due (None: at once), or, while a call is out, when its answer is overdue.
        may_have_run: the forward operation was sent, or an earlier owner may have sent it.
        open_until_ms: until then an unanswered forward call may still be at work; 0: none is.
        unanswered: some forward call got no answer, so a rejection of another does not prove that nothing ran.
        pivot_sent: written durably *before* a pivot is sent: the row proves it, other sends it does not. Lifted by an
            owner that knows that no attempt of it left.
        undo: rejected or late, yet an earlier attempt may have run: undone like the others.
        trouble: a cause for attention, in words.
        note: the last failed call, in words.
    """

    status: BranchStatus = BranchStatus.PENDING
    result: Raw = NULL
    operation: Operation | None = None
    calling: bool = False
    attempts: int = 0
    tries_used: int = 0
    first_at_ms: int | None = None
    next_at_ms: int | None = None
    may_have_run: bool = False
    open_until_ms: int = 0
    unanswered: bool = False
    pivot_sent: bool = False
    undo: bool = False
    trouble: str | None = None
    note: str | None = None


UNTOUCHED = Progress()


class Transaction(Struct, frozen=True):
    """A global transaction: one aggregate, one row, changed only by `transitions.step`.

    Attributes:
        pattern: None for an abort that was recorded for a gid nobody had begun.
        begun_count: how many of `branches` came with begin; a repeated begin is compared with those alone.
        timeout_ms: an active transaction older than this is aborted; None: time alone never aborts it.
        next_due_at_ms: when somebody must look at it again; None once it is final.
    """

    gid: str
    pattern: Pattern | None
    status: Status
    created_at_ms: int
    name: str | None = None
    key: str | None = None
    parent: str | None = None
    reason: Reason | None = None
    reason_text: str | None = None
    attention: str | None = None
    heuristic: bool = False
    paused_at_ms: int | None = None
    timeout_ms: int | None = None
    drive: bool = False
    traceparent: str | None = None
    decided_at_ms: int | None = None
    finished_at_ms: int | None = None
    next_due_at_ms: int | None = None
    begun_count: int = 0
    branches: tuple[Branch, ...] = ()
    progress: tuple[Progress, ...] = ()

    @property
    def is_open(self) -> bool:
        """Say whether anything is left to do. The engine's hot path asks the status itself: this is not compiled."""
        return self.status not in FINAL_STATUSES

    @property
    def times_out_at_ms(self) -> int | None:
        """Return the instant at which an active transaction is given up, or None."""
        return None if self.timeout_ms is None else self.created_at_ms + self.timeout_ms


class Call(Struct, frozen=True):
    """An effect: call one operation of one branch, once the step that asked for it is durable where it must be."""

    index: int
    operation: Operation
    attempt: int


class PlanDocument(Struct, frozen=True, omit_defaults=True):
    """The `plan` column: what was begun; rewritten only by registration."""

    branches: tuple[Branch, ...] = ()
    begun_count: int = 0
    timeout_ms: int | None = None
    drive: bool = False
    traceparent: str | None = None


class ProgressDocument(Struct, frozen=True, omit_defaults=True):
    """The `progress` column: what happened since."""

    branches: tuple[Progress, ...] = ()
    decided_at_ms: int | None = None
    format: int = field(default=FORMAT)
