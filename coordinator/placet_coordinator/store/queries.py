"""The queries that every database answers alike, in SQLAlchemy Core; what differs stands in a database's own file."""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from placet_coordinator.ports.rows import AttemptRow, InstanceRow, ListFilter, NodeRow, Row
from placet_coordinator.store.tables import attempt, global_transaction, node, service_instance

OPEN = global_transaction.c.next_due_at_ms.is_not(None)
_ROW = tuple(global_transaction.c[name] for name in Row.__struct_fields__)
_ATTEMPT = tuple(attempt.c[name] for name in AttemptRow.__struct_fields__)


def by_gids(gids: Sequence[str]) -> sa.Select[Any]:
    """Select transactions by gid."""
    return sa.select(*_ROW).where(global_transaction.c.gid.in_(gids))


def page(wanted: ListFilter, limit: int) -> sa.Select[Any]:
    """Select one page of the list, newest first."""
    columns = global_transaction.c
    query = sa.select(*_ROW).order_by(columns.created_at_ms.desc(), columns.gid.desc()).limit(limit)
    for name in ("status", "pattern", "name", "business_key", "parent"):
        value = getattr(wanted, name)
        if value is not None:
            query = query.where(columns[name] == value)
    if wanted.attention is not None:
        query = query.where(columns.attention.is_not(None) if wanted.attention else columns.attention.is_(None))
    if wanted.status in ("active", "committing", "aborting"):
        query = query.where(OPEN)  # lets the index of open rows serve
    if wanted.created_before_ms is not None:
        query = query.where(columns.created_at_ms <= wanted.created_before_ms)
    if wanted.before is not None:
        created_at_ms, gid = wanted.before
        query = query.where(
            sa.or_(
                columns.created_at_ms < created_at_ms,
                sa.and_(columns.created_at_ms == created_at_ms, columns.gid < gid),
            )
        )
    return query


def due(owner: str, before_ms: int, limit: int) -> sa.Select[Any]:
    """Select an owner's open rows that are due, the most overdue first."""
    columns = global_transaction.c
    return (
        sa.select(*_ROW)
        .where(columns.next_due_at_ms < before_ms, columns.owner == owner)
        .order_by(columns.next_due_at_ms)
        .limit(limit)
    )


def lapsed(owner: str, now_ms: int, overdue_before_ms: int, format_max: int, limit: int) -> sa.Select[Any]:
    """Select the gids of open rows that `owner` may claim; see the port's `claim_lapsed`."""
    columns = global_transaction.c
    alive = sa.select(node.c.boot_id).where(node.c.lease_until_ms > now_ms)
    return (
        sa.select(columns.gid)
        .where(
            OPEN,
            columns.owner != owner,
            columns.format <= format_max,
            sa.or_(columns.next_due_at_ms < overdue_before_ms, columns.owner.not_in(alive)),
        )
        .order_by(columns.next_due_at_ms)
        .limit(limit)
    )


def count_open() -> sa.Select[Any]:
    """Count the open rows by pattern and status, with the oldest of each."""
    columns = global_transaction.c
    return (
        sa.select(columns.pattern, columns.status, sa.func.count(), sa.func.min(columns.created_at_ms))
        .where(OPEN)
        .group_by(columns.pattern, columns.status)
    )


def count_due(now_ms: int) -> sa.Select[Any]:
    """Count the open rows that are due, with the first of them; the index of open rows serves."""
    due_at_ms = global_transaction.c.next_due_at_ms
    figures: tuple[sa.ColumnElement[Any], ...] = (sa.func.min(due_at_ms), sa.func.count())
    return sa.select(*figures).where(due_at_ms <= now_ms)


def count_attention() -> sa.Select[Any]:
    """Count the rows that need a human, by pattern and status."""
    columns = global_transaction.c
    kind = columns.pattern, columns.status
    return sa.select(*kind, sa.func.count()).where(columns.attention.is_not(None)).group_by(*kind)


def purgeable(finished_before_ms: int, limit: int) -> sa.Select[Any]:
    """Select gids of final rows past the retention; they were created before, too, and that is indexed."""
    columns = global_transaction.c
    return (
        sa.select(columns.gid)
        .where(
            columns.created_at_ms < finished_before_ms,
            columns.finished_at_ms < finished_before_ms,
            columns.next_due_at_ms.is_(None),
        )
        .order_by(columns.created_at_ms)
        .limit(limit)
    )


def forget(gids: Sequence[str]) -> tuple[sa.Delete, sa.Delete]:
    """Delete transactions and their attempts."""
    return (
        sa.delete(attempt).where(attempt.c.gid.in_(gids)),
        sa.delete(global_transaction).where(
            global_transaction.c.gid.in_(gids), global_transaction.c.next_due_at_ms.is_(None)
        ),
    )


def attempts_of(gid: str, limit: int) -> sa.Select[Any]:
    """Select the last attempts of a transaction, newest first."""
    return sa.select(*_ATTEMPT).where(attempt.c.gid == gid).order_by(attempt.c.attempt_id.desc()).limit(limit)


def attempts_of_many(gids: Sequence[str], limit_each: int) -> sa.Select[Any]:
    """Select the last attempts of several transactions, oldest first."""
    place = sa.func.row_number().over(partition_by=attempt.c.gid, order_by=attempt.c.attempt_id.desc())
    ranked = sa.select(*_ATTEMPT, attempt.c.attempt_id, place.label("place")).where(attempt.c.gid.in_(gids)).subquery()
    columns = [ranked.c[name] for name in AttemptRow.__struct_fields__]
    return sa.select(*columns).where(ranked.c.place <= limit_each).order_by(ranked.c.attempt_id)


def nodes() -> sa.Select[Any]:
    """Select all nodes."""
    return sa.select(*(node.c[name] for name in NodeRow.__struct_fields__)).order_by(node.c.node_id)


def instances(now_ms: int, service: str | None = None) -> sa.Select[Any]:
    """Select live instances, of one service or of all."""
    columns = service_instance.c
    query = sa.select(*(columns[name] for name in InstanceRow.__struct_fields__)).where(columns.lease_until_ms > now_ms)
    if service is not None:
        query = query.where(columns.service == service)
    return query.order_by(columns.service, columns.instance_id)


def withdraw(service: str, instance_id: str) -> sa.Delete:
    """Delete one instance of a service."""
    columns = service_instance.c
    return sa.delete(service_instance).where(columns.service == service, columns.instance_id == instance_id)


def forget_instances(lapsed_before_ms: int) -> sa.Delete:
    """Delete the instances whose lease ended before the instant."""
    return sa.delete(service_instance).where(service_instance.c.lease_until_ms < lapsed_before_ms)


def forget_nodes(lapsed_before_ms: int) -> sa.Delete:
    """Delete the nodes whose lease ended before the instant."""
    return sa.delete(node).where(node.c.lease_until_ms < lapsed_before_ms)
