"""A journal batch as one packet: `begin; …; commit; select …`, which the server finishes without us.

One statement for each kind of entry, whatever their number. UPDATE returns no rows here, so the packet finds its hits
by `written_by` while the transaction still holds the rows, keeps them in a session variable, and reads that after
COMMIT: an answer sent before COMMIT could wait for a stopped client while its rows stay locked.

The hits are read once more after COMMIT. On Galera the COMMIT of the second of two writers may be answered with OK in
a packet of several statements though it was rolled back: 2 of 200 contested batches on three nodes of 10.11 [measured].
"""
# ruff: noqa: S608 - statements are made of this file's names and of the literals that literals.py quotes

from collections.abc import Iterable, Sequence
from operator import attrgetter
from typing import Final

from msgspec.structs import astuple

from placet_coordinator.core.transaction import FORMAT
from placet_coordinator.ports.rows import AttemptRow, Entry, EntryKind, Row
from placet_coordinator.ports.store import StoreUnavailable
from placet_coordinator.store.columns import UPDATED, to_row
from placet_coordinator.store.mysql.literals import identifier, integer, literal, text, texts
from placet_coordinator.store.mysql.packet import Packet
from placet_coordinator.store.mysql.session import Rows

BY_GID: Final = "global_transaction old force index (primary)"
"""The server, left to itself, reads a small table from end to end, and waits for others' locks on its way."""
NAMES: Final = ", ".join(Row.__struct_fields__)
DECIDED: Final = ("status", "reason", "reason_text", "owner", "written_by", "next_due_at_ms")
SINGLE_UPDATES_MAX: Final = 4
"""Up to so many updates go as a statement each: a derived table of documents costs the server more than they do."""

_ATTEMPT_NAMES: Final = AttemptRow.__struct_fields__
_decided_values = attrgetter(*DECIDED)


def compose(batch: Sequence[Entry]) -> Packet:
    """Return the packet that writes the batch; each statement locks its rows in the order of their gids."""
    ordered = sorted(batch, key=attrgetter("row.gid"))
    inserts = [entry.row for entry in ordered if entry.kind is EntryKind.INSERT]
    updates = [entry for entry in ordered if entry.kind is EntryKind.UPDATE]
    decides = [entry.row for entry in ordered if entry.kind is EntryKind.DECIDE]
    attempts = [(attempt, entry.row.written_by) for entry in ordered for attempt in entry.attempts]
    statements = [_insert(inserts)] if inserts else []
    statements += _updates([entry for entry in updates if not entry.plan_changed], UPDATED)
    statements += _updates([entry for entry in updates if entry.plan_changed], (*UPDATED, "plan"))
    if decides:
        statements.append(_decide(decides))
    if attempts:
        statements.append(_note(attempts))
    find_hits = f"from {BY_GID} where {_written_by_us(entry.row for entry in ordered)}"
    statements.append(f"select group_concat(gid) into @placet_hits {find_hits}")
    then = [f"select @placet_hits, group_concat(gid) {find_hits}"]
    if decides:
        then.append(f"select {NAMES} from {BY_GID} where {_written_by_us(decides)}")
    return Packet.transaction(statements, then)


def hits(batch: Sequence[Entry], packet: Packet, results: Sequence[Rows]) -> dict[int, Row | None]:
    """Return what the store port's `write` returns, from the packet's results.

    Raises:
        StoreUnavailable: what was written before COMMIT isn't there after it: either it was written again by somebody
            in between, or COMMIT did not do what it said. Reading back tells.
    """
    assert packet.commit_at is not None  # noqa: S101 - `compose` made the packet
    answers = results[packet.commit_at + 1 :]
    before, hit = ({*gids.split(",")} if gids else set() for gids in answers[0][0])
    if before != hit:
        raise StoreUnavailable("what was written is not there after COMMIT", wrote_nothing=False)
    decided = {values[0]: values for values in answers[1]} if len(answers) > 1 else {}
    found: dict[int, Row | None] = {}
    for position, entry in enumerate(batch):
        gid = entry.row.gid
        if gid not in hit:
            continue
        found[position] = None
        if entry.kind is EntryKind.DECIDE:
            if gid not in decided:
                raise StoreUnavailable(f"{gid}: written again before it was read", wrote_nothing=False)
            found[position] = to_row(decided[gid])
    return found


