"""A journal batch as one statement, which is a transaction of its own: the server finishes it without us.

Several rows go out as one array of the table's own row type: of the ways to send them this costs the client least (2 µs
a row at batches of 100, against 5 µs for an array each column) and the server, too. A single row goes out as it is.

The server commits once it has handed its answer to the network. What a stopped process does not read must fit there,
or its rows stay locked: documents of decided rows are in the answer only if they are small together.
"""
# ruff: noqa: S608 - statements are made of this file's own names

from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import count
from operator import attrgetter
from typing import Any, Final

from msgspec.structs import astuple

from placet_coordinator.core.transaction import FORMAT
from placet_coordinator.ports.rows import AttemptRow, Entry, EntryKind, Row
from placet_coordinator.store.columns import UPDATED

COLUMNS: Final = Row.__struct_fields__
DOCUMENTS: Final = ("plan", "progress")
DECIDED: Final = ("status", "reason", "reason_text", "owner", "written_by", "next_due_at_ms")
ANSWER_BYTES_MAX: Final = 49_152
"""Documents in an answer; Linux takes 64 KiB for a receiver that reads nothing (tcp(7), tcp_rmem), and more to send."""
_ATTEMPT_COLUMNS: Final = AttemptRow.__struct_fields__
_ATTEMPT_TYPES: Final = {"attempt": "int", "started_at_ms": "bigint", "duration_ms": "bigint"}
_SIZE: Final = (
    f"select coalesce(sum({' + '.join(f'octet_length({name}::text)' for name in DOCUMENTS)}), 0) "
    f"<= {ANSWER_BYTES_MAX} as fits from decided"
)
_PLAN: Final = COLUMNS.index("plan")
_NAMES: Final = ", ".join(COLUMNS)
MANY: Final = 2
"""As many rows as there are, in an array; 0 and 1 are themselves."""

Values = tuple[Any, ...]


def compose(batch: Sequence[Entry], columns: tuple[str, ...]) -> tuple[str, list[Any]]:
    """Return a batch's statement and arguments, the rows in the order of their gids: it is the order of their locks.

    Args:
        batch: the entries, of distinct gids.
        columns: the table's columns in its own order; a newer schema may have more of them than we know.
    """
    ordered = sorted(batch, key=attrgetter("row.gid"))
    insert, update = EntryKind.INSERT, EntryKind.UPDATE  # an enum's member costs 0.1 µs to look up (CPython 3.11)
    inserts = [entry.row for entry in ordered if entry.kind is insert]
    updates = [entry for entry in ordered if entry.kind is update]
    decides = [entry.row for entry in ordered if entry.kind is not insert and entry.kind is not update]
    attempts = [attempt for entry in ordered for attempt in entry.attempts]
    plans = any([entry.plan_changed for entry in updates])  # noqa: C419 - a list is quicker than a generator
    arguments: list[Any] = []
    if len(inserts) == 1:
        arguments.extend(astuple(inserts[0]))
    elif inserts:
        arguments.append(_arranged([astuple(row) for row in inserts], columns))
    if len(updates) == 1:
        arguments.extend(_updated_alone(updates[0]))
    elif updates:
        arguments.append(_arranged([_updated(entry) for entry in updates], columns))
        arguments.append([entry.expected_version for entry in updates])
    if decides:
        arguments.append(_arranged([_decided(row) for row in decides], columns))
    if attempts:
        arguments += zip(*map(astuple, attempts), strict=True)
    text = statement(
        min(len(inserts), MANY), min(len(updates), MANY), plans=plans, decides=bool(decides), attempts=bool(attempts)
    )
    return text, arguments


def hits(batch: Sequence[Entry], rows: Sequence[Any]) -> dict[int, Row | None]:
    """Return what the store port's `write` returns, from the statement's rows: a gid, and the row if decided.

    If the decided rows were too large for the answer, their documents are empty, and have to be read.
    """
    hit = {values[0]: values for values in rows}
    found: dict[int, Row | None] = {}
    for position, entry in enumerate(batch):
        values = hit.get(entry.row.gid)
        if values is not None:
            found[position] = _decided_row(values[1:]) if entry.kind is EntryKind.DECIDE else None
    return found


