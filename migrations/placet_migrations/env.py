"""Run by Alembic around the revisions: `history.py` hands over a connection, or a dialect for SQL text.

The `alembic` command itself may be used to make revisions; it reads the URL from `-x url=…`.
"""

from alembic import context
from sqlalchemy import Connection

from placet_migrations.address import synchronous_engine
from placet_migrations.history import VERSION_TABLE


def _write_sql(dialect: str) -> None:
    context.configure(dialect_name=dialect, version_table=VERSION_TABLE, literal_binds=True)
    with context.begin_transaction():
        context.run_migrations()


def _apply(connection: Connection) -> None:
    context.configure(connection=connection, version_table=VERSION_TABLE, transaction_per_migration=True)
    with context.begin_transaction():
        context.run_migrations()


def _run() -> None:
    attributes = context.config.attributes
    if context.is_offline_mode():
        _write_sql(attributes["dialect"])
    elif "connection" in attributes:
        _apply(attributes["connection"])
    else:
        engine = synchronous_engine(context.get_x_argument(as_dictionary=True)["url"])
        try:
            with engine.connect() as connection:
                _apply(connection)
        finally:
            engine.dispose()


_run()
