"""The store port on PostgreSQL."""
# ruff: noqa: S608 - statements are made of this file's own names

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Final

import sqlalchemy as sa
from msgspec.structs import astuple
from sqlalchemy.dialects.postgresql.asyncpg import dialect

from placet_coordinator.core.transaction import FORMAT
from placet_coordinator.ports.rows import Entry, InstanceRow, Row
from placet_coordinator.ports.store import StoreError, StoreUnavailable
from placet_coordinator.store import queries
from placet_coordinator.store.counters import Counters
from placet_coordinator.store.postgres import batch as batches
from placet_coordinator.store.postgres.session import Session, Sessions, dsn_of
from placet_coordinator.store.reads import Reads
from placet_coordinator.store.schema import READ_REVISION, check_revision
from placet_migrations import VERSION_TABLE

JOURNAL_LOCK_WAIT_MS: Final = 100
LOCK_WAIT_MS: Final = 5_000
SIDE_SESSIONS: Final = 4
READ_SESSIONS: Final = 4
OWN_SESSIONS: Final = 2
"""For lease and recovery, which must not queue behind lists that clients ask for."""

_DIALECT: Final = dialect()  # type: ignore[no-untyped-call]  # SQLAlchemy leaves it untyped
_NAMES: Final = ", ".join(Row.__struct_fields__)
_NOW_MS: Final = "cast(extract(epoch from clock_timestamp()) * 1000 as bigint)"
_FREE: Final = "select gid from global_transaction where gid = any($1::text[]) for update skip locked"
_BY_GIDS: Final = f"select {_NAMES} from global_transaction where gid = any($1::text[])"
_PRESENT: Final = "select gid from global_transaction where gid = any($1::text[])"
_ENROL: Final = (
    "insert into node (node_id, boot_id, base_url, format, lease_until_ms) "
    f"select $1, $2, $3, $4, now_ms + $5 from (select {_NOW_MS} as now_ms) clock "
    "on conflict (node_id) do update set boot_id = excluded.boot_id, base_url = excluded.base_url, "
    "format = excluded.format, lease_until_ms = excluded.lease_until_ms returning lease_until_ms - $5"
)
_RENEW: Final = (
    f"update node set lease_until_ms = {_NOW_MS} + $3 "
    f"where node_id = $1 and boot_id = $2 and lease_until_ms > {_NOW_MS} returning lease_until_ms - $3"
)
_RELEASE: Final = (
    f"update node set lease_until_ms = least(lease_until_ms, {_NOW_MS}) where node_id = $1 and boot_id = $2"
)
_ANNOUNCE: Final = (
    "insert into service_instance (service, instance_id, base_url, actions, sdk, lease_until_ms, tcp_url) "
    "values ($1, $2, $3, $4, $5, $6, $7) on conflict (service, instance_id) do update set "
    "base_url = excluded.base_url, actions = excluded.actions, sdk = excluded.sdk, "
    "lease_until_ms = excluded.lease_until_ms, tcp_url = excluded.tcp_url"
)


