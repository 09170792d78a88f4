"""The coordinator's schema in a test's database: migrated once in a process and copied from then on, which is quicker.

`integration/test_migrations.py` compares the copies with what the migrations make.
"""

import sqlite3
from urllib.parse import urlsplit

import psycopg
import pymysql
from pymysql.constants import CLIENT

from placet_migrations import VERSION_TABLE, head, sql, upgrade

_mariadb: list[str] = []


def make_schema(url: str) -> None:
    """Bring an empty database to the newest schema."""
    parts = urlsplit(url)
    if parts.scheme == "sqlite":
        with sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None) as connection:
            connection.executescript(sql("sqlite"))
        connection.close()
    elif parts.scheme == "postgresql":
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(sql("postgresql"))
    elif _mariadb:
        _run_mariadb(url, ";".join(_mariadb))
    else:
        upgrade(url)
        _copy_mariadb(url)


def _copy_mariadb(url: str) -> None:
    """Keep each table's statement, indexes within: MariaDB syncs its disk for each statement that changes a schema."""
    tables = [name for (name,) in _run_mariadb(url, "SHOW TABLES")]
    _mariadb.extend(_run_mariadb(url, f"SHOW CREATE TABLE {name}")[0][1] for name in tables)
    _mariadb.append(f"INSERT INTO {VERSION_TABLE} VALUES ('{head()}')")


def _run_mariadb(url: str, statements: str) -> list[tuple[str, ...]]:
    parts = urlsplit(url)
    connection = pymysql.connect(
        host=parts.hostname,
        port=parts.port or 3306,
        user=parts.username,
        password=parts.password or "",
        database=parts.path.lstrip("/"),
        autocommit=True,
        client_flag=CLIENT.MULTI_STATEMENTS,
    )
    with connection, connection.cursor() as cursor:
        cursor.execute(statements)
        rows = list(cursor.fetchall())
        while cursor.nextset():
            pass
        return rows
