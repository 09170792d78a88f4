"""The store port on MariaDB and MySQL."""
# ruff: noqa: S608 - statements are made of this file's own names and of the literals that literals.py quotes

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Final

import sqlalchemy as sa
from msgspec.structs import astuple
from sqlalchemy.dialects.mysql.asyncmy import dialect

from placet_coordinator.core.transaction import FORMAT
from placet_coordinator.ports.rows import Entry, InstanceRow, ListFilter, Row
from placet_coordinator.store import queries
from placet_coordinator.store.columns import to_row
from placet_coordinator.store.counters import Counters
from placet_coordinator.store.mysql.address import Address
from placet_coordinator.store.mysql.batch import BY_GID, NAMES, compose, hits
from placet_coordinator.store.mysql.literals import integer, literal, text, texts
from placet_coordinator.store.mysql.packet import Packet
from placet_coordinator.store.mysql.server import READ_FACTS, check_server
from placet_coordinator.store.mysql.session import Rows, Sessions
from placet_coordinator.store.reads import Reads
from placet_coordinator.store.schema import READ_REVISION, check_revision
from placet_coordinator.store.tables import global_transaction
from placet_migrations import VERSION_TABLE

JOURNAL_LOCK_WAIT_S: Final = 1
LOCK_WAIT_S: Final = 5
SIDE_SESSIONS: Final = 4
READ_SESSIONS: Final = 4
OWN_SESSIONS: Final = 2
"""For lease and recovery, which must not queue behind lists that clients ask for."""

_DIALECT: Final = dialect(paramstyle="format")
_FIND_VERSION_TABLE: Final = (
    f"select 1 from information_schema.tables where table_schema = database() and table_name = '{VERSION_TABLE}'"
)
_NOW_MS: Final = "cast(unix_timestamp(now(3)) * 1000 as signed)"
"""By the session's clock in UTC. The clock of a statement is that of its start: after a wait for a lock it is late."""