class PostgresStore(Reads):
    """The store on PostgreSQL.

    Args:
        url: `postgresql://user:password@host:port/database`, with libpq's TLS options.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        dsn = dsn_of(url)
        counters = self._counters = Counters()
        self._journal = Sessions(1, dsn, JOURNAL_LOCK_WAIT_MS, counters)
        self._side = Sessions(SIDE_SESSIONS, dsn, LOCK_WAIT_MS, counters)
        self._own = Sessions(OWN_SESSIONS, dsn, LOCK_WAIT_MS, counters)
        self._reads = Sessions(READ_SESSIONS, dsn, LOCK_WAIT_MS, counters)
        self._claims = 0

    async def open(self) -> None:
        """Connect, and check the schema; see the port."""
        has_table = await self._reads.run("select to_regclass($1) is not null", [VERSION_TABLE])
        found = await self._reads.run(READ_REVISION) if has_table[0][0] else []
        check_revision(found[0][0] if found else None, self._url)

    async def close(self) -> None:
        """End all sessions."""
        for sessions in (self._journal, self._side, self._own, self._reads):
            sessions.close()

    async def ping(self) -> int:
        """Return the server's now in ms."""
        rows = await self._reads.run(f"select {_NOW_MS}")
        return int(rows[0][0])

    def statistics(self) -> dict[str, int]:
        """Return the counters; see the port."""
        return asdict(self._counters)

    # --- the journal

    async def write(self, batch: Sequence[Entry]) -> dict[int, Row | None]:
        """Write a batch by one autocommit statement; see the port."""
        return await self._write(self._journal, batch)

    async def free(self, gids: Sequence[str]) -> set[str]:
        """Ask which rows are not locked; a commit follows at once, so that the answer locks nobody out."""
        rows = await self._journal.run(
            f"with unlocked as materialized ({_FREE}) select gid, true from unlocked "
            f"union all select gid, false from ({_PRESENT}) present",
            [gids],
        )
        unlocked = {gid for gid, is_unlocked in rows if is_unlocked}
        return unlocked | (set(gids) - {gid for gid, _ in rows})

    async def write_aside(self, entry: Entry) -> dict[int, Row | None]:
        """Write one entry on a session that waits longer for its lock; see the port."""
        return await self._write(self._side, [entry])

    async def _write(self, sessions: Sessions, batch: Sequence[Entry]) -> dict[int, Row | None]:
        session = await sessions.take()
        try:
            if not session.is_connected:
                await session.connect()
            statement, arguments = batches.compose(batch, session.columns)
            rows = await session.run(statement, arguments)
            self._counters.commits += 1
            self._counters.entries += len(batch)
            self._counters.batches += 1
            found = batches.hits(batch, rows)
            return await _with_documents(session, found) if any(found.values()) else found
        finally:
            sessions.give_back(session)

    # --- transactions

    async def load_many(self, gids: Sequence[str]) -> list[Row]:
        """Return the rows that exist among these."""
        return [Row(*values) for values in await self._reads.run(_BY_GIDS, [gids])]

    async def claim_lapsed(self, owner: str, now_ms: int, overdue_before_ms: int, limit: int) -> list[Row]:
        """Claim what lapsed; see the port."""
        self._claims += 1
        query = queries.lapsed(owner, now_ms, overdue_before_ms, FORMAT, limit).with_for_update(skip_locked=True)
        text, arguments = _compiled(query)
        stamp = f"{owner}:c{self._claims}"
        claimed = f"${len(arguments) + 1}::text", f"${len(arguments) + 2}::text"
        # The rows are read afterwards: who stops before it has read so large an answer would keep them locked.
        rows = await self._change(
            self._own,
            f"with lapsed as materialized ({text}) update global_transaction old set owner = {claimed[0]}, "
            f"written_by = {claimed[1]}, version = old.version + 1 from lapsed where old.gid = lapsed.gid "
            "returning old.gid",
            [*arguments, owner, stamp],
        )
        if not rows:
            return []
        found = await self._own.run(_BY_GIDS, [[gid for (gid,) in rows]])
        return [row for values in found if (row := Row(*values)).written_by == stamp]

    async def due(self, owner: str, before_ms: int, limit: int) -> list[Row]:
        """Return what is due, on a session that clients' lists can't keep busy."""
        text, arguments = _compiled(queries.due(owner, before_ms, limit))
        return [Row(*values) for values in await self._own.run(text, arguments)]

    async def purge(self, finished_before_ms: int, limit: int) -> int:
        """Delete old final rows with their attempts, in one statement that passes locked rows over."""
        text, arguments = _compiled(queries.purgeable(finished_before_ms, limit).with_for_update(skip_locked=True))
        rows = await self._change(
            self._own,
            f"with old as materialized ({text}), "
            "gone as (delete from global_transaction gone using old where gone.gid = old.gid returning gone.gid), "
            "forgotten as (delete from attempt using gone where attempt.gid = gone.gid) select count(*) from gone",
            arguments,
        )
        return int(rows[0][0])

    # --- nodes and services

    async def enrol(self, node_id: str, boot_id: str, base_url: str, format_max: int, lease_ms: int) -> int:
        """Insert or take over the node's row; see the port."""
        rows = await self._change(self._own, _ENROL, [node_id, boot_id, base_url, format_max, lease_ms])
        return int(rows[0][0])

    async def renew(self, node_id: str, boot_id: str, lease_ms: int) -> int | None:
        """Prolong the lease if it is still ours and unexpired; see the port."""
        rows = await self._change(self._own, _RENEW, [node_id, boot_id, lease_ms])
        return int(rows[0][0]) if rows else None

    async def release(self, node_id: str, boot_id: str) -> None:
        """End the lease; see the port."""
        await self._change(self._own, _RELEASE, [node_id, boot_id])

    async def announce(self, instance: InstanceRow) -> None:
        """Insert or replace the instance; see the port."""
        await self._change(self._own, _ANNOUNCE, astuple(instance))

    # --- how queries are run

    async def _select(self, query: sa.Select[Any]) -> list[Sequence[Any]]:
        text, arguments = _compiled(query)
        return await self._reads.run(text, arguments)

    async def _delete(self, *statements: sa.Delete) -> None:
        for statement in statements:
            text, arguments = _compiled(statement)
            await self._change(self._own, text, arguments)

    async def _change(self, sessions: Sessions, statement: str, arguments: Sequence[Any]) -> list[Any]:
        self._counters.commits += 1
        return await sessions.run(statement, arguments)


async def _with_documents(session: Session, found: dict[int, Row | None]) -> dict[int, Row | None]:
    """Read the decided rows that were too large for the statement's answer.

    Raises:
        StoreUnavailable: they can't be read, or were written again by now; the batch is written.
    """
    bare = {position: row for position, row in found.items() if row is not None and not row.plan}
    if not bare:
        return found
    places = {row.written_by: position for position, row in bare.items()}
    try:
        rows = [Row(*values) for values in await session.run(_BY_GIDS, [[row.gid for row in bare.values()]])]
    except StoreError as error:
        raise StoreUnavailable(f"decided rows can't be read: {error}", wrote_nothing=False) from error
    if {row.written_by for row in rows} != places.keys():
        raise StoreUnavailable("decided rows were written again before they were read", wrote_nothing=False)
    return found | {places[row.written_by]: row for row in rows}


def _compiled(statement: sa.Select[Any] | sa.Delete) -> tuple[str, list[Any]]:
    compiled = statement.compile(dialect=_DIALECT, compile_kwargs={"render_postcompile": True})
    parameters = compiled.params
    return str(compiled), [parameters[name] for name in compiled.positiontup or ()]
