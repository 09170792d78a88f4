"""What a database URL of ours means: the synchronous driver that serves it, and TLS for MariaDB and MySQL."""

import ssl
from collections.abc import Mapping
from typing import Any

from sqlalchemy import URL, Engine, NullPool, create_engine, event, make_url

SYNCHRONOUS_DRIVERS = {
    "postgresql": "postgresql+psycopg",
    "postgres": "postgresql+psycopg",
    "mysql": "mysql+pymysql",
    "mariadb": "mysql+pymysql",
    "sqlite": "sqlite+pysqlite",
}
TLS_OPTIONS = frozenset({"ssl_mode", "ssl_ca", "ssl_cert", "ssl_key"})
TLS_MODES = ("disabled", "required", "verify_ca", "verify_identity")
SQLITE_LOCK_WAIT_S = 60.0


def synchronous_url(url: str) -> URL:
    """Return the SQLAlchemy URL of the synchronous driver for a URL in the form of `PLACET_DATABASE_URL`.

    Raises:
        ValueError: the scheme is none of postgresql, mysql, mariadb and sqlite.
    """
    parsed = make_url(url)
    driver = SYNCHRONOUS_DRIVERS.get(parsed.get_backend_name())
    if driver is None:
        known = ", ".join(f"{name}://" for name in ("postgresql", "mysql", "mariadb", "sqlite"))
        raise ValueError(f"database URL: {parsed.get_backend_name()}:// is not supported; use one of {known}")
    return parsed.set(drivername=driver)


def redacted(url: str) -> str:
    """Return the URL with its password hidden, as it may stand in a message."""
    return make_url(url).render_as_string(hide_password=True)


def mysql_tls(query: Mapping[str, Any]) -> ssl.SSLContext | None:
    """Return the TLS settings that a MariaDB or MySQL URL's options ask for, None for none.

    The words are the MySQL client's: `ssl_mode` is disabled, required (encrypted, the server not verified), verify_ca
    or verify_identity; `ssl_ca` names the file of trusted authorities and alone means verify_identity; `ssl_cert` and
    `ssl_key` are our own certificate.

    Raises:
        ValueError: an unknown mode.
        OSError: a file can't be read.
    """
    mode = str(query.get("ssl_mode", "verify_identity" if TLS_OPTIONS & query.keys() else "disabled"))
    mode = mode.lower().replace("-", "_")
    if mode not in TLS_MODES:
        raise ValueError(f"database URL: ssl_mode={mode} is unknown; use one of {', '.join(TLS_MODES)}")
    if mode == "disabled":
        return None
    context = ssl.create_default_context(cafile=query.get("ssl_ca"))
    context.check_hostname = mode == "verify_identity"
    if mode == "required":
        context.verify_mode = ssl.CERT_NONE
    if "ssl_cert" in query:
        context.load_cert_chain(query["ssl_cert"], query.get("ssl_key"))
    return context


def synchronous_engine(url: str) -> Engine:
    """Return an engine for a URL of ours; the caller disposes of it. Raises as `synchronous_url` and `mysql_tls`."""
    address = synchronous_url(url)
    backend = address.get_backend_name()
    if backend == "mysql":
        context = mysql_tls(address.query)
        plain = address.difference_update_query(TLS_OPTIONS)
        return create_engine(
            plain, poolclass=NullPool, connect_args={"charset": "utf8mb4"} | ({"ssl": context} if context else {})
        )
    if backend == "postgresql":
        return create_engine(address, poolclass=NullPool)
    engine = create_engine(address, poolclass=NullPool, connect_args={"timeout": SQLITE_LOCK_WAIT_S})
    event.listen(engine, "connect", _leave_transactions_to_us)
    event.listen(engine, "begin", _begin_as_writer)
    return engine


def _leave_transactions_to_us(connection: Any, _record: object) -> None:
    """Keep Python's sqlite3 from ending and opening transactions around DDL by itself."""
    connection.isolation_level = None


def _begin_as_writer(connection: Any) -> None:
    """Take the write lock at once: a transaction that reads first is refused at its first write if another wrote."""
    connection.exec_driver_sql("BEGIN IMMEDIATE")
