"""A configuration in a table of PostgreSQL, MariaDB, MySQL or SQLite, a row per revision: the table is the audit trail.

The newest row holds. A revision is published by one insert, so two who publish at once can't both be next.
"""

from collections.abc import AsyncGenerator, Callable
from datetime import timedelta
from typing import Any, TypeVar

import msgspec
from sqlalchemy import BigInteger, Column, Connection, Engine, MetaData, String, Table, Text, delete, insert, select
from sqlalchemy.dialects import mysql
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine

from placet_rpc.chance import Chance, new_chance
from placet_rpc.clock import SYSTEM_CLOCK, Clock
from placet_rpc.configuration.change import differences_of
from placet_rpc.configuration.document import NAME_LENGTH_MAX, REASON_LENGTH_MAX, Document, read_document
from placet_rpc.configuration.source import SourceUnavailable, Stored, polled, revision_of
from placet_rpc.sql_database import Database, DatabaseUnavailable, ascii_text, database_now_ms

_Result = TypeVar("_Result")

POLL_MS = 2_000
REVISIONS_MAX = 1_000
"""Of one configuration; older ones go when a new one is published."""

metadata = MetaData()


def _words(length: int) -> Any:
    return String(length).with_variant(mysql.VARCHAR(length, charset="utf8mb4"), "mysql", "mariadb")


# TEXT of MariaDB and MySQL ends at 64 KiB.
_LONG_TEXT = Text().with_variant(mysql.LONGTEXT(charset="utf8mb4"), "mysql", "mariadb")

configuration = Table(
    "placet_configuration",
    metadata,
    Column("name", ascii_text(NAME_LENGTH_MAX), primary_key=True),
    Column("revision", BigInteger, primary_key=True, autoincrement=False),
    Column("document", _LONG_TEXT, nullable=False),
    Column("changed_by", _words(NAME_LENGTH_MAX), nullable=False),
    Column("reason", _words(REASON_LENGTH_MAX), nullable=False),
    Column("changed_at_ms", BigInteger, nullable=False, comment="by this database's clock"),
    Column("differences", _LONG_TEXT, nullable=False, comment="from the revision before, a JSON array of texts"),
    comment="Placet: live configuration of the RPC, one row per revision",
    mysql_engine="InnoDB",
    sqlite_with_rowid=False,
)
_row = configuration.c


class ConfigurationConflict(Exception):
    """Somebody else published meanwhile. Nothing was changed: read what holds now, and decide again."""


class Published(msgspec.Struct, frozen=True):
    """One revision of the past, or the one that holds.

    Attributes:
        revision: a number counted from 1, and a hash of the text.
        document: the text.
        changed_by: who published it.
        reason: why.
        changed_at_ms: by the database's clock.
        differences: from the revision before.
    """

    revision: str
    document: str
    changed_by: str
    reason: str
    changed_at_ms: int
    differences: tuple[str, ...]


