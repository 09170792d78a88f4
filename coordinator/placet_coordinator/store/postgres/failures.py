"""What PostgreSQL's SQLSTATEs mean for a statement of ours, each of which is a transaction of its own."""

from typing import Final

from asyncpg.exceptions import PostgresError

from placet_coordinator.ports.store import BadData, RowLocked, StoreError, StoreUnavailable, WriteConflict

# Numbers: PostgreSQL documentation, appendix A.
LOCK_NOT_AVAILABLE: Final = "55P03"
CONFLICTS: Final = frozenset({"40001", "40P01"})  # serialization failure, deadlock
BAD_DATA_CLASSES: Final = frozenset({"22", "23", "54"})  # data, integrity constraint, program limit
ANSWER_MAY_BE_LATE: Final = frozenset({
    "57P01",  # the administrator ends our session: maybe after the commit, before its answer
    "57P02",  # another session crashed, and the server ends all
    "40003",  # statement completion unknown
})  # fmt: skip
CONNECTION_CLASS: Final = "08"
SCHEMA_CHANGED: Final = frozenset({
    "42804",  # a row as we send it has not the table's columns any more
    "0A000",  # a cached plan's result has changed
})  # fmt: skip
"""A migration ran beside us: a new connection learns the table anew."""


def refused(error: PostgresError) -> StoreError:
    """Return what a server's refusal of an autocommit statement means.

    The server refuses before it commits, and rolls back; a cancelled statement (57014, by `statement_timeout` or an
    operator) too, for once it commits it no longer looks whether it was cancelled.
    """
    state = error.sqlstate or ""
    message = f"PostgreSQL {state}: {said(error)}"
    if state == LOCK_NOT_AVAILABLE:
        return RowLocked(message)
    if state in CONFLICTS:
        return WriteConflict(message)
    if state[:2] in BAD_DATA_CLASSES:
        return BadData(message)
    is_unsure = state in ANSWER_MAY_BE_LATE or state[:2] in {CONNECTION_CLASS, ""}
    return StoreUnavailable(message, wrote_nothing=not is_unsure)


def needs_new_connection(error: PostgresError) -> bool:
    """Tell whether the session is of no more use after this refusal."""
    state = error.sqlstate or ""
    return state in SCHEMA_CHANGED | ANSWER_MAY_BE_LATE or state[:2] in {CONNECTION_CLASS, ""}


def said(error: BaseException) -> str:
    """Return the error's text without what it may quote: a row's content (as DETAIL does), or a password."""
    if isinstance(error, PostgresError):
        return getattr(error, "message", None) or type(error).__name__
    return str(error) if isinstance(error, OSError) and str(error) else type(error).__name__
