"""`placet barrier sql` and `placet barrier create`: the barrier's table for participants without migrations.

Found by its name from the command line, for the coordinator's package does not import the SDK.
"""

from sqlalchemy import URL, create_engine, create_mock_engine, make_url
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool
from sqlalchemy.schema import ExecutableDDLElement

from placet.barrier_table import BarrierMissing, check
from placet.barrier_table import create as create_table
from placet.tables import metadata

_DRIVERS = {
    "postgresql": "postgresql+psycopg",
    "postgres": "postgresql+psycopg",
    "mysql": "mysql+pymysql",
    "mariadb": "mariadb+pymysql",
    "sqlite": "sqlite+pysqlite",
}


def sql(url: str) -> str:
    """Returns the statements that `create` would run on an empty database. Connects to nothing.

    Args:
        url: the participant's database, with any driver of it: `postgresql://…`, `mysql://…`, `sqlite:///…`.

    Raises:
        ValueError: the URL is none of these.
    """
    statements: list[str] = []

    def write(statement: ExecutableDDLElement, *_: object) -> None:
        statements.append(f"{str(statement.compile(dialect=engine.dialect)).strip()};")

    engine = create_mock_engine(_address(url), write)
    metadata.create_all(engine, checkfirst=False)
    return "\n".join(statements)


def create(url: str) -> str:
    """Creates the table where it is missing, and says what was done. May be repeated.

    Args:
        url: as for `sql`.

    Raises:
        ValueError: the URL is none of these, the database can't be reached, or another table has the name.
    """
    address = _address(url)
    shown = address.render_as_string(hide_password=True)
    try:
        engine = create_engine(address, poolclass=NullPool)
    except ModuleNotFoundError as error:
        raise ValueError(f"no driver for {shown}: {error}; install placet[postgres] or placet[mysql]") from error
    try:
        with engine.begin() as connection:
            create_table(connection)
            check(connection)
    except (SQLAlchemyError, BarrierMissing) as error:
        raise ValueError(f"{', '.join(metadata.tables)} not created in {shown}: {error}") from error
    finally:
        engine.dispose()
    return f"{', '.join(metadata.tables)} is there: {shown}"


def _address(url: str) -> URL:
    try:
        address = make_url(url)
    except SQLAlchemyError:
        raise ValueError("database URL: not of the form postgresql://user:password@host/database") from None
    driver = _DRIVERS.get(address.get_backend_name())
    if driver is None:
        known = ", ".join(f"{name}://" for name in _DRIVERS)
        raise ValueError(f"database URL: {address.get_backend_name()}:// has no barrier; use one of {known}")
    return address.set(drivername=driver)