class SqlSource:
    """Satisfies `ConfigurationSource`.

    Args:
        engine: of the database; `metadata` belongs into its migrations. Closing it stays the user's.
        name: of the configuration.
        poll: how often a watch looks, give or take a fifth.
        clock: for waiting only.
        chance: where jitter comes from.
    """

    def __init__(
        self,
        engine: AsyncEngine | Engine,
        name: str,
        *,
        poll: timedelta = timedelta(milliseconds=POLL_MS),
        clock: Clock = SYSTEM_CLOCK,
        chance: Chance | None = None,
    ) -> None:
        self.database = Database(engine)
        self._name = name
        self._poll, self._clock, self._chance = poll, clock, chance or new_chance()
        self._known: tuple[tuple[int, int], Stored] | None = None

    async def read(self) -> Stored | None:
        """Returns the newest revision; None: nothing was published."""
        newest = await self._run(lambda connection: _newest(connection, self._name))
        if newest is None:
            self._known = None
            return None
        if self._known is None or self._known[0] != newest:
            stored = await self._run(lambda connection: _stored(connection, self._name))
            if stored is None:
                return None
            self._known = (newest, stored)
        return self._known[1]

    def watch(self) -> AsyncGenerator[Stored | None, None]:
        """Yields the newest revision each time that it has looked."""
        return polled(self.read, clock=self._clock, chance=self._chance, poll=self._poll)

    async def publish(self, document: str, *, changed_by: str, reason: str = "", based_on: str | None = None) -> str:
        """Puts a document in force for all that follow this configuration, and returns its revision.

        Args:
            document: the text.
            changed_by: who.
            reason: why; empty: as the document says.
            based_on: the revision that it was made from, empty for none; None: whichever holds.

        Raises:
            ValueError: the document would be refused everywhere, so it is refused here; or a name is too long.
            ConfigurationConflict: another revision holds than the one it was made from.
            SourceUnavailable: it may hold or not: read, and compare.
        """
        checked = read_document(document.encode())
        reason = reason or checked.reason
        if not 0 < len(changed_by) <= NAME_LENGTH_MAX:
            raise ValueError(f"say who publishes, in at most {NAME_LENGTH_MAX} characters")
        if len(reason) > REASON_LENGTH_MAX:
            raise ValueError(f"a reason has at most {REASON_LENGTH_MAX} characters, this one {len(reason)}")
        values = {"document": document, "changed_by": changed_by, "reason": reason}
        return await self._run(lambda connection: _publish(connection, self._name, values, checked, based_on))

    async def history(self, limit: int = 20) -> list[Published]:
        """Returns the latest revisions, the newest first."""
        query = select(configuration).where(_row.name == self._name).order_by(_row.revision.desc()).limit(limit)
        rows = await self._run(lambda connection: connection.execute(query).all())
        return [
            Published(
                revision=_named(row.revision, row.document),
                document=row.document,
                changed_by=row.changed_by,
                reason=row.reason,
                changed_at_ms=row.changed_at_ms,
                differences=tuple(msgspec.json.decode(row.differences)),
            )
            for row in rows
        ]

    async def aclose(self) -> None:
        """The engine stays the user's."""

    async def _run(self, work: Callable[[Connection], _Result]) -> _Result:
        try:
            return await self.database.run(work)
        except DatabaseUnavailable as error:
            raise SourceUnavailable(str(error)) from error


def _newest(connection: Connection, name: str) -> tuple[int, int] | None:
    """Returns what tells the newest row from all others, one of a database that was restored included."""
    query = select(_row.revision, _row.changed_at_ms).where(_row.name == name).order_by(_row.revision.desc()).limit(1)
    row = connection.execute(query).one_or_none()
    return None if row is None else (row.revision, row.changed_at_ms)


def _named(number: int, document: str) -> str:
    """Returns a revision's name. Its number alone may come again with another content, in a restored database."""
    return f"{number}-{revision_of(document.encode())[:8]}"


def _stored(connection: Connection, name: str) -> Stored | None:
    query = (
        select(_row.revision, _row.document, _row.changed_by, _row.changed_at_ms)
        .where(_row.name == name)
        .order_by(_row.revision.desc())
        .limit(1)
    )
    row = connection.execute(query).one_or_none()
    if row is None:
        return None
    revision = _named(row.revision, row.document)
    return Stored(revision, row.document.encode(), row.changed_by, row.changed_at_ms)


def _publish(
    connection: Connection, name: str, values: dict[str, str], document: Document, based_on: str | None
) -> str:
    before = _stored(connection, name)
    held = before.revision if before is not None else ""
    if based_on is not None and based_on != held:
        raise ConfigurationConflict(f"revision {held or 'none'} of {name} holds, and not {based_on or 'none'}")
    revision = int(held.partition("-")[0] or 0) + 1
    differences = differences_of(_read_old(before), document)
    row = {"name": name, "revision": revision, "differences": msgspec.json.encode(differences).decode(), **values}
    try:
        connection.execute(insert(configuration).values(changed_at_ms=database_now_ms(), **row))
    except IntegrityError:
        raise ConfigurationConflict(f"another revision {revision} of {name} was published just now") from None
    connection.execute(delete(configuration).where(_row.name == name, _row.revision <= revision - REVISIONS_MAX))
    return _named(revision, values["document"])


def _read_old(before: Stored | None) -> Document:
    """Returns what held; a document that this build can't read, made by another one, counts as empty."""
    try:
        return Document() if before is None else read_document(before.document)
    except ValueError:
        return Document()
