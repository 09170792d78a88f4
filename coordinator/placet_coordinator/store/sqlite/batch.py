"""A journal batch within one transaction on the writing thread, many rows a statement.

Each call into SQLite gives the interpreter's lock away and has to win it back from the event loop: row by row, a batch
of 64 did so 64 times and held the loop up at each. So up to 64 rows go in one statement, and a statement of every
size that has occurred is kept prepared.
"""
# ruff: noqa: S608 - statements are made of this file's own names

import sqlite3
from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import chain
from typing import Any, Final

from msgspec.structs import astuple

from placet_coordinator.core.transaction import FORMAT
from placet_coordinator.ports.rows import AttemptRow, Entry, EntryKind, Row
from placet_coordinator.store.columns import UPDATED, to_row

COLUMNS: Final = Row.__struct_fields__
NAMES: Final = ", ".join(COLUMNS)
"""A row's columns, in the order of its fields."""

ROWS_MAX: Final = 64
"""Rows in one statement: 64 of 21 columns are far below SQLite's 32,766 parameters."""
STATEMENTS_MAX: Final = 3 * ROWS_MAX + 32
"""Prepared statements that the connection has to keep: three kinds of each size, and what else there is."""

_DECIDE: Final = (
    "update global_transaction set status = ?, reason = ?, reason_text = ?, owner = ?, written_by = ?, "
    "next_due_at_ms = ?, version = version + 1 where gid = ? and status = 'active' and pattern in ('tcc', 'xa') "
    f"and not driven and paused_at_ms is null and format <= {FORMAT} returning {NAMES}"
)
_ATTEMPT: Final = (
    f"insert into attempt ({', '.join(AttemptRow.__struct_fields__)}) "
    f"values ({', '.join('?' * len(AttemptRow.__struct_fields__))})"
)

Written = tuple[dict[int, Row | None], int]
"""What the store port's `write` returns, and how many statements it took."""

Values = tuple[Any, ...]
Statement = Callable[[int], str]


def write(connection: sqlite3.Connection, batch: Sequence[Entry]) -> Written:
    """Write a batch's rows within the open transaction."""
    hits: dict[int, Row | None] = {}
    statements = 0
    inserts: list[tuple[int, Values]] = []
    updates: list[tuple[int, Values]] = []
    plans: list[tuple[int, Values]] = []
    for position, entry in enumerate(batch):
        row = entry.row
        if entry.kind is EntryKind.INSERT:
            inserts.append((position, astuple(row)))
        elif entry.kind is EntryKind.DECIDE:
            decided = _decide(connection, row)
            statements += 1
            if decided is not None:
                hits[position] = decided
        elif entry.plan_changed:
            plans.append((position, (*_updated(entry), row.plan)))
        else:
            updates.append((position, _updated(entry)))
    for statement, rows in ((_insert, inserts), (_update, updates), (_update_with_plan, plans)):
        if rows:
            statements += _write_rows(connection, statement, rows, batch, hits)
    return hits, statements + _write_attempts(connection, batch, hits)


def _write_rows(
    connection: sqlite3.Connection,
    statement: Statement,
    rows: list[tuple[int, Values]],
    batch: Sequence[Entry],
    hits: dict[int, Row | None],
) -> int:
    statements = 0
    for start in range(0, len(rows), ROWS_MAX):
        part = rows[start : start + ROWS_MAX]
        parameters = list(chain.from_iterable([values for _, values in part]))
        changed = connection.execute(statement(len(part)), parameters).rowcount
        statements += 1
        positions = [position for position, _ in part]
        if changed == len(part):
            hits.update(dict.fromkeys(positions))
        elif changed:
            hits.update(dict.fromkeys(_with_our_stamp(connection, positions, batch)))
            statements += 1
    return statements


def _with_our_stamp(connection: sqlite3.Connection, positions: list[int], batch: Sequence[Entry]) -> list[int]:
    """Return which of a statement's rows were hit: those that carry the stamp of this batch's entry."""
    gids = [batch[position].row.gid for position in positions]
    query = f"select gid, written_by from global_transaction where gid in ({', '.join('?' * len(gids))})"
    stamps = dict(connection.execute(query, gids).fetchall())
    return [position for position in positions if stamps.get(batch[position].row.gid) == batch[position].row.written_by]


def _write_attempts(connection: sqlite3.Connection, batch: Sequence[Entry], hits: dict[int, Row | None]) -> int:
    attempts = [
        astuple(attempt)
        for position, entry in enumerate(batch)
        if entry.attempts and position in hits
        for attempt in entry.attempts
    ]
    if attempts:
        connection.executemany(_ATTEMPT, attempts)
    return len(attempts)


def _decide(connection: sqlite3.Connection, row: Row) -> Row | None:
    found = connection.execute(
        _DECIDE,
        (row.status, row.reason, row.reason_text, row.owner, row.written_by, row.next_due_at_ms, row.gid),
    ).fetchone()
    return None if found is None else to_row(found)


def _updated(entry: Entry) -> Values:
    row = entry.row
    return (row.gid, entry.expected_version, *[getattr(row, name) for name in UPDATED])


@lru_cache(maxsize=ROWS_MAX)
def _insert(rows: int) -> str:
    return f"insert into global_transaction ({NAMES}) values {_places(len(COLUMNS), rows)} on conflict (gid) do nothing"


@lru_cache(maxsize=ROWS_MAX)
def _update(rows: int) -> str:
    return _updating(UPDATED, rows)


@lru_cache(maxsize=ROWS_MAX)
def _update_with_plan(rows: int) -> str:
    return _updating((*UPDATED, "plan"), rows)


def _updating(names: tuple[str, ...], rows: int) -> str:
    """Return the update of so many rows, each guarded by its version; SQLite names the columns of `values` itself."""
    settings = ", ".join(f"{name} = new.column{place}" for place, name in enumerate(names, 3))
    return (
        f"update global_transaction as old set {settings} from (values {_places(len(names) + 2, rows)}) as new "
        f"where old.gid = new.column1 and old.version = new.column2 and old.format <= {FORMAT}"
    )


def _places(columns: int, rows: int) -> str:
    one = f"({', '.join('?' * columns)})"
    return ", ".join([one] * rows)
