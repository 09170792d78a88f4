"""Database errors that a handler caught: whether its transaction can still be committed, barrier row and all.

PostgreSQL answers COMMIT of a failed transaction with a ROLLBACK, and no driver raises; MariaDB and MySQL roll the
whole transaction back at a deadlock, and what follows is another one, without the barrier's row. Neither is seen at the
commit.
"""

from weakref import WeakKeyDictionary, WeakSet

from sqlalchemy import Connection, Dialect, ExceptionContext, event

from placet.contention import is_contention

# https://www.sqlite.org/lang_transaction.html: SQLITE_NOMEM, SQLITE_INTERRUPT, SQLITE_IOERR, SQLITE_FULL may have
# rolled the transaction back.
_SQLITE_ENDS = frozenset({7, 9, 10, 13})

_watched_dialects: WeakSet[Dialect] = WeakSet()
_watched: WeakKeyDictionary[Connection, "SwallowedErrors"] = WeakKeyDictionary()


class SwallowedErrors:
    """What has gone wrong on a connection since it is watched.

    Attributes:
        first: the first error; None if there was none. The transaction may be as well as ever, for a savepoint may
            have caught it: look whether the barrier's row is there.
        fatal: an error after which the transaction is gone, whatever can be seen.
    """

    def __init__(self) -> None:
        self.first: BaseException | None = None
        self.fatal: BaseException | None = None

    def note(self, context: ExceptionContext) -> None:
        """Takes an error."""
        error = context.sqlalchemy_exception or context.original_exception
        self.first = self.first or error
        if self.fatal is None and (context.is_disconnect or _ends_transaction(context.dialect.name, error)):
            self.fatal = error


def watched(connection: Connection) -> SwallowedErrors:
    """Returns the errors of a connection from now on; costs nothing while there are none."""
    if connection.dialect not in _watched_dialects:
        event.listen(connection.engine, "handle_error", _note)
        _watched_dialects.add(connection.dialect)
    errors = _watched[connection] = SwallowedErrors()
    return errors


def _note(context: ExceptionContext) -> None:
    if context.connection is not None and (errors := _watched.get(context.connection)) is not None:
        errors.note(context)


def _ends_transaction(dialect: str, error: BaseException) -> bool:
    if dialect == "sqlite":
        code = getattr(getattr(error, "orig", None), "sqlite_errorcode", 0)
        return code & 0xFF in _SQLITE_ENDS
    return dialect != "postgresql" and is_contention(error)
