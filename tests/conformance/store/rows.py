"""Rows and entries for the suite: a plain open transaction, unless told otherwise."""

from typing import Any

from msgspec.structs import replace

from placet_coordinator.ports.rows import AttemptRow, Entry, EntryKind, Row

OWNER = "boot-of-node-a"
CREATED_AT_MS = 1_700_000_000_000


def stamp(gid: str, version: int) -> str:
    """Return the stamp that a row of this version carries unless told otherwise: each write has its own."""
    return f"{OWNER}:{gid[-20:]}:{version}"


def a_row(gid: str, **changed: Any) -> Row:
    """Return an active TCC of `OWNER`, version 1."""
    row = Row(
        gid=gid,
        pattern="tcc",
        name="transfer",
        business_key=None,
        parent=None,
        status="active",
        reason=None,
        reason_text=None,
        attention=None,
        heuristic=False,
        paused_at_ms=None,
        driven=False,
        version=1,
        owner=OWNER,
        written_by=stamp(gid, changed.get("version", 1)),
        format=1,
        next_due_at_ms=CREATED_AT_MS + 30_000,
        created_at_ms=CREATED_AT_MS,
        finished_at_ms=None,
        plan='{"branches":["as begun"]}',
        progress="{}",
    )
    return replace(row, **changed)


def a_final_row(gid: str, **changed: Any) -> Row:
    """Return a committed TCC."""
    ended = {"status": "committed", "next_due_at_ms": None, "finished_at_ms": CREATED_AT_MS + 1_000}
    return a_row(gid, **(ended | changed))


def as_version(row: Row, version: int) -> Row:
    """Return the row as it is at another version."""
    is_own = row.written_by == stamp(row.gid, row.version)
    return replace(row, version=version, written_by=stamp(row.gid, version) if is_own else row.written_by)


def insert(row: Row, *attempts: AttemptRow) -> Entry:
    """Return the entry that inserts the row."""
    return Entry(kind=EntryKind.INSERT, row=row, plan_changed=True, attempts=attempts)


def update(row: Row, expected_version: int, *attempts: AttemptRow, plan_changed: bool = False) -> Entry:
    """Return the entry that replaces version `expected_version` by this row; a plan that stays isn't given."""
    row = replace(as_version(row, expected_version + 1), plan=row.plan if plan_changed else "")
    return Entry(
        kind=EntryKind.UPDATE,
        row=row,
        expected_version=expected_version,
        plan_changed=plan_changed,
        attempts=attempts,
    )


def decide(gid: str, written_by: str = "boot-of-node-b:1", **changed: Any) -> Entry:
    """Return the entry that commits a transaction without having read it."""
    row = a_row(gid, status="committing", owner="boot-of-node-b", written_by=written_by, plan="", progress="")
    return Entry(kind=EntryKind.DECIDE, row=replace(row, next_due_at_ms=CREATED_AT_MS + 99_000, **changed))


def an_attempt(gid: str, number: int = 1, **changed: Any) -> AttemptRow:
    """Return a failed call."""
    attempt = AttemptRow(
        gid=gid,
        branch_id="debit",
        operation="confirm",
        attempt=number,
        outcome="unknown",
        started_at_ms=CREATED_AT_MS + number,
        duration_ms=12,
        detail="HTTP 503",
    )
    return replace(attempt, **changed)