class MysqlStore(Reads):
    """The store on MariaDB or MySQL.

    Args:
        url: `mysql://user:password@host:port/database`, with the options of `Address`.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        address = Address.of(url)
        counters = self._counters = Counters()
        self._journal = Sessions(1, address, JOURNAL_LOCK_WAIT_S, counters, is_causal=False)
        self._side = Sessions(SIDE_SESSIONS, address, LOCK_WAIT_S, counters, is_causal=False)
        self._own = Sessions(OWN_SESSIONS, address, LOCK_WAIT_S, counters)
        self._reads = Sessions(READ_SESSIONS, address, LOCK_WAIT_S, counters)
        self._claims = 0

    async def open(self) -> None:
        """Connect, and check the server and its schema; see the port."""
        facts, present = await self._reads.run(Packet((READ_FACTS, _FIND_VERSION_TABLE)))
        check_server(dict(facts))
        found = await self._read(READ_REVISION) if present else ()
        check_revision(found[0][0] if found else None, self._url)

    async def close(self) -> None:
        """End all sessions."""
        for sessions in (self._journal, self._side, self._own, self._reads):
            await sessions.leave()

    async def ping(self) -> int:
        """Return the server's now in ms."""
        rows = await self._read(f"select {_NOW_MS}")
        return int(rows[0][0])

    def statistics(self) -> dict[str, int]:
        """Return the counters; see the port."""
        return asdict(self._counters)

    # --- the journal

    async def write(self, batch: Sequence[Entry]) -> dict[int, Row | None]:
        """Write a batch by one packet; see the port."""
        return await self._write(self._journal, batch)

    async def free(self, gids: Sequence[str]) -> set[str]:
        """Ask which rows are not locked; each statement is a transaction, so that the answer locks nobody out."""
        wanted = f"select gid from {BY_GID} where gid in ({texts(gids)})"
        unlocked, present = await self._journal.run(Packet((f"{wanted} for update skip locked", wanted)))
        return {gid for (gid,) in unlocked} | (set(gids) - {gid for (gid,) in present})

    async def write_aside(self, entry: Entry) -> dict[int, Row | None]:
        """Write one entry on a session that waits longer for its lock; see the port."""
        return await self._write(self._side, [entry])

    async def _write(self, sessions: Sessions, batch: Sequence[Entry]) -> dict[int, Row | None]:
        packet = compose(batch)
        results = await sessions.run(packet)
        self._counters.commits += 1
        self._counters.entries += len(batch)
        self._counters.batches += 1
        return hits(batch, packet, results)

    # --- transactions

    async def load_many(self, gids: Sequence[str]) -> list[Row]:
        """Return the rows that exist among these: without the query's compilation, which costs more than the query."""
        if not gids:
            return []
        rows = await self._read(f"select {NAMES} from {BY_GID} where gid in ({texts(gids)})")
        return [to_row(values) for values in rows]

    async def claim_lapsed(self, owner: str, now_ms: int, overdue_before_ms: int, limit: int) -> list[Row]:
        """Claim what lapsed; see the port.

        Candidates are read first, without locks: nearly always there are none, and a locking read would lock every
        open row on its way, if only for a moment.
        """
        lapsed = queries.lapsed(owner, now_ms, overdue_before_ms, FORMAT, limit)
        candidates = [gid for (gid,) in await self._read(_compiled(lapsed), self._own)]
        if not candidates:
            return []
        self._claims += 1
        stamp = text(f"{owner}:c{self._claims}")
        # It keeps its limit, for a derived table without one is merged into the update, and then waits for locks.
        still = _locking(lapsed.where(global_transaction.c.gid.in_(candidates)), "primary")
        claim = (
            f"update ({_compiled(still)}) lapsed straight_join {BY_GID} "
            f"on old.gid = lapsed.gid set old.owner = {text(owner)}, old.written_by = {stamp}, "
            "old.version = old.version + 1"
        )
        claimed = f"select {NAMES} from {BY_GID} where gid in ({texts(candidates)}) and written_by = {stamp}"
        results = await self._change([claim], [claimed])
        return [to_row(values) for values in results[-1]]

    async def page(self, wanted: ListFilter, limit: int) -> list[Row]:
        """Return one page of the list; the length is compared, too, for `=` here takes no notice of trailing spaces."""
        query = queries.page(wanted, limit)
        for name in ("name", "business_key"):
            value = getattr(wanted, name)
            if value is not None:
                query = query.where(sa.func.length(global_transaction.c[name]) == len(value.encode()))
        return [to_row(values) for values in await self._select(query)]

    async def due(self, owner: str, before_ms: int, limit: int) -> list[Row]:
        """Return what is due, on a session that clients' lists can't keep busy."""
        rows = await self._read(_compiled(queries.due(owner, before_ms, limit)), self._own)
        return [to_row(values) for values in rows]

    async def purge(self, finished_before_ms: int, limit: int) -> int:
        """Delete old final rows with their attempts; locked ones are passed over, and left for the next time."""
        old = _locking(queries.purgeable(finished_before_ms, limit), "ix_global_transaction_created")
        gids = [gid for (gid,) in await self._read(_compiled(old), self._own)]
        if not gids:
            return 0
        theirs = f"gid in ({texts(gids)})"
        await self._change(
            [
                f"delete from attempt where {theirs}",
                f"delete old from {BY_GID} where {theirs} and next_due_at_ms is null",
            ]
        )
        return len(gids)

    # --- nodes and services

    async def enrol(self, node_id: str, boot_id: str, base_url: str, format_max: int, lease_ms: int) -> int:
        """Insert or take over the node's row; see the port."""
        values = f"{texts([node_id, boot_id, base_url])},{integer(format_max)},@placet_now + {integer(lease_ms)}"
        results = await self._change(
            [
                f"set @placet_now = {_NOW_MS}",
                (
                    f"insert into node (node_id, boot_id, base_url, format, lease_until_ms) values ({values}) "
                    "on duplicate key update boot_id = values(boot_id), base_url = values(base_url), "
                    "format = values(format), lease_until_ms = values(lease_until_ms)"
                ),
            ],
            ["select @placet_now"],
        )
        return int(results[-1][0][0])

    async def renew(self, node_id: str, boot_id: str, lease_ms: int) -> int | None:
        """Prolong the lease if it is still ours and unexpired; see the port. The clock is read under the row's lock."""
        ours = f"node_id = {text(node_id)} and boot_id = {text(boot_id)}"
        live = f"{ours} and lease_until_ms > @placet_now"
        results = await self._change(
            [
                f"select count(*) into @placet_found from node where {ours} for update",
                f"set @placet_now = {_NOW_MS}",
                f"select count(*) into @placet_found from node where {live}",
                f"update node set lease_until_ms = @placet_now + {integer(lease_ms)} where {live}",
            ],
            ["select @placet_now, @placet_found"],
        )
        now_ms, found = results[-1][0]
        return int(now_ms) if found else None

    async def release(self, node_id: str, boot_id: str) -> None:
        """End the lease; see the port."""
        await self._change(
            [
                (
                    f"update node set lease_until_ms = least(lease_until_ms, {_NOW_MS}) "
                    f"where node_id = {text(node_id)} and boot_id = {text(boot_id)}"
                )
            ]
        )

    async def announce(self, instance: InstanceRow) -> None:
        """Insert or replace the instance; see the port."""
        names = InstanceRow.__struct_fields__
        settings = ", ".join(f"{name} = values({name})" for name in names[2:])
        await self._change(
            [
                (
                    f"insert into service_instance ({', '.join(names)}) "
                    f"values ({','.join(map(literal, astuple(instance)))}) on duplicate key update {settings}"
                )
            ]
        )

    # --- how queries are run

    async def _select(self, query: sa.Select[Any]) -> list[Sequence[Any]]:
        return list(await self._read(_compiled(query)))

    async def _delete(self, *statements: sa.Delete) -> None:
        await self._change([_compiled(statement) for statement in statements])

    async def _read(self, query: str, sessions: Sessions | None = None) -> Rows:
        (rows,) = await (sessions or self._reads).run(Packet((query,)))
        return rows

    async def _change(self, statements: Sequence[str], then: Sequence[str] = ()) -> list[Rows]:
        results = await self._own.run(Packet.transaction(statements, then))
        self._counters.commits += 1
        return results


def _locking(query: sa.Select[Any], index: str) -> sa.Select[Any]:
    """Let the query lock what it returns and pass over what is locked, along an index that meets few other rows."""
    return query.with_hint(global_transaction, f"force index ({index})").with_for_update(skip_locked=True)


def _compiled(statement: sa.Select[Any] | sa.Delete) -> str:
    """Return the statement with its parameters as literals of ours; SQLAlchemy's own are for tests (its FAQ)."""
    compiled = statement.compile(dialect=_DIALECT, compile_kwargs={"render_postcompile": True})
    parameters = compiled.params
    return str(compiled) % tuple(literal(parameters[name]) for name in compiled.positiontup or ())
