"""What a command of the engine may end with, apart from its reply. The edge maps each to one problem type.

CommandError
├── UnknownGid       404: never begun here, or past the retention
├── Refused          409 or 422: the core refused the event; nothing changed
├── Overloaded       503 with Retry-After: nothing was written; repeat later
├── Damaged          500: the row can't be read; nothing was written, and a repeat would not help
└── Unresolved       500: the outcome of the write is unknown; repeat the call, it is idempotent
"""

from msgspec import Struct

from placet_coordinator.core.moves import Refusal


class CommandError(Exception):
    """Root of what a command may end with."""


class UnknownGid(CommandError):
    """No transaction of this gid is known."""

    def __init__(self, gid: str) -> None:
        super().__init__(f"no transaction {gid}: never begun here, or past the retention")
        self.gid = gid


class Standing(Struct, frozen=True):
    """Where a transaction durably stands: what a refusal reports beside its rule."""

    gid: str
    status: str
    reason: str | None


class Refused(CommandError):
    """The transaction's state or pattern does not allow it; nothing changed, and a repeat would be refused as well."""

    def __init__(self, refusal: Refusal, standing: Standing) -> None:
        super().__init__(f"{standing.gid} is {standing.status}: {refusal.rule}")
        self.refusal = refusal
        self.standing = standing


class Overloaded(CommandError):
    """A named limit is reached or the store can't be written; nothing was written, and a repeat is safe.

    Attributes:
        retry_after_s: when to try again, in seconds.
    """

    def __init__(self, limit: str, retry_after_s: int = 1) -> None:
        super().__init__(f"{limit}; nothing was written, repeat the call after {retry_after_s} s")
        self.retry_after_s = retry_after_s


class Damaged(CommandError):
    """A row can't be read, or not be driven by this build; it is left as it is, for a human to look at."""

    def __init__(self, gid: str, cause: str) -> None:
        super().__init__(f"the row of {gid} is damaged: {cause}; it is left as it is, and an operator has to repair it")
        self.gid = gid


class Unresolved(CommandError):
    """The store did not tell in time whether the write is durable. Repeat the call: it is idempotent."""
