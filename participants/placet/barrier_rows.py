"""The barrier's SQL: each operation of a branch takes its row by one statement where the database allows it.

Written for a synchronous `Connection`, the one of the caller's own transaction; an `AsyncSession` runs it by
`run_sync`, so there is one of everything.
"""

from typing import Any, NamedTuple

from sqlalchemy import (
    Connection,
    Executable,
    Insert,
    String,
    Update,
    and_,
    bindparam,
    case,
    func,
    insert,
    literal_column,
    select,
    text,
    true,
    update,
)
from sqlalchemy.dialects import mysql, postgresql, sqlite
from sqlalchemy.exc import IntegrityError

from placet.barrier import UNDOING, Answer, Row
from placet.tables import barrier
from placet_contract.vocabulary import FORWARD_OPERATIONS, Operation

_DUPLICATE_KEY_ERRNO = 1062

_columns = barrier.c
_ours = and_(_columns.gid == bindparam("in_gid"), _columns.branch_id == bindparam("in_branch_id"))
_open = and_(_columns.answer == literal_column(f"'{Answer.DONE}'"), _columns.ended_by.is_(None))
_values = {column.name: bindparam(f"in_{column.name}", type_=column.type) for column in barrier.columns}
_row = (_columns.answer, _columns.ended_by, _columns.result)
_read = select(*_row).where(_ours)
_end = update(barrier).where(_ours, _open).values(ended_by=bindparam("in_ended_by"))
_keep_result = update(barrier).where(_ours).values(result=bindparam("in_result"))


