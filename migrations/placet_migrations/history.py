"""The history of the schema, and moving a database along it."""

import hashlib
import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import OperationalError

from placet_migrations.address import SYNCHRONOUS_DRIVERS, synchronous_engine

VERSION_TABLE: Final = "placet_schema_version"
"""Our own name, so that our schema may share a database with a service that uses Alembic too."""
LOCK_WAIT_S: Final = 60
"""How long one process waits while another one upgrades the same database."""
TABLE_WAIT_S: Final = 10
"""How long a change waits for a table that somebody uses: whoever comes after it waits behind it."""
LOCK_KEY: Final = int.from_bytes(hashlib.sha256(VERSION_TABLE.encode()).digest()[:8], signed=True)


class UpgradeBusy(Exception):
    """Another process has been upgrading this database for longer than we wait; nothing was changed by us."""


def head() -> str:
    """Return the revision that this build needs."""
    return revisions()[-1]


def revisions() -> tuple[str, ...]:
    """Return every revision that this build knows, oldest first."""
    scripts = ScriptDirectory.from_config(_config())
    return tuple(script.revision for script in scripts.walk_revisions())[::-1]


def current(url: str) -> str | None:
    """Return the database's revision, None if it holds no schema of ours. Raises SQLAlchemy's errors."""
    engine = synchronous_engine(url)
    try:
        with engine.connect() as connection:
            return _current(connection)
    finally:
        engine.dispose()


def upgrade(url: str) -> None:
    """Bring the database up to this build's revision. May be repeated, and called by several processes at once.

    On PostgreSQL and SQLite a revision is applied whole or not at all; MariaDB and MySQL commit each statement, and a
    repeat goes on where the last one was cut off.

    Raises:
        UpgradeBusy: another process holds the upgrade's lock; nothing was changed.
        ValueError: the URL is not one of ours.
        sqlalchemy.exc.SQLAlchemyError: the database refused; the revisions before that one stay applied.
    """
    engine = synchronous_engine(url)
    try:
        with _alone(engine), engine.connect() as connection:
            if engine.dialect.name == "sqlite":
                with connection.begin():
                    command.upgrade(_config(connection=connection), "head")
            else:
                _limit_waits(connection)
                command.upgrade(_config(connection=connection), "head")
    finally:
        engine.dispose()


def sql(backend: str) -> str:
    """Return the statements that make the whole schema on an empty database, to be run by a database administrator.

    Args:
        backend: postgresql, mysql, mariadb or sqlite.
    """
    if backend not in SYNCHRONOUS_DRIVERS:
        raise ValueError(f"{backend}: unknown database; use one of {', '.join(SYNCHRONOUS_DRIVERS)}")
    written = io.StringIO()
    dialect = SYNCHRONOUS_DRIVERS[backend].partition("+")[0]
    command.upgrade(_config(written=written, dialect=dialect), "head", sql=True)
    return written.getvalue()


def _config(written: io.StringIO | None = None, **attributes: object) -> Config:
    config = Config(output_buffer=written, attributes=attributes)
    config.set_main_option("script_location", "placet_migrations:.")
    config.set_main_option("path_separator", "os")
    return config


def _current(connection: Connection) -> str | None:
    return MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE}).get_current_revision()


@contextmanager
def _alone(engine: Engine) -> Iterator[None]:
    """Hold the lock that lets one process at a time upgrade this database.

    On a connection of its own, so that a revision may commit in between. SQLite needs none: the upgrade's transaction
    is the file's only writer.
    """
    if engine.dialect.name == "sqlite":
        yield
        return
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        if engine.dialect.name == "postgresql":
            _lock_postgresql(connection)
        else:
            _lock_mysql(connection)
        yield
        # Both locks end with their session: the engine's disposal closes it, whatever was raised.
        connection.invalidate()


def _lock_postgresql(connection: Connection) -> None:
    """Take the advisory lock of this database (advisory locks are per database)."""
    connection.execute(text(f"set lock_timeout = '{LOCK_WAIT_S}s'"))
    try:
        connection.execute(text("select pg_advisory_lock(:key)"), {"key": LOCK_KEY})
    except OperationalError as error:
        raise _busy() from error


def _lock_mysql(connection: Connection) -> None:
    """Take the named lock of this database; names are the server's, and at most 64 characters long."""
    name = "concat('placet:', left(sha2(database(), 256), 40))"
    if connection.execute(text(f"select get_lock({name}, {LOCK_WAIT_S})")).scalar() != 1:
        raise _busy()


def _limit_waits(connection: Connection) -> None:
    """Let changes of tables give up after a while, for the session."""
    if connection.dialect.name == "postgresql":
        connection.execute(text(f"set lock_timeout = '{TABLE_WAIT_S}s'"))
    else:
        connection.execute(text(f"set lock_wait_timeout = {TABLE_WAIT_S}, innodb_lock_wait_timeout = {TABLE_WAIT_S}"))
    connection.commit()


def _busy() -> UpgradeBusy:
    return UpgradeBusy(
        f"another process has been upgrading this database for {LOCK_WAIT_S} s; when it is done, run: placet db upgrade"
    )
