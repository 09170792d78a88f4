"""Requests in a table of PostgreSQL, MariaDB, MySQL or SQLite, for all processes that share it.

A request costs one insert before it runs and one update after. Time is the database's.
"""

from collections.abc import Callable
from typing import Any, TypeVar

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Engine,
    Index,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    delete,
    insert,
    select,
    tuple_,
    update,
)
from sqlalchemy.dialects import mysql
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine

from placet_rpc.idempotency.store import (
    CALLER_LENGTH_MAX,
    FINGERPRINT_BYTES,
    KEY_LENGTH_MAX,
    RUNNER_LENGTH_MAX,
    Found,
    Request,
    RequestsUnavailable,
    State,
    StoredAnswer,
)
from placet_rpc.sql_database import Database, DatabaseUnavailable, ascii_text, database_now_ms

_Result = TypeVar("_Result")

_LOOKS = 3
"""Between an insert that meets a row and the look at it, the row may have gone: purged, or forgotten by its runner."""

metadata = MetaData()

request_table = Table(
    "placet_request",
    metadata,
    Column("caller", ascii_text(CALLER_LENGTH_MAX), primary_key=True),
    Column("request_key", ascii_text(KEY_LENGTH_MAX), primary_key=True),
    Column(
        "fingerprint",
        LargeBinary(FINGERPRINT_BYTES).with_variant(mysql.BINARY(FINGERPRINT_BYTES), "mysql", "mariadb"),
        nullable=False,
        comment="equal for equal requests",
    ),
    Column("runner", ascii_text(RUNNER_LENGTH_MAX), nullable=False, comment="one life of a process"),
    Column("running_until_ms", BigInteger, nullable=False, comment="without a status after it: lost"),
    Column("known_until_ms", BigInteger, nullable=False),
    Column("status", SmallInteger, comment="of the answer; null: being run"),
    Column("codec", ascii_text(32), comment="of the body"),
    Column(
        "body",
        # BLOB of MariaDB and MySQL ends at 64 KiB.
        LargeBinary().with_variant(mysql.LONGBLOB(), "mysql", "mariadb"),
        comment="of the answer; null: too long to be kept",
    ),
    Index("placet_request_known_until", "known_until_ms"),
    # `keep` of a runner, for a few rows each time; those that are done have no place in it where a database can say so.
    Index("placet_request_runner", "runner", "status"),
    comment="Placet: requests with an idempotency key, and their answers",
    mysql_engine="InnoDB",
    sqlite_with_rowid=False,
)
_row = request_table.c


class SqlRequests:
    """Requests in SQL; satisfies `RequestStore`.

    Args:
        engine: of the database; `metadata` belongs into its migrations.
    """

    def __init__(self, engine: AsyncEngine | Engine) -> None:
        self.database = Database(engine)

    async def begin(self, request: Request, *, running_ms: int, keep_ms: int, again: bool) -> Found:
        """Notes that a request is run from now on."""
        times = {
            "running_until_ms": database_now_ms() + running_ms,
            "known_until_ms": database_now_ms() + keep_ms,
        }
        return await self._run(lambda connection: _begin(connection, request, times, again=again))

    async def keep(self, runner: str, *, running_ms: int) -> None:
        """Says that a runner still lives."""
        running = (_row.runner == runner, _row.status.is_(None), _row.running_until_ms > database_now_ms())
        await self._execute(
            update(request_table).where(*running).values(running_until_ms=database_now_ms() + running_ms)
        )

    async def finish(self, request: Request, answer: StoredAnswer) -> None:
        """Keeps an answer."""
        values = {"status": answer.status, "codec": answer.codec, "body": answer.body}
        await self._execute(update(request_table).where(*_mine(request)).values(values))

    async def forget(self, request: Request) -> None:
        """Forgets a request."""
        await self._execute(delete(request_table).where(*_mine(request)))

    async def lose(self, request: Request) -> None:
        """Notes that a request was stopped."""
        await self._execute(update(request_table).where(*_mine(request)).values(running_until_ms=0))

    async def purge(self, limit: int) -> int:
        """Removes keys whose time is over, the oldest first."""
        return await self._run(lambda connection: _purge(connection, limit))

    async def _execute(self, statement: Any) -> None:
        await self._run(lambda connection: connection.execute(statement))

    async def _run(self, work: Callable[[Connection], _Result]) -> _Result:
        try:
            return await self.database.run(work)
        except DatabaseUnavailable as error:
            raise RequestsUnavailable(str(error)) from error


def _named(request: Request) -> tuple[Any, ...]:
    return _row.caller == request.caller, _row.request_key == request.key


def _mine(request: Request) -> tuple[Any, ...]:
    return *_named(request), _row.runner == request.runner, _row.status.is_(None)


def _begin(connection: Connection, request: Request, times: dict[str, Any], *, again: bool) -> Found:
    new = {"fingerprint": request.fingerprint, "runner": request.runner, **times}
    for _ in range(_LOOKS):
        try:
            connection.execute(insert(request_table).values(caller=request.caller, request_key=request.key, **new))
        except IntegrityError:
            found = _look(connection, request, new, again=again)
        else:
            found = Found(State.MINE)
        if found is not None:
            return found
    raise DatabaseUnavailable("the row of this key comes and goes: is the retention shorter than a request?")


def _look(connection: Connection, request: Request, new: dict[str, Any], *, again: bool) -> Found | None:
    """Says what is known of a key that is known; None: it has gone meanwhile."""
    query = select(
        *(_row.fingerprint, _row.runner, _row.running_until_ms, _row.status, _row.codec, _row.body),
        (_row.known_until_ms <= database_now_ms()).label("is_over"),
        (_row.running_until_ms > database_now_ms()).label("is_running"),
    ).where(*_named(request))
    row = connection.execute(query).one_or_none()
    if row is None:
        return None
    seen = (*_named(request), _row.runner == row.runner, _row.running_until_ms == row.running_until_ms)
    if row.is_over:
        connection.execute(delete(request_table).where(*seen, _row.known_until_ms <= database_now_ms()))
        return None
    is_same = bytes(row.fingerprint) == request.fingerprint
    if row.status is not None:
        body = None if row.body is None else bytes(row.body)
        return Found(State.DONE, is_same, StoredAnswer(row.status, row.codec, body))
    if row.is_running:
        return Found(State.RUNNING, is_same)
    if not is_same or not again:
        return Found(State.LOST, is_same)
    # Of several that want to run a lost request again one gets it: who hits the row as it was seen.
    taken = connection.execute(update(request_table).where(*seen, _row.status.is_(None)).values(new))
    return Found(State.MINE) if taken.rowcount == 1 else None


def _purge(connection: Connection, limit: int) -> int:
    over = _row.known_until_ms <= database_now_ms()
    oldest = select(_row.caller, _row.request_key).where(over).order_by(_row.known_until_ms).limit(limit)
    keys = [tuple(row) for row in connection.execute(oldest)]
    if not keys:
        return 0
    removed = connection.execute(delete(request_table).where(tuple_(_row.caller, _row.request_key).in_(keys), over))
    return removed.rowcount
