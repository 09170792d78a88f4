"""A plain session with a server, beside the store: it holds locks, looks, and spoils."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pymysql

from conformance.store.rows import a_row


@contextmanager
def session(url: str) -> Iterator[Any]:
    """Connect to a server's database as a cursor, in a transaction that is rolled back at the end."""
    parts = urlsplit(url)
    if parts.scheme.startswith("postgres"):
        connection: Any = psycopg.connect(url)
    else:
        connection = pymysql.connect(
            host=parts.hostname,
            port=parts.port or 3306,
            user=parts.username,
            password=parts.password or "",
            database=parts.path.lstrip("/"),
        )
    try:
        with connection.cursor() as cursor:
            yield cursor
    finally:
        connection.rollback()
        connection.close()


@contextmanager
def lock_held(url: str, *gids: str) -> Iterator[None]:
    """Hold the locks of rows as a stopped session does: the transaction stays open."""
    with session(url) as cursor:
        for gid in gids:
            cursor.execute("SELECT gid FROM global_transaction WHERE gid = %s FOR UPDATE", (gid,))
            assert cursor.fetchone() is not None
        yield


@contextmanager
def uncommitted_row(url: str, gid: str) -> Iterator[None]:
    """Hold a row of this gid that is inserted and not committed."""
    row = a_row(gid)
    names = row.__struct_fields__
    with session(url) as cursor:
        cursor.execute(
            f"INSERT INTO global_transaction ({', '.join(names)}) VALUES ({', '.join(['%s'] * len(names))})",
            [getattr(row, name) for name in names],
        )
        yield
