"""Which branch's operation runs here, for the transactions that are begun inside it."""

import contextlib
import itertools
import time
from collections.abc import Iterator
from contextvars import ContextVar

from placet_contract.vocabulary import Operation


class Scope:
    """What the transactions begun inside one run of a handler leave behind for it.

    Attributes:
        doomed: gids that must abort before the handler may answer, whatever it does with the error.
    """

    def __init__(self) -> None:
        self.doomed: set[str] = set()
        self._ordinals = itertools.count(1)

    def doom(self, gid: str) -> None:
        """Says that a transaction joined here can't commit any more."""
        self.doomed.add(gid)

    def next_ordinal(self) -> int:
        """Returns 1, 2, 3, …: a repeat of a handler that does the same gets the same numbers."""
        return next(self._ordinals)


class Branch:
    """One operation of a branch that runs in this context.

    Attributes:
        gid: the global transaction.
        branch_id: the branch.
        operation: what was asked of it.
        begun_at_ms: when the transaction was begun, in milliseconds since 1970.
        traceparent: the trace it belongs to, or empty.
        scope: what is begun inside.

    Args:
        seconds_left: the call's time left; measured from now, for no two clocks agree.
    """

    def __init__(
        self,
        *,
        gid: str,
        branch_id: str,
        operation: Operation,
        begun_at_ms: int,
        seconds_left: float,
        traceparent: str = "",
    ) -> None:
        self.gid = gid
        self.branch_id = branch_id
        self.operation = operation
        self.begun_at_ms = begun_at_ms
        self.traceparent = traceparent
        self.scope = Scope()
        self._ends_at = time.monotonic() + seconds_left

    @property
    def seconds_left(self) -> float:
        """How long the caller still waits; negative afterwards."""
        return self._ends_at - time.monotonic()


_current: ContextVar[Branch | None] = ContextVar("placet_branch", default=None)


def current_branch() -> Branch | None:
    """Returns the branch whose operation runs here, or None."""
    return _current.get()


@contextlib.contextmanager
def entered(branch: Branch) -> Iterator[Branch]:
    """Runs its block, and the tasks and threads started in it, inside the branch's operation."""
    token = _current.set(branch)
    try:
        yield branch
    finally:
        _current.reset(token)
