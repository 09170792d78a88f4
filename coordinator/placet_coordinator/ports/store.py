"""The store port: the coordinator's state in SQL.

Four small parts, for each has its own user. Errors are the tree at the end; anything else that a store raises is a
defect. One conformance suite (tests/conformance) runs against every adapter.
"""

from collections.abc import Sequence
from typing import Protocol

from placet_coordinator.ports.rows import AttemptRow, Entry, InstanceRow, ListFilter, NodeRow, Row


class JournalStore(Protocol):
    """Batched, fenced writes: the hot half of the store."""

    async def write(self, batch: Sequence[Entry]) -> dict[int, Row | None]:
        """Write a batch in one commit and one round trip that the server finishes without us.

        Entries have distinct gids. Returns the positions of the entries that hit; the value is the row as written for a
        DECIDE, None for the others. A position that is missing did not hit, and nothing of its entry was written, side
        rows included. When this returns, what hit is durable.

        Raises:
            RowLocked: a lock was not had within the lock timeout; nothing was written.
            WriteConflict: deadlock or serialization failure; nothing was written, the whole batch may be repeated.
            BadData: the database refused some value; nothing was written. A bad value of an entry that does not hit
                may go unnoticed.
            StoreUnavailable: `wrote_nothing` tells whether the batch surely left no trace, or the outcome is unknown.
        """

    async def free(self, gids: Sequence[str]) -> set[str]:
        """Ask once which of the existing rows are not locked; gids without a row count as free. Raises as `write`."""

    async def write_aside(self, entry: Entry) -> dict[int, Row | None]:
        """Write one entry as `write` does, on a side connection that waits longer for its lock (seconds)."""


class TransactionStore(Protocol):
    """Reads, claims, and forgetting."""

    async def load(self, gid: str) -> Row | None:
        """Return the row as last committed, or None."""

    async def load_many(self, gids: Sequence[str]) -> list[Row]:
        """Return the rows that exist among these, in any order, in one query."""

    async def attempts(self, gid: str, limit: int) -> list[AttemptRow]:
        """Return the last `limit` recorded attempts of a transaction, oldest first."""

    async def attempts_of_many(self, gids: Sequence[str], limit_each: int) -> dict[str, list[AttemptRow]]:
        """Return the last recorded attempts of several transactions, oldest first, in one query."""

    async def page(self, wanted: ListFilter, limit: int) -> list[Row]:
        """Return up to `limit` rows, newest first by (created_at_ms, gid), stable under inserts."""

    async def claim_lapsed(self, owner: str, now_ms: int, overdue_before_ms: int, limit: int) -> list[Row]:
        """Make `owner` the owner of up to `limit` open rows, and return them as they then are.

        Claimed are rows whose owner holds no live lease (no `node` row with that boot id and `lease_until_ms` > now),
        and rows of whichever other owner that were due before `overdue_before_ms`. One autocommit update that passes
        locked rows over (SKIP LOCKED); it adds 1 to each version and stamps `written_by`, so older writers miss. Rows
        of a newer format are left alone.
        """

    async def due(self, owner: str, before_ms: int, limit: int) -> list[Row]:
        """Return up to `limit` open rows of this owner that are due before the instant, the most overdue first."""

    async def count_open(self) -> list[tuple[str | None, str, int, int]]:
        """Return (pattern, status, count, oldest created_at_ms) of the open rows: for metrics."""

    async def count_attention(self) -> list[tuple[str | None, str, int]]:
        """Return (pattern, status, count) of the rows that need a human: failing to undo is not failing to do."""

    async def count_due(self, now_ms: int) -> tuple[int, int | None]:
        """Return how many open rows are due by now, and since when the first has been: for metrics."""

    async def purge(self, finished_before_ms: int, limit: int) -> int:
        """Delete up to `limit` final rows that finished before the instant, with their attempts; return how many."""


