"""The store port on one SQLite file."""
# ruff: noqa: S608 - statements are made of this file's own names

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any, Final, TypeVar

import msgspec
import sqlalchemy as sa
from msgspec.structs import astuple
from sqlalchemy.dialects import sqlite as dialects

from placet_coordinator.core.transaction import FORMAT
from placet_coordinator.ports.rows import Entry, InstanceRow, Row
from placet_coordinator.store import queries
from placet_coordinator.store.columns import to_row
from placet_coordinator.store.counters import Counters
from placet_coordinator.store.reads import Reads
from placet_coordinator.store.schema import READ_REVISION, check_revision
from placet_coordinator.store.sqlite import batch as batches
from placet_coordinator.store.sqlite.connection import BUSY_JOURNAL_MS, BUSY_MS
from placet_coordinator.store.sqlite.connections import Connections
from placet_coordinator.store.sqlite.file import FileLock, database_path

_DIALECT: Final = dialects.dialect(paramstyle="named")
_NOW_MS: Final = "select cast((julianday('now') - 2440587.5) * 86400000 as integer)"
_BY_GIDS: Final = f"select {batches.NAMES} from global_transaction where gid in (select value from json_each(?))"
_T = TypeVar("_T")


class SqliteStore(Reads):
    """The store on a file of this process alone.

    Args:
        url: `sqlite:///relative.db` or `sqlite:////absolute.db`.
        own_process: journal batches are written by a process of their own, which a server gains from (decision 0018).
    """

    def __init__(self, url: str, *, own_process: bool = False) -> None:
        self._url = url
        path = database_path(url)
        self._lock = FileLock(path)
        self._connections = Connections(path, own_process=own_process)
        self._counters = Counters()
        self._claims = 0

    async def open(self) -> None:
        """Take the file, and check its schema; see the port."""
        self._lock.take()
        try:
            await self._connections.open()
            check_revision(await self._read(_revision), self._url)
            await self._connections.start_process()
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Close the file, and let others have it."""
        await self._connections.close()
        self._lock.release()

    async def ping(self) -> int:
        """Return the clock of this machine, as SQLite reads it."""
        return await self._read(_now_ms)

    def statistics(self) -> dict[str, int]:
        """Return the counters; one call of a thread counts as a round trip."""
        return asdict(self._counters)

    def writer_process_id(self) -> int | None:
        """Return the process that writes journal batches, if there is one and it runs."""
        return self._connections.writer_process_id

    # --- the journal

    async def write(self, batch: Sequence[Entry]) -> dict[int, Row | None]:
        """Write a batch in one transaction; see the port."""
        return await self._write_entries(batch, BUSY_JOURNAL_MS)

    async def free(self, gids: Sequence[str]) -> set[str]:
        """Say that every row is free: SQLite locks the file, never a row."""
        return set(gids)

    async def write_aside(self, entry: Entry) -> dict[int, Row | None]:
        """Write one entry; it waits longer for the file."""
        return await self._write_entries([entry], BUSY_MS)

    async def _write_entries(self, batch: Sequence[Entry], busy_ms: int) -> dict[int, Row | None]:
        counters = self._counters
        counters.statements += 2  # BEGIN and COMMIT
        counters.round_trips += 1
        hits, statements = await self._connections.write_batch(batch, busy_ms)
        counters.statements += statements
        counters.commits += 1
        counters.entries += len(batch)
        counters.batches += 1
        return hits

    # --- transactions

    async def load_many(self, gids: Sequence[str]) -> list[Row]:
        """Return the rows that exist among these: without the query's compilation, which costs more than the query."""
        given = (msgspec.json.encode(list(gids)).decode(),)
        rows = await self._read(lambda connection: connection.execute(_BY_GIDS, given).fetchall())
        return [to_row(values) for values in rows]

    async def claim_lapsed(self, owner: str, now_ms: int, overdue_before_ms: int, limit: int) -> list[Row]:
        """Claim what lapsed; see the port. There is one writer, so nobody's locks have to be passed over."""
        query, parameters = _compiled(queries.lapsed(owner, now_ms, overdue_before_ms, FORMAT, limit))
        if not await self._read(lambda connection: connection.execute(query, parameters).fetchone()):
            return []  # as nearly always: without a commit, which costs a write to the disk
        self._claims += 1
        statement = (
            "update global_transaction set owner = :claimer, written_by = :stamp, version = version + 1 "
            f"where gid in ({query}) returning {batches.NAMES}"
        )
        values = {**parameters, "claimer": owner, "stamp": f"{owner}:c{self._claims}"}
        rows = await self._write(lambda connection: connection.execute(statement, values).fetchall())
        return [to_row(each) for each in rows]

    async def purge(self, finished_before_ms: int, limit: int) -> int:
        """Delete old final rows with their attempts; see the port."""
        gids = [values[0] for values in await self._select(queries.purgeable(finished_before_ms, limit))]
        if gids:
            await self._delete(*queries.forget(gids))
        return len(gids)

    # --- nodes and services

    async def enrol(self, node_id: str, boot_id: str, base_url: str, format_max: int, lease_ms: int) -> int:
        """Insert or take over the node's row; see the port."""

        def enrolled(connection: sqlite3.Connection) -> int:
            now_ms = _now_ms(connection)
            connection.execute(
                "insert into node (node_id, boot_id, base_url, format, lease_until_ms) values (?, ?, ?, ?, ?) "
                "on conflict (node_id) do update set boot_id = excluded.boot_id, base_url = excluded.base_url, "
                "format = excluded.format, lease_until_ms = excluded.lease_until_ms",
                (node_id, boot_id, base_url, format_max, now_ms + lease_ms),
            )
            return now_ms

        return await self._write(enrolled)

    async def renew(self, node_id: str, boot_id: str, lease_ms: int) -> int | None:
        """Prolong the lease if it is still ours and unexpired; see the port."""

        def renewed(connection: sqlite3.Connection) -> int | None:
            now_ms = _now_ms(connection)
            done = connection.execute(
                "update node set lease_until_ms = ? where node_id = ? and boot_id = ? and lease_until_ms > ?",
                (now_ms + lease_ms, node_id, boot_id, now_ms),
            )
            return now_ms if done.rowcount == 1 else None

        return await self._write(renewed)

    async def release(self, node_id: str, boot_id: str) -> None:
        """End the lease; see the port."""

        def released(connection: sqlite3.Connection) -> None:
            connection.execute(
                "update node set lease_until_ms = min(lease_until_ms, ?) where node_id = ? and boot_id = ?",
                (_now_ms(connection), node_id, boot_id),
            )

        await self._write(released)

    async def announce(self, instance: InstanceRow) -> None:
        """Insert or replace the instance; see the port."""
        names = InstanceRow.__struct_fields__
        places = ", ".join("?" * len(names))
        statement = f"insert or replace into service_instance ({', '.join(names)}) values ({places})"
        await self._write(lambda connection: connection.execute(statement, astuple(instance)))

    # --- how queries are run

    async def _select(self, query: sa.Select[Any]) -> list[Sequence[Any]]:
        text, parameters = _compiled(query)
        return await self._read(lambda connection: connection.execute(text, parameters).fetchall())

    async def _delete(self, *statements: sa.Delete) -> None:
        compiled = [_compiled(statement) for statement in statements]

        def deleted(connection: sqlite3.Connection) -> None:
            for text, parameters in compiled:
                connection.execute(text, parameters)

        await self._write(deleted, len(compiled))

    async def _read(self, work: Callable[[sqlite3.Connection], _T]) -> _T:
        self._counters.statements += 1
        self._counters.round_trips += 1
        return await self._connections.read(work)

    async def _write(self, work: Callable[[sqlite3.Connection], _T], statements: int = 1) -> _T:
        counters = self._counters
        counters.statements += statements + 2  # BEGIN and COMMIT
        counters.round_trips += 1
        result = await self._connections.write(work)
        counters.commits += 1
        return result


def _revision(connection: sqlite3.Connection) -> str | None:
    try:
        found = connection.execute(READ_REVISION).fetchone()
    except sqlite3.OperationalError as error:
        if "no such table" not in str(error):
            raise
        return None
    return None if found is None else str(found[0])


def _now_ms(connection: sqlite3.Connection) -> int:
    return int(connection.execute(_NOW_MS).fetchone()[0])


def _compiled(statement: sa.Select[Any] | sa.Delete) -> tuple[str, dict[str, Any]]:
    compiled = statement.compile(dialect=_DIALECT, compile_kwargs={"render_postcompile": True})
    return str(compiled), dict(compiled.params)
