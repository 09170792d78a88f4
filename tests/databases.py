"""A database of its own for each test, on the real servers of compose/services.

`postgres_url`, `mariadb_url` and `sqlite_url` are strings in the form of `PLACET_DATABASE_URL`; `database_url` runs a
test once on each. A server is started when it is not up; `PLACET_TEST_POSTGRES_URL` and `PLACET_TEST_MARIADB_URL` name
another one, whose user has to be allowed to create databases. Redis and ZooKeeper are shared by all tests: each uses
keys or nodes of a name of its own, and removes them.
"""

import itertools
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

import psycopg
import pymysql
import pytest

SERVICES = Path(__file__).resolve().parent.parent / "compose" / "services"
PREFIX = "placet_test_"
DROP_LIMIT_S = 20

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def postgres_server() -> str:
    """The URL of a running PostgreSQL, freed of databases whose test run died."""
    url = _server("postgres", "PLACET_TEST_POSTGRES_URL")
    with psycopg.connect(url, autocommit=True) as connection:
        rows = connection.execute("SELECT datname FROM pg_database WHERE datname LIKE %s", (f"{PREFIX}%",)).fetchall()
        _drop_orphans((name for (name,) in rows), lambda name: _drop_postgres(connection, name))
    return url


@pytest.fixture(scope="session")
def mariadb_server() -> str:
    """The URL of a running MariaDB, freed of databases whose test run died."""
    url = _server("mariadb", "PLACET_TEST_MARIADB_URL")
    with _connect_mariadb(url) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT schema_name FROM information_schema.schemata WHERE schema_name LIKE %s", (f"{PREFIX}%",))
        _drop_orphans((name for (name,) in cursor.fetchall()), lambda name: _drop_mariadb(cursor, name))
    return url


@pytest.fixture(scope="session")
def redis_server() -> str:
    """The URL of a running Redis."""
    return _server("redis", "PLACET_TEST_REDIS_URL")


@pytest.fixture(scope="session")
def zookeeper_servers() -> str:
    """Host and port of a running ZooKeeper."""
    return _server("zookeeper", "PLACET_TEST_ZOOKEEPER_SERVERS")


@contextmanager
def postgres_database(server: str) -> Iterator[str]:
    """An empty database on a PostgreSQL server, dropped at the end."""
    name = _new_name()
    with psycopg.connect(server, autocommit=True) as connection:
        # The strategy is WAL_LOG, the default: measured at 28 ms against 46 ms of FILE_COPY, which asks for two
        # checkpoints of everything that the other workers have written.
        connection.execute(f"CREATE DATABASE {name} TEMPLATE template0")
    yield _with_database(server, name)
    with psycopg.connect(server, autocommit=True) as connection:
        _drop_postgres(connection, name)


@contextmanager
def mariadb_database(server: str) -> Iterator[str]:
    """An empty database on a MariaDB server, dropped at the end."""
    name = _new_name()
    with _connect_mariadb(server) as connection, connection.cursor() as cursor:
        cursor.execute(f"CREATE DATABASE {name}")
    yield _with_database(server, name)
    with _connect_mariadb(server) as connection, connection.cursor() as cursor:
        _drop_mariadb(cursor, name)


@pytest.fixture
def postgres_url(postgres_server: str) -> Iterator[str]:
    """The URL of an empty PostgreSQL database that is dropped after the test."""
    with postgres_database(postgres_server) as url:
        yield url


@pytest.fixture
def mariadb_url(mariadb_server: str) -> Iterator[str]:
    """The URL of an empty MariaDB database that is dropped after the test."""
    with mariadb_database(mariadb_server) as url:
        yield url


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """The URL of a SQLite file that does not exist yet."""
    return f"sqlite:///{tmp_path / 'placet.db'}"


@pytest.fixture(params=["sqlite", "postgres", "mariadb"])
def database_url(request: pytest.FixtureRequest) -> str:
    """Each of the three databases in turn."""
    url: str = request.getfixturevalue(f"{request.param}_url")
    return url


def _server(name: str, variable: str) -> str:
    given = os.environ.get(variable)
    if given:
        return given
    _services("up", name)  # takes a lock, so that several pytest-xdist workers start one server
    settings = dict(line.split("=", 1) for line in _services("env", name).splitlines())
    return settings[variable]


def _services(*arguments: str) -> str:
    command = [sys.executable, str(SERVICES), *arguments]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    if finished.returncode != 0:
        raise RuntimeError(f"compose/services {' '.join(arguments)} failed:\n{finished.stdout}{finished.stderr}")
    return finished.stdout


def _new_name() -> str:
    return f"{PREFIX}{os.getpid()}_{next(_numbers)}"


def _with_database(server: str, name: str) -> str:
    return urlsplit(server)._replace(path=f"/{name}").geturl()


def _connect_mariadb(url: str) -> pymysql.Connection:
    parts: SplitResult = urlsplit(url)
    return pymysql.connect(
        host=parts.hostname,
        port=parts.port or 3306,
        user=parts.username,
        password=parts.password or "",
        autocommit=True,
    )


def _drop_orphans(names: Iterator[str], drop: Callable[[str], None]) -> None:
    """Drop what killed test runs left: the process named in the database's name is gone."""
    for name in names:
        try:
            os.kill(int(name.removeprefix(PREFIX).split("_")[0]), 0)
        except ProcessLookupError:
            drop(name)
        except PermissionError:
            continue  # another user's run, and alive


def _drop_postgres(connection: psycopg.Connection, name: str) -> None:
    connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


def _drop_mariadb(cursor: pymysql.cursors.Cursor, name: str) -> None:
    """End the sessions that a test left open in the database, since one open transaction delays the drop for ever."""
    cursor.execute("SELECT id FROM information_schema.processlist WHERE db = %s", (name,))
    for (session,) in cursor.fetchall():
        try:
            cursor.execute(f"KILL CONNECTION {session}")
        except pymysql.err.OperationalError as error:
            if error.args[0] != pymysql.constants.ER.NO_SUCH_THREAD:
                raise
    cursor.execute(f"SET SESSION lock_wait_timeout = {DROP_LIMIT_S}")
    cursor.execute(f"DROP DATABASE IF EXISTS {name}")
