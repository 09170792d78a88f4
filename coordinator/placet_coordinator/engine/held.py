"""An open transaction in memory, with the writes that are on their way to make it durable."""

from asyncio import Future
from enum import Enum, IntEnum
from typing import Protocol

from placet_coordinator.core.transaction import Call, Transaction
from placet_coordinator.ports.rows import AttemptRow, EntryKind, Row


class WriteEnd(Enum):
    """How a write ended."""

    DURABLE = "durable"
    MISSED = "missed"
    """The row is not what we thought, and nothing was written: reload it, and step the request again."""
    UNSEEN = "unseen"
    """The acknowledgement was lost, and the row does not carry our stamp: never written, or overwritten since. Step the
    request again, and never say that nothing was written."""
    REFUSED = "refused"
    """Nothing was written: the store is away, or the row stayed locked."""
    UNRESOLVED = "unresolved"
    """Whether it was written could not be found out in time."""
    BAD_DATA = "bad_data"
    """The database refused a value of it."""


class Lane(IntEnum):
    """How much hurry a write has; a lane only ever grows."""

    PARTIAL = 0
    """A result with more to come: it waits up to 20 ms to be folded with the next one."""
    RIDER = 1
    """Rides with the next batch, at most 20 ms later; it wakes nobody."""
    URGENT = 2
    """Somebody waits for it."""


class Waiter(Protocol):
    """Who is told how a write ended, on the loop: a future, or a hot caller's own object."""

    def done(self) -> bool:
        """Say whether nobody waits any more."""

    def set_result(self, end: WriteEnd, /) -> None:
        """Hear the end. It is called in the middle of a batch, so it must be short, and must not raise."""


class Write:
    """One journal entry on its way: the state that it will make durable.

    While it has not been taken into a batch, later steps of the same transaction are folded into it.
    """

    __slots__ = (
        "attempts",
        "calls",
        "end",
        "expected_version",
        "held",
        "kind",
        "lane",
        "plan_changed",
        "ride_at",
        "row",
        "taken",
        "transaction",
        "version",
        "waiters",
        "written_by",
    )

    def __init__(self, held: "Held", kind: EntryKind, transaction: Transaction, version: int) -> None:
        self.held = held
        self.kind = kind
        self.transaction = transaction
        self.version = version
        self.expected_version = version - 1
        self.plan_changed = False
        self.attempts: tuple[AttemptRow, ...] = ()
        self.calls: list[Call] = []
        self.waiters: list[Waiter] = []
        self.lane = Lane.PARTIAL
        self.ride_at = 0.0
        self.taken = False
        self.end: WriteEnd | None = None
        self.row: Row | None = None
        self.written_by = ""


class Held:
    """One open transaction that this node drives.

    Attributes:
        transaction: the latest step, durable or not.
        version: the version that `transaction` has or will have.
        pending: the write that has not been taken yet; steps are folded into it.
        writing: the write that is with the store.
        gate: the last write that calls must wait for, until it is durable.
        stored_due_at_ms: the due time in the row as last written.
        finish_waiters: who waits for the end: its write, or None if the copy was dropped or the node drains.
        is_fenced: the row's version is this node's own, and no write of anybody else can hit any more. Until it is,
            calls wait for a write of this copy: what they do would be unknown to a write that may still arrive.
        dead: this copy is no longer the truth; whatever comes back for it is dropped.
        tick: when its time comes, in ticks of the schedule.
    """

    __slots__ = (
        "dead",
        "finish_waiters",
        "gate",
        "gid",
        "is_fenced",
        "pending",
        "stored_due_at_ms",
        "tick",
        "transaction",
        "version",
        "writing",
    )

    def __init__(self, transaction: Transaction, version: int, *, is_fenced: bool = False) -> None:
        self.gid = transaction.gid
        self.transaction = transaction
        self.version = version
        self.pending: Write | None = None
        self.writing: Write | None = None
        self.gate: Write | None = None
        self.stored_due_at_ms: int | None = None
        self.finish_waiters: list[Future[Write | None]] = []
        self.is_fenced = is_fenced
        self.dead = False
        self.tick: int | None = None

    @property
    def durable_version(self) -> int:
        """The version of the row that this copy stands on: its writes on the way would each raise it by one."""
        return self.version - (self.pending is not None) - (self.writing is not None)

    @property
    def is_idle(self) -> bool:
        """Say whether no call is out, no write is on its way, and nobody waits."""
        return (
            self.pending is None
            and self.writing is None
            and not self.finish_waiters
            and not any(each.calling for each in self.transaction.progress)
        )
