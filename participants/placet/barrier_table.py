"""The barrier's table as it is in a database: whether it is there, and how it is made."""

from sqlalchemy import Connection, inspect

from placet.tables import barrier, metadata

REMEDY = "run `placet barrier create --url {url}`, or take placet.tables.metadata into your migrations"


class BarrierMissing(RuntimeError):
    """The participant's database has no barrier table, or none that holds what the barrier promises."""


def check(connection: Connection) -> None:
    """Checks that the table is there with all its columns, and that transactions are transactions.

    Raises:
        BarrierMissing: it is not; the message names the command.
    """
    if _commits_by_itself(connection):
        raise BarrierMissing(
            "the participant's engine is in AUTOCOMMIT: a handler's changes and the barrier's row would be no one "
            "transaction; give Participant(session=…) sessions of an engine without it"
        )
    inspector = inspect(connection)
    url = connection.engine.url.render_as_string(hide_password=True)
    if not inspector.has_table(barrier.name):
        raise BarrierMissing(f"table {barrier.name} is missing in {url}: {REMEDY.format(url=url)}")
    there = {column["name"] for column in inspector.get_columns(barrier.name)}
    if missing := [name for name in barrier.columns.keys() if name not in there]:  # noqa: SIM118 - not a dict
        raise BarrierMissing(
            f"table {barrier.name} in {url} has no column {', '.join(missing)}: it is no barrier of ours"
        )


def create(connection: Connection) -> None:
    """Creates the table and its index where they are missing."""
    metadata.create_all(connection)


def _commits_by_itself(connection: Connection) -> bool:
    if connection.dialect.name == "sqlite":
        return False  # its drivers say so of connections whose transactions SQLAlchemy begins, as our samples' do
    raw = connection.connection.dbapi_connection
    try:
        return raw is not None and connection.dialect.detect_autocommit_setting(raw)
    except NotImplementedError:
        return False
