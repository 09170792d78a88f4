"""The databases, drivers and isolation levels on which the barrier has to hold."""

from typing import Any, NamedTuple

from sqlalchemy import URL, Engine, NullPool, create_engine, make_url

BUSY_SECONDS = 1.0
"""How long SQLite waits for its one writer; the other databases are told by the call's deadline."""


class Kind(NamedTuple):
    """One way to reach a database.

    Attributes:
        fixture: gives the URL of a database with the tables, empty or not.
        driver: SQLAlchemy's name for dialect and driver.
        is_async: sessions and handlers are asynchronous.
        isolation: what the engine asks for; None leaves the database's default.
    """

    fixture: str
    driver: str
    is_async: bool
    isolation: str | None = None

    @property
    def has_row_locks(self) -> bool:
        """Two transactions may write at once."""
        return self.fixture != "sqlite_tables"

    @property
    def survives_errors(self) -> bool:
        """A failed statement does not end its transaction."""
        return self.fixture != "postgres_tables"

    @property
    def bounds_handlers(self) -> bool:
        """A handler's own statements don't wait for a lock for long: by the call's time, or SQLite's setting."""
        return self.fixture != "mariadb_tables"

    def url(self, given: str) -> URL:
        """Return the URL for the driver."""
        return make_url(given).set(drivername=self.driver)

    def engine_options(self) -> dict[str, Any]:
        """Return what an engine of this kind is made with."""
        options: dict[str, Any] = {} if self.isolation is None else {"isolation_level": self.isolation}
        if self.fixture == "sqlite_tables":
            options["connect_args"] = {"timeout": BUSY_SECONDS}
        return options


KINDS = {
    "sqlite-async": Kind("sqlite_tables", "sqlite+aiosqlite", is_async=True),
    "sqlite-sync": Kind("sqlite_tables", "sqlite+pysqlite", is_async=False),
    "asyncpg": Kind("postgres_tables", "postgresql+asyncpg", is_async=True),
    "psycopg-async-repeatable-read": Kind(
        "postgres_tables", "postgresql+psycopg", is_async=True, isolation="REPEATABLE READ"
    ),
    "psycopg-sync": Kind("postgres_tables", "postgresql+psycopg", is_async=False),
    "psycopg-sync-serializable": Kind(
        "postgres_tables", "postgresql+psycopg", is_async=False, isolation="SERIALIZABLE"
    ),
    "asyncmy": Kind("mariadb_tables", "mysql+asyncmy", is_async=True),
    "asyncmy-read-committed": Kind("mariadb_tables", "mysql+asyncmy", is_async=True, isolation="READ COMMITTED"),
    "pymysql": Kind("mariadb_tables", "mysql+pymysql", is_async=False),
    "pymysql-read-committed": Kind("mariadb_tables", "mysql+pymysql", is_async=False, isolation="READ COMMITTED"),
}


def plain_engine(given_url: str) -> Engine:
    """Return a synchronous engine for what a test does itself, without a pool."""
    url = make_url(given_url)
    return create_engine(url.set(drivername=_SYNCHRONOUS[url.get_backend_name()]), poolclass=NullPool)


_SYNCHRONOUS = {"sqlite": "sqlite+pysqlite", "postgresql": "postgresql+psycopg", "mysql": "mysql+pymysql"}