class Claim(NamedTuple):
    """What an operation wants to take its row for.

    Attributes:
        gid: the global transaction.
        branch_id: the branch.
        operation: what was asked of it.
        now_ms: milliseconds since 1970, for the purge.
        wait_ms: how long to wait for another's open transaction. PostgreSQL and MariaDB keep to it; MySQL waits for its
            `innodb_lock_wait_timeout` (50 s by default), SQLite for the connection's busy timeout (5 s in Python).
    """

    gid: str
    branch_id: str
    operation: Operation
    now_ms: int
    wait_ms: int

    def row(self, answer: Answer, result: str | None = None) -> dict[str, Any]:
        """Returns the parameters of a statement that may insert the branch's row."""
        return {
            "in_gid": self.gid,
            "in_branch_id": self.branch_id,
            "in_answer": answer,
            "in_ended_by": None if self.operation in FORWARD_OPERATIONS else self.operation,
            "in_result": result,
            "in_created_at_ms": self.now_ms,
            "in_wait_ms": str(self.wait_ms),
            "in_wait_s": max(1, self.wait_ms // 1_000),
        }


class Taken(NamedTuple):
    """What came of an operation's attempt to take its row.

    Attributes:
        ours: the row is taken, and the handler is to run in this transaction.
        row: the row as somebody else left it; None if there is none.
        marked: there was no row, and one that says `late` was left.
    """

    ours: bool
    row: Row | None = None
    marked: bool = False


class BarrierRows:
    """The statements for databases with `ON CONFLICT`: PostgreSQL, SQLite."""

    def __init__(self, add: Executable, undo: Executable, end: Executable) -> None:
        self._add, self._undo, self._end = add, undo, end

    def take(self, connection: Connection, claim: Claim) -> Taken:
        """Takes the row for an operation, or returns the row that was met instead.

        Waits for another's open transaction on the row, which may end in the database's error of a lock wait, a
        deadlock or a failed serialization: then nothing is known.
        """
        if claim.operation in FORWARD_OPERATIONS:
            if self.insert(connection, claim.row(Answer.DONE)):
                return Taken(ours=True)
        elif claim.operation in UNDOING:
            taken = self.undo(connection, claim)
            if taken is not None:
                return taken
        elif (row := self.end(connection, claim)) is not None:
            return Taken(ours=True, row=row)
        return Taken(ours=False, row=self.read(connection, claim))

    def insert(self, connection: Connection, row: dict[str, Any]) -> bool:
        """Inserts a branch's row; returns False if there is one."""
        return connection.execute(self._add, row).one_or_none() is not None

    def undo(self, connection: Connection, claim: Claim) -> Taken | None:
        """Ends a branch that is done, or leaves a mark that keeps it from being done; None if it is neither."""
        found = connection.execute(self._undo, claim.row(Answer.LATE)).one_or_none()
        if found is None:
            return None
        marked = found.answer == Answer.LATE
        return Taken(ours=not marked, row=Row(*found), marked=marked)

    def end(self, connection: Connection, claim: Claim) -> Row | None:
        """Ends a branch that is done and not ended; returns its row, or None if it is not so."""
        found = connection.execute(self._end, claim.row(Answer.DONE)).one_or_none()
        return None if found is None else Row(*found)

    def read(self, connection: Connection, claim: Claim) -> Row | None:
        """Returns the branch's row."""
        return _first(connection, _read, claim)

    def keep_result(self, connection: Connection, claim: Claim, result: str) -> None:
        """Keeps what a try or action returned, in the row that it has inserted."""
        if connection.execute(_keep_result, claim.row(Answer.DONE, result)).rowcount != 1:
            raise RuntimeError(f"the barrier's row of branch {claim.gid}/{claim.branch_id} has gone under its handler")


class MysqlRows(BarrierRows):
    """The statements for MariaDB and MySQL.

    A plain INSERT and its error of a duplicate key, which undoes that statement alone: INSERT IGNORE would also cut
    long ids with a warning, and what ON DUPLICATE KEY did can't be told from its row count.
    """

    def insert(self, connection: Connection, row: dict[str, Any]) -> bool:
        """Inserts a branch's row; returns False if there is one."""
        try:
            connection.execute(self._add, row)
        except IntegrityError as error:
            if error.orig is None or error.orig.args[0] != _DUPLICATE_KEY_ERRNO:
                raise
            return False
        return True

    def undo(self, connection: Connection, claim: Claim) -> Taken | None:
        """Ends a branch that is done, or leaves a mark; the insert comes first.

        An UPDATE that finds nothing would lock the gap, and two of them deadlock at the inserts that follow.
        """
        if self.insert(connection, claim.row(Answer.LATE)):
            return Taken(ours=False, marked=True)
        row = self.end(connection, claim)
        return None if row is None else Taken(ours=True, row=row)

    def end(self, connection: Connection, claim: Claim) -> Row | None:
        """Ends a branch that is done and not ended; the driver counts rows matched."""
        if connection.execute(self._end, claim.row(Answer.DONE)).rowcount != 1:
            return None
        return self.read(connection, claim)

    def read(self, connection: Connection, claim: Claim) -> Row | None:
        """Returns the branch's row as it is committed, which a plain SELECT of an older snapshot may not see."""
        return _first(connection, _read_committed, claim)


_read_committed = _read.with_for_update(read=True)


def _first(connection: Connection, statement: Executable, claim: Claim) -> Row | None:
    found = connection.execute(statement, {"in_gid": claim.gid, "in_branch_id": claim.branch_id}).one_or_none()
    return None if found is None else Row(*found)


def _postgres() -> BarrierRows:
    # Set by the statement that may wait, in its own round trip, and for this transaction alone: the locks that the
    # handler waits for are bounded by the call's time, too. A limit that the user has set is left alone.
    setting = func.current_setting("lock_timeout")
    wait_ms = case((setting == "0", bindparam("in_wait_ms", type_=String())), else_=setting)
    limit = func.set_config("lock_timeout", wait_ms, true())
    add = postgresql.insert(barrier).from_select(
        list(_values), select(*_values.values()).select_from(limit.alias("lock_limit"))
    )
    end = _end.where(limit.is_not(None))
    return BarrierRows(_add(add), _upsert(add), end.returning(*_row))


def _sqlite() -> BarrierRows:
    add = sqlite.insert(barrier).values(_values)
    return BarrierRows(_add(add), _upsert(add), _end.returning(*_row))


def _add(add: postgresql.Insert | sqlite.Insert) -> Executable:
    return add.on_conflict_do_nothing().returning(_columns.answer)


def _upsert(add: postgresql.Insert | sqlite.Insert) -> Executable:
    return add.on_conflict_do_update(
        index_elements=[_columns.gid, _columns.branch_id], set_={"ended_by": add.excluded.ended_by}, where=_open
    ).returning(*_row)


def _mysql() -> BarrierRows:
    return MysqlRows(insert(barrier).values(_values), _end, _end)


def _mariadb() -> BarrierRows:
    def limited(statement: Insert | Update) -> Executable:
        # A setting for one statement, in its own round trip: MariaDB's way, which MySQL does not have.
        named = str(statement.compile(dialect=mysql.dialect(paramstyle="named")))
        return text(f"SET STATEMENT innodb_lock_wait_timeout = :in_wait_s FOR {named}")

    return MysqlRows(limited(insert(barrier).values(_values)), limited(_end), limited(_end))


_ROWS = {"postgresql": _postgres(), "sqlite": _sqlite(), "mysql": _mysql(), "mariadb": _mariadb()}


def rows_in(connection: Connection) -> BarrierRows:
    """Returns the statements for the database behind a connection.

    Raises:
        RuntimeError: there are none for it.
    """
    dialect = connection.dialect
    name = "mariadb" if getattr(dialect, "is_mariadb", False) else dialect.name
    try:
        return _ROWS[name]
    except KeyError:
        raise RuntimeError(f"the barrier does not run on {name}: use one of {', '.join(_ROWS)}") from None
