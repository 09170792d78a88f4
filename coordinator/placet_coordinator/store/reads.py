"""The part of the store port that is the same query on every database; an adapter says how a query is run."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from placet_coordinator.ports.rows import AttemptRow, InstanceRow, ListFilter, NodeRow, Row
from placet_coordinator.store import queries
from placet_coordinator.store.columns import to_row


class Reads(ABC):
    """Reads, and the deletes that no other node competes for; see the ports for what each method promises."""

    @abstractmethod
    async def _select(self, query: sa.Select[Any]) -> list[Sequence[Any]]:
        """Run a query outside of the journal, and return all its rows; raises as the store port says."""

    @abstractmethod
    async def _delete(self, *statements: sa.Delete) -> None:
        """Run deletes in one transaction, in this order."""

    def writer_process_id(self) -> int | None:
        """Return None: this process writes itself."""
        return None

    async def load(self, gid: str) -> Row | None:
        """Return the row as last committed, or None."""
        rows = await self.load_many([gid])
        return rows[0] if rows else None

    async def load_many(self, gids: Sequence[str]) -> list[Row]:
        """Return the rows that exist among these, in any order."""
        return [to_row(values) for values in await self._select(queries.by_gids(gids))]

    async def attempts(self, gid: str, limit: int) -> list[AttemptRow]:
        """Return the last attempts of a transaction, oldest first."""
        rows = await self._select(queries.attempts_of(gid, limit))
        return [AttemptRow(*values) for values in reversed(rows)]

    async def attempts_of_many(self, gids: Sequence[str], limit_each: int) -> dict[str, list[AttemptRow]]:
        """Return the last attempts of several transactions, oldest first."""
        found: dict[str, list[AttemptRow]] = {}
        for values in await self._select(queries.attempts_of_many(gids, limit_each)):
            found.setdefault(values[0], []).append(AttemptRow(*values))
        return found

    async def page(self, wanted: ListFilter, limit: int) -> list[Row]:
        """Return one page of the list, newest first."""
        return [to_row(values) for values in await self._select(queries.page(wanted, limit))]

    async def due(self, owner: str, before_ms: int, limit: int) -> list[Row]:
        """Return the owner's open rows that are due, the most overdue first."""
        return [to_row(values) for values in await self._select(queries.due(owner, before_ms, limit))]

    async def count_open(self) -> list[tuple[str | None, str, int, int]]:
        """Count the open rows."""
        return [(pattern, status, count, at) for pattern, status, count, at in await self._select(queries.count_open())]

    async def count_attention(self) -> list[tuple[str | None, str, int]]:
        """Count the rows that need a human."""
        return [(pattern, status, count) for pattern, status, count in await self._select(queries.count_attention())]

    async def count_due(self, now_ms: int) -> tuple[int, int | None]:
        """Count the open rows that are due."""
        ((first_at_ms, count),) = await self._select(queries.count_due(now_ms))
        return count, first_at_ms

    async def nodes(self) -> list[NodeRow]:
        """Return all known nodes."""
        return [NodeRow(*values) for values in await self._select(queries.nodes())]

    async def forget_nodes(self, lapsed_before_ms: int) -> None:
        """Delete nodes that are long gone."""
        await self._delete(queries.forget_nodes(lapsed_before_ms))

    async def withdraw(self, service: str, instance_id: str) -> None:
        """Delete the instance, if it is there."""
        await self._delete(queries.withdraw(service, instance_id))

    async def instances(self, service: str, now_ms: int) -> list[InstanceRow]:
        """Return a service's live instances."""
        return [InstanceRow(*values) for values in await self._select(queries.instances(now_ms, service))]

    async def live_instances(self, now_ms: int) -> list[InstanceRow]:
        """Return every live instance."""
        return [InstanceRow(*values) for values in await self._select(queries.instances(now_ms))]

    async def forget_instances(self, lapsed_before_ms: int) -> None:
        """Delete instances that are long gone."""
        await self._delete(queries.forget_instances(lapsed_before_ms))
