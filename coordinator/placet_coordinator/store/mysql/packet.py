"""Several statements that go to the server at once."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Packet:
    """Statements that the server works off alone, one after the other, up to the first that fails.

    Attributes:
        statements: without semicolons between them.
        commit_at: the position of COMMIT; None if the packet writes nothing, so that a lost answer is harmless.
    """

    statements: tuple[str, ...]
    commit_at: int | None = None

    @classmethod
    def transaction(cls, statements: Sequence[str], then: Sequence[str] = ()) -> "Packet":
        """Return a transaction of these statements, and what is asked after it, when no lock is held any more."""
        return cls(("begin", *statements, "commit", *then), len(statements) + 1)
