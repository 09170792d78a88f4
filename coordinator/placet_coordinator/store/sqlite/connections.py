"""The connections to the file: one writes, on its own thread; a few read, on theirs, and never wait for the writer.

WAL with synchronous FULL: a commit is on the disk when it returns (sqlite.org, "PRAGMA synchronous"). Every write
begins with BEGIN IMMEDIATE: a deferred transaction that reads first is refused at its first write if another has
written.
"""

import asyncio
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

from placet_coordinator.ports.store import BadData, SchemaProblem, StoreError, StoreUnavailable, WriteConflict
from placet_coordinator.store.sqlite.batch import STATEMENTS_MAX

BUSY_JOURNAL_MS: Final = 100
"""How long a batch waits for another process that writes the file (an operator's `sqlite3`, a backup)."""
BUSY_MS: Final = 2_000
"""The same, for everything else."""
READERS: Final = 2
OLDEST: Final = (3, 35, 0)
"""The first SQLite that has RETURNING."""

_BAD_DATA: Final = frozenset({
    sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_MISMATCH, sqlite3.SQLITE_TOOBIG, sqlite3.SQLITE_RANGE,
})  # fmt: skip
_UNSURE_AT_COMMIT: Final = frozenset({sqlite3.SQLITE_IOERR})
"""A commit that failed to reach the disk may be found in the log after a crash."""
_T = TypeVar("_T")


class Connections:
    """The file, opened."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._writer_thread = ThreadPoolExecutor(1, thread_name_prefix="placet-sqlite-write")
        self._reader_threads = ThreadPoolExecutor(READERS, thread_name_prefix="placet-sqlite-read")
        self._writer: sqlite3.Connection | None = None
        self._readers: list[sqlite3.Connection] = []
        self._busy_ms = BUSY_MS
        self._is_in_doubt = False

    async def open(self) -> None:
        """Connect. The file is made if it is missing; its schema is checked by the store.

        Raises:
            SchemaProblem: SQLite is too old, or can't keep a write-ahead log there.
            StoreUnavailable: the file can't be opened.
        """
        if sqlite3.sqlite_version_info < OLDEST:
            oldest = ".".join(map(str, OLDEST))
            raise SchemaProblem(f"SQLite {sqlite3.sqlite_version} is too old: Placet needs {oldest} or newer")
        loop = asyncio.get_running_loop()
        try:
            self._writer = await loop.run_in_executor(self._writer_thread, self._connect)
            for _ in range(READERS):
                reader = await loop.run_in_executor(self._reader_threads, self._connect)
                reader.execute("pragma query_only = on")
                self._readers.append(reader)
        except sqlite3.Error as error:
            raise StoreUnavailable(f"{self._path}: {error}", wrote_nothing=True) from error

    async def close(self) -> None:
        """Close the file once what runs is done."""
        writer, self._writer = self._writer, None
        loop = asyncio.get_running_loop()
        if writer is not None:
            await loop.run_in_executor(self._writer_thread, writer.close)
        self._writer_thread.shutdown(wait=False)
        await loop.run_in_executor(None, self._reader_threads.shutdown)
        while self._readers:
            self._readers.pop().close()

    async def write(self, work: Callable[[sqlite3.Connection], _T], busy_ms: int = BUSY_MS) -> _T:
        """Run work in one write transaction; it is durable when this returns. Raises as the store port's `write`."""
        connection = self._writer
        if connection is None:
            raise _closed()
        return await asyncio.get_running_loop().run_in_executor(
            self._writer_thread, self._writing, connection, work, busy_ms
        )

    async def read(self, work: Callable[[sqlite3.Connection], _T]) -> _T:
        """Run work on a reading connection, which sees what was committed when its statement began.

        Raises:
            StoreUnavailable: the file can't be read.
        """
        if self._writer is None:
            raise _closed()
        loop = asyncio.get_running_loop()
        if self._is_in_doubt:
            await loop.run_in_executor(self._writer_thread, self._resolve_doubt, self._writer)
        return await loop.run_in_executor(self._reader_threads, self._reading, work)

    def _writing(self, connection: sqlite3.Connection, work: Callable[[sqlite3.Connection], _T], busy_ms: int) -> _T:
        if busy_ms != self._busy_ms:
            connection.execute(f"pragma busy_timeout = {busy_ms:d}")
            self._busy_ms = busy_ms
        try:
            return _transaction(connection, work)
        except StoreUnavailable as error:
            self._is_in_doubt = self._is_in_doubt or not error.wrote_nothing
            raise

    def _resolve_doubt(self, connection: sqlite3.Connection) -> None:
        """Empty the log, and with it a commit that failed half-way: else it could come back after the next crash.

        Raises:
            StoreUnavailable: the disk still refuses, or somebody reads an old state: what is true can't be told yet.
        """
        try:
            is_busy = connection.execute("pragma wal_checkpoint(truncate)").fetchone()[0]
        except sqlite3.Error as error:
            raise StoreUnavailable(f"SQLite: {error}", wrote_nothing=True) from error
        if is_busy:
            raise StoreUnavailable("SQLite: the log can't be emptied while somebody reads from it", wrote_nothing=True)
        self._is_in_doubt = False

    def _reading(self, work: Callable[[sqlite3.Connection], _T]) -> _T:
        connection = self._readers.pop()  # there are as many as there are threads
        try:
            return work(connection)
        except sqlite3.Error as error:
            raise StoreUnavailable(f"SQLite: {error}", wrote_nothing=True) from error
        finally:
            self._readers.append(connection)

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self._path,
            isolation_level=None,
            check_same_thread=False,
            timeout=BUSY_MS / 1_000,
            cached_statements=STATEMENTS_MAX,
        )
        mode = connection.execute("pragma journal_mode = wal").fetchone()[0]
        if mode != "wal":
            connection.close()
            raise SchemaProblem(
                f"{self._path}: SQLite can't keep a write-ahead log there (journal_mode stays {mode}), which needs "
                "shared memory; keep the file on a local disk"
            )
        connection.execute("pragma synchronous = full")
        connection.execute("pragma fullfsync = on")  # macOS: else a sync may end in the disk's own memory
        return connection


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


def _closed() -> StoreUnavailable:
    return StoreUnavailable("the store is closed", wrote_nothing=True)
