"""The connections to the file: one writes at a time, a few read, on threads of theirs, and never wait for the writer.

Journal batches are written by a process of their own where the store is asked to have one, see `process`; whatever else
is written, by a thread of this process. They take turns, so that neither finds the file locked by the other.
"""

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

from placet_coordinator.ports.rows import Entry
from placet_coordinator.ports.store import SchemaProblem, StoreUnavailable
from placet_coordinator.store.sqlite import batch as batches
from placet_coordinator.store.sqlite.connection import BUSY_MS, WritingConnection, connected
from placet_coordinator.store.sqlite.process import WriterProcess

READERS: Final = 2
OLDEST: Final = (3, 35, 0)
"""The first SQLite that has RETURNING."""

_T = TypeVar("_T")


class Connections:
    """The file, opened.

    Args:
        path: the file.
        own_process: journal batches are written by a process of their own.
    """

    def __init__(self, path: str, *, own_process: bool = False) -> None:
        self._path = path
        self._turn = asyncio.Lock()
        self._process = WriterProcess(path) if own_process else None
        self._writer_thread = ThreadPoolExecutor(1, thread_name_prefix="placet-sqlite-write")
        self._reader_threads = ThreadPoolExecutor(READERS, thread_name_prefix="placet-sqlite-read")
        self._writer: WritingConnection | None = None
        self._readers: list[sqlite3.Connection] = []
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
            self._writer = await loop.run_in_executor(self._writer_thread, WritingConnection, self._path)
            for _ in range(READERS):
                reader = await loop.run_in_executor(self._reader_threads, connected, self._path)
                reader.execute("pragma query_only = on")
                self._readers.append(reader)
        except sqlite3.Error as error:
            raise StoreUnavailable(f"{self._path}: {error}", wrote_nothing=True) from error

    @property
    def writer_process_id(self) -> int | None:
        """The process that writes journal batches, if there is one and it runs."""
        return None if self._process is None else self._process.id

    async def start_process(self) -> None:
        """Start the process that writes, if there is to be one. Raises `StoreUnavailable`: it does not start."""
        if self._process is not None:
            await self._process.start()

    async def close(self) -> None:
        """Close the file once what runs is done."""
        writer, self._writer = self._writer, None
        loop = asyncio.get_running_loop()
        if self._process is not None:
            await self._process.close()
        if writer is not None:
            await loop.run_in_executor(self._writer_thread, writer.connection.close)
        self._writer_thread.shutdown(wait=False)
        await loop.run_in_executor(None, self._reader_threads.shutdown)
        while self._readers:
            self._readers.pop().close()

    async def write_batch(self, batch: Sequence[Entry], busy_ms: int) -> batches.Written:
        """Write a journal batch in one transaction; it is durable on return. Raises as the store port's `write`.

        Args:
            batch: the entries.
            busy_ms: how long it waits for another process that writes the file.
        """
        process = self._process
        if process is None:
            return await self.write(lambda connection: batches.write(connection, batch), busy_ms)
        async with self._turn:
            self._open_writer()
            try:
                return await process.write(batch, busy_ms)
            except StoreUnavailable as error:
                self._is_in_doubt = self._is_in_doubt or not error.wrote_nothing
                raise
            except asyncio.CancelledError:
                self._is_in_doubt = True
                raise

    async def write(self, work: Callable[[sqlite3.Connection], _T], busy_ms: int = BUSY_MS) -> _T:
        """Run work in one write transaction; it is durable when this returns. Raises as the store port's `write`."""
        async with self._turn:
            return await asyncio.get_running_loop().run_in_executor(
                self._writer_thread, self._writing, self._open_writer(), work, busy_ms
            )

    async def read(self, work: Callable[[sqlite3.Connection], _T]) -> _T:
        """Run work on a reading connection, which sees what was committed when its statement began.

        Raises:
            StoreUnavailable: the file can't be read.
        """
        writer = self._open_writer()
        loop = asyncio.get_running_loop()
        if self._is_in_doubt:
            async with self._turn:
                if self._process is not None:
                    await self._process.close()  # its locks on the log go with it; the next batch starts it again
                await loop.run_in_executor(self._writer_thread, self._resolve_doubt, writer.connection)
        return await loop.run_in_executor(self._reader_threads, self._reading, work)

    def _open_writer(self) -> WritingConnection:
        if self._writer is None:
            raise StoreUnavailable("the store is closed", wrote_nothing=True)
        return self._writer

    def _writing(self, writer: WritingConnection, work: Callable[[sqlite3.Connection], _T], busy_ms: int) -> _T:
        try:
            return writer.run(work, busy_ms)
        except StoreUnavailable as error:
            self._is_in_doubt = self._is_in_doubt or not error.wrote_nothing
            raise

    def _resolve_doubt(self, connection: sqlite3.Connection) -> None:
        """Empty the log, and with it a commit that failed half-way: else it could come back after the next crash.

        Raises:
            StoreUnavailable: the disk still refuses, or somebody reads an old state: what is true can't be told yet.
        """
        try:
            # Twice: the first one of a connection that did not look since another process wrote copies the whole log
            # and yet can't cut it (measured with SQLite 3.40: busy, then not).
            is_busy = all(connection.execute("pragma wal_checkpoint(truncate)").fetchone()[0] for _ in range(2))
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
