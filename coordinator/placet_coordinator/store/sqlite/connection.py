"""One connection to the file, and what SQLite's errors mean.

WAL with synchronous FULL: a commit is on the disk when it returns (sqlite.org, "PRAGMA synchronous"). Every write
begins with BEGIN IMMEDIATE: a deferred transaction that reads first is refused at its first write if another has
written.
"""

import sqlite3
from collections.abc import Callable
from typing import Final, TypeVar

from placet_coordinator.ports.store import BadData, SchemaProblem, StoreError, StoreUnavailable, WriteConflict
from placet_coordinator.store.sqlite.batch import STATEMENTS_MAX

BUSY_JOURNAL_MS: Final = 100
"""How long a batch waits for another process that writes the file (an operator's `sqlite3`, a backup)."""
BUSY_MS: Final = 2_000
"""The same, for everything else."""

_BAD_DATA: Final = frozenset({
    sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_MISMATCH, sqlite3.SQLITE_TOOBIG, sqlite3.SQLITE_RANGE,
})  # fmt: skip
_UNSURE_AT_COMMIT: Final = frozenset({sqlite3.SQLITE_IOERR})
"""A commit that failed to reach the disk may be found in the log after a crash."""
_T = TypeVar("_T")


def connected(path: str) -> sqlite3.Connection:
    """Return a new connection; the file is made if it is missing.

    Raises:
        SchemaProblem: SQLite can't keep a write-ahead log there.
        sqlite3.Error: the file can't be opened.
    """
    connection = sqlite3.connect(
        path,
        isolation_level=None,
        check_same_thread=False,
        timeout=BUSY_MS / 1_000,
        cached_statements=STATEMENTS_MAX,
    )
    mode = connection.execute("pragma journal_mode = wal").fetchone()[0]
    if mode != "wal":
        connection.close()
        raise SchemaProblem(
            f"{path}: SQLite can't keep a write-ahead log there (journal_mode stays {mode}), which needs "
            "shared memory; keep the file on a local disk"
        )
    connection.execute("pragma synchronous = full")
    connection.execute("pragma fullfsync = on")  # macOS: else a sync may end in the disk's own memory
    return connection


class WritingConnection:
    """The connection that writes, for one thread at a time."""

    def __init__(self, path: str) -> None:
        self.connection = connected(path)
        self._busy_ms = BUSY_MS

    def run(self, work: Callable[[sqlite3.Connection], _T], busy_ms: int) -> _T:
        """Run work in one write transaction; it is durable when this returns. Raises as the store port's `write`."""
        if busy_ms != self._busy_ms:
            self.connection.execute(f"pragma busy_timeout = {busy_ms:d}")
            self._busy_ms = busy_ms
        return _transaction(self.connection, work)


def _transaction(connection: sqlite3.Connection, work: Callable[[sqlite3.Connection], _T]) -> _T:
    commits = False
    try:
        connection.execute("begin immediate")
        result = work(connection)
        commits = True
        connection.execute("commit")
    except (sqlite3.Error, UnicodeEncodeError, OverflowError) as error:
        raise _refused(error, commits=commits) from error
    finally:
        if connection.in_transaction:  # not if SQLite has rolled back already, as it does when the disk is full
            connection.execute("rollback")
    return result


def _refused(error: Exception, *, commits: bool) -> StoreError:
    """Return what an error in a write transaction means; but for a failed commit, nothing was written."""
    if not isinstance(error, sqlite3.Error):
        return BadData(f"a value that SQLite can't hold: {error}")
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF  # the primary code; the rest details it
    if code in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
        return WriteConflict("another process holds the database file")
    if code in _BAD_DATA or isinstance(error, sqlite3.DataError | sqlite3.InterfaceError | sqlite3.ProgrammingError):
        return BadData(f"SQLite: {error}")
    return StoreUnavailable(f"SQLite: {error}", wrote_nothing=not (commits and code in _UNSURE_AT_COMMIT))
