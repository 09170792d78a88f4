"""From a database URL to the store that serves it; a driver is imported only when its database is chosen."""

import sys
from importlib import import_module
from typing import Final, cast

from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from placet_coordinator.ports.store import Store

_ADAPTERS: Final = {
    "postgresql": ("placet_coordinator.store.postgres.store", "PostgresStore", "asyncpg", "postgres"),
    "postgres": ("placet_coordinator.store.postgres.store", "PostgresStore", "asyncpg", "postgres"),
    "mysql": ("placet_coordinator.store.mysql.store", "MysqlStore", "asyncmy", "mysql"),
    "mariadb": ("placet_coordinator.store.mysql.store", "MysqlStore", "asyncmy", "mysql"),
    "sqlite": ("placet_coordinator.store.sqlite.store", "SqliteStore", "sqlite3", "server"),
}
"""Backend to module, class, driver, and the extra that installs the driver."""


class DriverMissing(Exception):
    """The chosen database's driver is not installed; the message names the command that installs it."""


def store_for(url: str, *, is_serving: bool = False) -> Store:
    """Return the store for a URL; it connects when it is opened.

    Args:
        url: postgresql://…, mysql://…, mariadb://… or sqlite:///….
        is_serving: it is a server's, which writes much: SQLite gets a process of its own for that.

    Raises:
        ValueError: the URL is not one of these, or has an option that we don't know; no password is in the message.
        DriverMissing: the driver is not installed.
    """
    try:
        backend = make_url(url).get_backend_name()
    except ArgumentError:
        raise ValueError(
            "database URL: not of the form postgresql://user:password@host:port/database or sqlite:///file"
        ) from None
    if backend not in _ADAPTERS:
        known = ", ".join(f"{name}://" for name in ("postgresql", "mysql", "mariadb", "sqlite"))
        raise ValueError(f"database URL: {backend}:// is not supported; use one of {known}")
    module, name, driver, extra = _ADAPTERS[backend]
    try:
        adapter = getattr(import_module(module), name)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != driver:
            raise
        raise DriverMissing(
            f"{backend}:// needs the driver {driver}, which is not installed; run: pip install 'placet[server,{extra}]'"
        ) from error
    if backend == "sqlite" and is_serving and sys.executable:  # an embedded interpreter may have no command
        return cast("Store", adapter(url, own_process=True))
    return cast("Store", adapter(url))
