"""What MariaDB's and MySQL's error numbers mean for a packet of ours."""

from typing import Final

from asyncmy.errors import DataError, Error, IntegrityError

from placet_coordinator.ports.store import BadData, RowLocked, StoreError, StoreUnavailable, WriteConflict

# Numbers: MariaDB "Error codes", MySQL "Server error message reference".
LOCKED: Final = frozenset({
    1205,  # lock wait timeout
    3572,  # NOWAIT met a lock
})  # fmt: skip
CONFLICTS: Final = frozenset({
    1213,  # deadlock; on Galera certification failure too, and then as late as COMMIT
    1020,  # the row changed since it was read (snapshot isolation)
    3101,  # MySQL group replication rolled back at COMMIT
})  # fmt: skip
BAD_DATA: Final = frozenset({
    1048,  # null in a column that has to have a value
    1062,  # duplicate key
    1153,  # packet larger than max_allowed_packet
    1264,  # number out of range
    1265,  # data truncated
    1292,  # incorrect value
    1300,  # invalid character string
    1366,  # incorrect string value
    1406,  # data too long
    1690,  # number out of range in an expression
    3140,  # invalid JSON (MySQL)
    3819,  # check constraint (MySQL)
    4025,  # check constraint (MariaDB)
})  # fmt: skip
QUOTING: Final = frozenset({1062, 1064, 1292, 1300, 1366})
"""Errors whose text may quote a row's content, which must not get into logs; 1064 is a syntax error."""
_CLIENT_ERRORS: Final = range(2000, 3000)
"""Numbers of the client library (the driver), not of the server."""


def number(error: Error) -> int:
    """Return the error's number, 0 if it has none."""
    return error.args[0] if error.args and isinstance(error.args[0], int) else 0


def is_answer(error: Exception) -> bool:
    """Tell whether the server said this, and so stopped at the statement; else the session is lost."""
    return isinstance(error, Error) and number(error) > 0 and number(error) not in _CLIENT_ERRORS


def refused(error: Error) -> StoreError:
    """Return what a server's refusal means once the packet is rolled back, so that nothing of it was written."""
    code = number(error)
    message = said(error)
    if code in LOCKED:
        return RowLocked(message)
    if code in CONFLICTS:
        return WriteConflict(message)
    if code in BAD_DATA or isinstance(error, DataError | IntegrityError):
        return BadData(message)
    return StoreUnavailable(message, wrote_nothing=True)


def said(error: BaseException) -> str:
    """Return the error's text without what it may quote of a row."""
    if not isinstance(error, Error):
        # A RuntimeError of the driver names the package that a way to authenticate needs.
        return str(error) if isinstance(error, OSError | RuntimeError) and str(error) else type(error).__name__
    code = number(error)
    if code in QUOTING:
        return f"MariaDB/MySQL error {code} (its text is left out: it may quote a row)"
    return f"MariaDB/MySQL error {code}: {error.args[-1] if error.args else type(error).__name__}"