@lru_cache(maxsize=72)
def statement(inserts: int, updates: int, *, plans: bool, decides: bool, attempts: bool) -> str:
    """Return the statement of a batch by what it has some of; its arguments are those of `compose`, in that order.

    One row comes as an argument for each column: the batch of a single caller, for which the array costs the client
    and the server more than the row. More rows come as an array.

    Args:
        inserts: rows to insert: none, one, or `MANY`.
        updates: rows to update, the same.
        plans: some update sets the plan.
        decides: there are decisions.
        attempts: there are attempts to be noted.
    """
    number = count(1)
    nothing = "".join(f", (null::global_transaction).{name}" for name in COLUMNS) if decides else ""
    changes: dict[str, str] = {}
    if inserts:
        changes["inserted"] = _insert(number) if inserts == MANY else _insert_one(number)
    if updates:
        changes["updated"] = _update(number, plans=plans) if updates == MANY else _update_one(number, plans=plans)
    if len(changes) == 1 and not decides and not attempts:
        return next(iter(changes.values()))
    answers = [f"select gid{nothing} from {name}" for name in changes]
    if decides:
        changes["decided"] = _decide(next(number))
        columns = [f"case when fits then {name} end" if name in DOCUMENTS else name for name in COLUMNS]
        answers.append(f"select gid, {', '.join(columns)} from decided, size")
    parts = [f"{name} as ({text})" for name, text in changes.items()]
    if decides:
        parts.append(f"size as ({_SIZE})")
    if attempts:
        parts.append(f"noted as ({_note(next(number), list(changes))})")
    return f"with {', '.join(parts)} {' union all '.join(answers)}"


def _insert(number: Iterator[int]) -> str:
    return (
        f"insert into global_transaction ({_NAMES}) select {_NAMES} "
        f"from unnest(${next(number)}::global_transaction[]) on conflict (gid) do nothing returning gid"
    )


def _insert_one(number: Iterator[int]) -> str:
    places = ", ".join(f"${next(number)}" for _ in COLUMNS)
    return f"insert into global_transaction ({_NAMES}) values ({places}) on conflict (gid) do nothing returning gid"


def _update(number: Iterator[int], *, plans: bool) -> str:
    settings = [f"{name} = new.{name}" for name in UPDATED]
    if plans:
        # Of rows whose plan stays, the old value is kept as it is, out of line or not.
        settings.append("plan = coalesce(new.plan, old.plan)")
    rows, expected = next(number), next(number)
    return (
        f"update global_transaction old set {', '.join(settings)} "
        f"from unnest(${expected}::int[], ${rows}::global_transaction[]) new(expected_version) "
        f"where old.gid = new.gid and old.version = new.expected_version and old.format <= {FORMAT} returning old.gid"
    )


def _update_one(number: Iterator[int], *, plans: bool) -> str:
    settings = [f"{name} = ${next(number)}" for name in (*UPDATED, *(["plan"] if plans else []))]
    return (
        f"update global_transaction old set {', '.join(settings)} "
        f"where old.gid = ${next(number)} and old.version = ${next(number)} and old.format <= {FORMAT} "
        "returning old.gid"
    )


def _decide(number: int) -> str:
    return (
        f"update global_transaction old set version = old.version + 1, "
        f"{', '.join(f'{name} = new.{name}' for name in DECIDED)} from unnest(${number}::global_transaction[]) new "
        "where old.gid = new.gid and old.status = 'active' and old.pattern in ('tcc', 'xa') and not old.driven "
        f"and old.paused_at_ms is null and old.format <= {FORMAT} "
        f"returning {', '.join(f'old.{name}' for name in COLUMNS)}"
    )


def _note(number: int, hit_tables: Sequence[str]) -> str:
    names = ", ".join(_ATTEMPT_COLUMNS)
    arrays = ", ".join(
        f"${number + place}::{_ATTEMPT_TYPES.get(name, 'text')}[]" for place, name in enumerate(_ATTEMPT_COLUMNS)
    )
    is_hit = " or ".join(f"exists (select from {table} where {table}.gid = new.gid)" for table in hit_tables)
    return (
        f"insert into attempt ({names}) select {names} from unnest({arrays}) with ordinality new({names}, place) "
        f"where {is_hit} order by place"
    )


def _updated(entry: Entry) -> Values:
    """Return the values of an update, the plan only if it changes: what stays is not sent."""
    values = astuple(entry.row)
    return values if entry.plan_changed else (*values[:_PLAN], None, *values[_PLAN + 1 :])


def _updated_alone(entry: Entry) -> list[Any]:
    """Return the arguments of an update of one row: what it sets, gid, and the expected version."""
    row = entry.row
    values = [getattr(row, name) for name in UPDATED]
    if entry.plan_changed:
        values.append(row.plan)
    values += row.gid, entry.expected_version
    return values


def _decided_row(values: Sequence[Any]) -> Row:
    return Row(*(values if values[_PLAN] is not None else [*values[:_PLAN], "", ""]))


def _decided(row: Row) -> Values:
    """Return the values of a decision: the gid, and what it sets."""
    return tuple([getattr(row, name) if name == "gid" or name in DECIDED else None for name in COLUMNS])


def _arranged(rows: list[Values], columns: tuple[str, ...]) -> list[Values]:
    """Return rows in the table's own order, null for columns that we don't know."""
    if columns == COLUMNS:
        return rows
    places = {name: place for place, name in enumerate(COLUMNS)}
    order = [places.get(name) for name in columns]
    return [tuple([None if place is None else values[place] for place in order]) for values in rows]
