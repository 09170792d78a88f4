"""What the engine tells whoever watches: counters only, called on the loop, so each must return at once."""

from typing import Protocol

from placet_coordinator.core.transaction import Transaction


class Observer(Protocol):
    """A sink of engine events, for metrics and logs."""

    def started(self, transaction: Transaction) -> None:
        """A transaction's begin is durable."""

    def finished(self, transaction: Transaction) -> None:
        """A transaction's end is durable."""

    def attention(self, transaction: Transaction) -> None:
        """A transaction has come to need a human; the cause is its `attention`."""

    def called(self, participant: str, operation: str, outcome: str, duration_ms: int) -> None:
        """A call of a branch ended; `participant` is the service's name or the URL's host and port."""

    def flushed(self, entries: int, duration_ms: float) -> None:
        """A journal batch was written."""

    def trouble(self, what: str, cause: str) -> None:
        """Something an operator should know of: the store away, a lease lost. One line, no secrets."""
