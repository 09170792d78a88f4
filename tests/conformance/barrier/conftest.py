"""A participant on each database, by each driver, asynchronous and synchronous.

Databases are made once per worker and emptied before each test: there are many tests, and making one costs more than
most of them.
"""

from collections.abc import AsyncIterator, Iterator

import pytest

from conformance.barrier.kinds import KINDS, plain_engine
from conformance.barrier.ledger import Base
from conformance.barrier.service import Service, serving
from databases import mariadb_database, postgres_database
from placet import tables


def with_tables(url: str) -> str:
    """Create the tables, and return the URL."""
    engine = plain_engine(url)
    for metadata in (Base.metadata, tables.metadata):
        metadata.create_all(engine)
    return url


@pytest.fixture(scope="session")
def postgres_tables(postgres_server: str) -> Iterator[str]:
    """A PostgreSQL database with the tables."""
    with postgres_database(postgres_server) as url:
        yield with_tables(url)


@pytest.fixture(scope="session")
def mariadb_tables(mariadb_server: str) -> Iterator[str]:
    """A MariaDB database with the tables."""
    with mariadb_database(mariadb_server) as url:
        yield with_tables(url)


@pytest.fixture(scope="session")
def sqlite_tables(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A SQLite database with the tables."""
    return with_tables(f"sqlite:///{tmp_path_factory.mktemp('barrier') / 'participant.db'}")


@pytest.fixture(params=[name for name, kind in KINDS.items() if kind.has_row_locks])
async def rows_service(request: pytest.FixtureRequest) -> AsyncIterator[Service]:
    """The same on databases where two transactions may write at once."""
    kind = KINDS[request.param]
    async with serving(kind, request.getfixturevalue(kind.fixture)) as running:
        yield running


@pytest.fixture(params=list(KINDS))
async def service(request: pytest.FixtureRequest) -> AsyncIterator[Service]:
    """A participant with a TCC action `hold` and a saga action `book`, on each kind in turn."""
    kind = KINDS[request.param]
    async with serving(kind, request.getfixturevalue(kind.fixture)) as running:
        yield running
