"""The columns of a transaction's row, as every database has them."""

from collections.abc import Sequence
from typing import Any, Final

from placet_coordinator.ports.rows import Row

UPDATED: Final = (
    "status", "reason", "reason_text", "attention", "heuristic", "paused_at_ms", "version", "owner", "written_by",
    "format", "next_due_at_ms", "finished_at_ms", "progress",
)  # fmt: skip
"""What an update sets: a transaction keeps what it was begun with, and `plan` changes with a registration alone.

SQLite rewrites the index entries of each column that is set, changed or not.
"""


def to_row(values: Sequence[Any]) -> Row:
    """Return a row from its columns, in the order of the port's fields."""
    row = Row(*values)
    row.heuristic, row.driven = bool(row.heuristic), bool(row.driven)
    return row
