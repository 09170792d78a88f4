"""A journal batch, written row by row on the writing thread within one transaction."""
# ruff: noqa: S608 - statements are made of this file's own names

import sqlite3
from collections.abc import Sequence
from typing import Final

from msgspec.structs import astuple

from placet_coordinator.core.transaction import FORMAT
from placet_coordinator.ports.rows import AttemptRow, Entry, EntryKind, Row
from placet_coordinator.store import queries

COLUMNS: Final = Row.__struct_fields__
NAMES: Final = ", ".join(COLUMNS)
"""A row's columns, in the order of its fields."""

_PLACES: Final = {name: f"?{number}" for number, name in enumerate(COLUMNS, 1)}
# An update is given the whole row and the expected version, and takes from it what it sets.
_EXPECTED: Final = f"?{len(COLUMNS) + 1}"
_SET: Final = ", ".join(f"{name} = {_PLACES[name]}" for name in queries.UPDATED)
_GUARD: Final = f"where gid = {_PLACES['gid']} and version = {_EXPECTED} and format <= {FORMAT}"
_INSERT: Final = (
    f"insert into global_transaction ({NAMES}) values ({', '.join('?' * len(COLUMNS))}) on conflict (gid) do nothing"
)
_UPDATE: Final = f"update global_transaction set {_SET} {_GUARD}"
_UPDATE_WITH_PLAN: Final = f"update global_transaction set {_SET}, plan = {_PLACES['plan']} {_GUARD}"
_DECIDE: Final = (
    "update global_transaction set status = ?, reason = ?, reason_text = ?, owner = ?, written_by = ?, "
    "next_due_at_ms = ?, version = version + 1 where gid = ? and status = 'active' and pattern in ('tcc', 'xa') "
    f"and not driven and paused_at_ms is null and format <= {FORMAT} returning {NAMES}"
)
_ATTEMPT: Final = (
    f"insert into attempt ({', '.join(AttemptRow.__struct_fields__)}) "
    f"values ({', '.join('?' * len(AttemptRow.__struct_fields__))})"
)


def write(connection: sqlite3.Connection, batch: Sequence[Entry]) -> dict[int, Row | None]:
    """Write a batch's rows within the open transaction; return what the store port's `write` returns."""
    hits: dict[int, Row | None] = {}
    attempts: list[tuple[object, ...]] = []
    execute = connection.execute
    for position, entry in enumerate(batch):
        row, decided = entry.row, None
        if entry.kind is EntryKind.INSERT:
            is_hit = execute(_INSERT, astuple(row)).rowcount == 1
        elif entry.kind is EntryKind.UPDATE:
            statement = _UPDATE_WITH_PLAN if entry.plan_changed else _UPDATE
            is_hit = execute(statement, (*astuple(row), entry.expected_version)).rowcount == 1
        else:
            decided = _decide(connection, row)
            is_hit = decided is not None
        if is_hit:
            hits[position] = decided
            if entry.attempts:
                attempts += map(astuple, entry.attempts)
    if attempts:
        connection.executemany(_ATTEMPT, attempts)
    return hits


def _decide(connection: sqlite3.Connection, row: Row) -> Row | None:
    found = connection.execute(
        _DECIDE,
        (row.status, row.reason, row.reason_text, row.owner, row.written_by, row.next_due_at_ms, row.gid),
    ).fetchone()
    return None if found is None else queries.to_row(found)
