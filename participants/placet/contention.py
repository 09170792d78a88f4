"""Database errors that say "not now": a lock waited for too long, a deadlock, a serialization that failed."""

from sqlalchemy.exc import DBAPIError

# https://www.postgresql.org/docs/current/errcodes-appendix.html: serialization_failure, deadlock_detected,
# lock_not_available.
_SQLSTATES = frozenset({"40001", "40P01", "55P03"})
# https://mariadb.com/kb/en/mariadb-error-codes/: record changed since the snapshot, lock wait timeout, deadlock.
_ERRNOS = frozenset({1020, 1205, 1213})
# https://www.sqlite.org/rescode.html: SQLITE_BUSY, SQLITE_LOCKED; extended codes keep them in the low byte.
_SQLITE_CODES = frozenset({5, 6})


def is_contention(error: BaseException) -> bool:
    """Says whether the same work may succeed when it is asked for again; its transaction is not to be committed."""
    if not isinstance(error, DBAPIError) or error.orig is None:
        return False
    cause = error.orig
    if getattr(cause, "sqlstate", None) in _SQLSTATES:
        return True
    code = getattr(cause, "sqlite_errorcode", None)
    if code is not None:
        return code & 0xFF in _SQLITE_CODES
    return bool(cause.args) and cause.args[0] in _ERRNOS