class NodeStore(Protocol):
    """Who is alive, by the database's clock."""

    async def enrol(self, node_id: str, boot_id: str, base_url: str, format_max: int, lease_ms: int) -> int:
        """Insert or take over the node's row under a new boot id; return the database's now in ms. It is durable then.

        A named node's new boot supersedes its old lease at once: the old boot id is no longer live.
        """

    async def renew(self, node_id: str, boot_id: str, lease_ms: int) -> int | None:
        """Prolong the lease if it is ours and unexpired; return the database's now in ms, or None: it was lost."""

    async def release(self, node_id: str, boot_id: str) -> None:
        """End the lease at once, so that others take over without waiting."""

    async def nodes(self) -> list[NodeRow]:
        """Return all known nodes."""

    async def forget_nodes(self, lapsed_before_ms: int) -> None:
        """Delete the rows of nodes whose lease ended before the instant."""


class ServiceStore(Protocol):
    """Announced instances of services."""

    async def announce(self, instance: InstanceRow) -> None:
        """Insert or replace the instance; `lease_until_ms` is by the database's clock. Durable on return."""

    async def withdraw(self, service: str, instance_id: str) -> None:
        """Delete the instance, if it is there."""

    async def instances(self, service: str, now_ms: int) -> list[InstanceRow]:
        """Return the service's instances whose lease has not ended, by instance id."""

    async def live_instances(self, now_ms: int) -> list[InstanceRow]:
        """Return every live instance, by service and id: what a node keeps as its last good answer."""

    async def forget_instances(self, lapsed_before_ms: int) -> None:
        """Delete instances whose lease ended before the instant."""


class Store(JournalStore, TransactionStore, NodeStore, ServiceStore, Protocol):
    """The whole store, as `bootstrap` wires it."""

    async def open(self) -> None:
        """Connect, and check that the schema is the one this build needs.

        Raises:
            SchemaMissing: the database is empty: the caller may create the schema.
            SchemaOutdated: older than this build; the message names the command to run.
            SchemaTooNew: written by a newer build.
            StoreUnavailable: the database can't be reached.
            StoreInUse: another process holds this SQLite file.
        """

    async def close(self) -> None:
        """Give the connections back. Nothing that was acknowledged depends on it."""

    async def ping(self) -> int:
        """Return the database's now in ms; raises StoreUnavailable."""

    def statistics(self) -> dict[str, int]:
        """Return counters since opening: statements, commits, round_trips, entries, batches."""

    def writer_process_id(self) -> int | None:
        """Return the process that writes for this one, None if there is none: what it uses is ours, too."""


class StoreError(Exception):
    """Root of what a store raises.

    StoreError
    ├── RowLocked          somebody holds a row; nothing was written
    ├── WriteConflict      deadlock or serialization failure; nothing was written; repeat the whole batch
    ├── BadData            a value the database refuses; nothing was written; halve to find the guilty entry
    ├── StoreUnavailable   no answer; `wrote_nothing` says whether that is certain
    └── SchemaProblem      SchemaMissing, SchemaOutdated, SchemaTooNew, StoreInUse: at opening only
    """


class RowLocked(StoreError):
    """A row's lock was not had within the lock timeout; nothing was written."""


class WriteConflict(StoreError):
    """Deadlock or serialization failure; nothing was written; the whole batch may be repeated."""


class BadData(StoreError):
    """The database refused a value; nothing was written."""


class StoreUnavailable(StoreError):
    """The database gave no answer.

    Attributes:
        wrote_nothing: True only if the batch surely left no trace; else the outcome is unknown and must be read back.
    """

    def __init__(self, message: str, *, wrote_nothing: bool) -> None:
        super().__init__(message)
        self.wrote_nothing = wrote_nothing


class SchemaProblem(StoreError):
    """The database can't be used as it is; the message says the remedy."""


class SchemaMissing(SchemaProblem):
    """The database holds no schema of ours."""


class SchemaOutdated(SchemaProblem):
    """The schema is older than this build."""


class SchemaTooNew(SchemaProblem):
    """The schema is newer than this build."""


class StoreInUse(SchemaProblem):
    """Another coordinator holds this SQLite file."""