def _written_by_us(rows: Iterable[Row]) -> str:
    rows = list(rows)
    return f"gid in ({texts([row.gid for row in rows])}) and written_by in ({texts([row.written_by for row in rows])})"


def _insert(rows: Sequence[Row]) -> str:
    """Insert what isn't there yet. Not INSERT IGNORE, which cuts long ids with a warning."""
    given = ",".join([f"({','.join([literal(value) for value in astuple(row)])})" for row in rows])
    return (
        f"insert into global_transaction ({NAMES}) values {given} on duplicate key update gid = global_transaction.gid"
    )


def _updates(entries: Sequence[Entry], columns: Sequence[str]) -> list[str]:
    if len(entries) <= SINGLE_UPDATES_MAX:
        return [_update_one(entry, columns) for entry in entries]
    values = attrgetter(*columns)
    given = _table(
        ("gid", "expected_version", *columns),
        [
            [identifier(entry.row.gid), integer(entry.expected_version), *_literals(values(entry.row))]
            for entry in entries
        ],
    )
    return [
        (
            f"update {given} new straight_join {BY_GID} "
            f"on old.gid = new.gid and old.version = new.expected_version and old.format <= {FORMAT} "
            f"set {_settings(columns)}"
        )
    ]


def _update_one(entry: Entry, columns: Sequence[str]) -> str:
    new = entry.row
    settings = [f"{column} = {literal(getattr(new, column))}" for column in columns]
    return (
        f"update global_transaction set {', '.join(settings)} "
        f"where gid = {text(new.gid)} and version = {integer(entry.expected_version)} and format <= {FORMAT}"
    )


def _decide(rows: Sequence[Row]) -> str:
    given = _table(("gid", *DECIDED), [[identifier(row.gid), *_literals(_decided_values(row))] for row in rows])
    return (
        f"update {given} new straight_join {BY_GID} on old.gid = new.gid "
        "and old.status = 'active' and old.pattern in ('tcc', 'xa') and not old.driven and old.paused_at_ms is null "
        f"and old.format <= {FORMAT} set old.version = old.version + 1, {_settings(DECIDED)}"
    )


def _note(attempts: Sequence[tuple[AttemptRow, str]]) -> str:
    """Insert the attempts of the entries that hit, which are known by their stamp."""
    given = _table(
        ("written_by", "place", *_ATTEMPT_NAMES),
        [
            [identifier(written_by), integer(place), identifier(attempt.gid), *_literals(astuple(attempt)[1:])]
            for place, (attempt, written_by) in enumerate(attempts)
        ],
    )
    taken = ", ".join([f"new.{name}" for name in _ATTEMPT_NAMES])
    return (
        f"insert into attempt ({', '.join(_ATTEMPT_NAMES)}) select {taken} "
        f"from {given} new straight_join {BY_GID} "
        "on old.gid = new.gid and old.written_by = new.written_by order by new.place"
    )


def _settings(columns: Sequence[str]) -> str:
    return ", ".join([f"old.{column} = new.{column}" for column in columns])


def _literals(values: Sequence[str | int | None]) -> list[str]:
    return [literal(value) for value in values]


def _table(names: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a derived table of literals: `select … union all select …` is the form that both servers take."""
    first = ",".join([f"{value} {name}" for value, name in zip(rows[0], names, strict=True)])
    return "(" + " union all ".join([f"select {first}", *(f"select {','.join(row)}" for row in rows[1:])]) + ")"
