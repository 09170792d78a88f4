"""The barrier's table: made by command or by the application's own migrations, and kept by them."""

from contextlib import nullcontext

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Column, Integer, MetaData, NullPool, Table, create_engine, inspect, make_url, text
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

from conformance.barrier.kinds import plain_engine
from placet import barrier_commands, tables
from placet.barrier_table import BarrierMissing, check
from placet.session import connection_of, on_session


@pytest.fixture
def engine(database_url):
    """An engine on an empty database, of each kind in turn."""
    made = plain_engine(database_url)
    yield made
    made.dispose()


def test_create_makes_the_table_once(database_url, engine):
    """The command may be repeated; afterwards a service starts."""
    for _ in range(2):
        said = barrier_commands.create(database_url)
        assert said.startswith("placet_barrier is there: ")
    with engine.connect() as connection:
        check(connection)
        assert {index["name"] for index in inspect(connection).get_indexes("placet_barrier")} == {
            "placet_barrier_created"
        }


def test_printed_statements_make_the_same_table(database_url, engine):
    """Whoever may not let a command into a database gives the statements to who may."""
    with engine.begin() as connection:
        for statement in barrier_commands.sql(database_url).split(";")[:-1]:
            connection.execute(text(statement))
        check(connection)
        assert differences(connection, tables.metadata) == []


def test_ids_keep_their_bytes(database_url, engine):
    """On MariaDB by the columns' collation, for the default one takes `A` for `a`."""
    barrier_commands.create(database_url)
    with engine.begin() as connection:
        for gid, branch_id in (("g", "a"), ("g", "A"), ("G", "a")):
            row = {"gid": gid, "branch_id": branch_id, "answer": "done", "created_at_ms": 1}
            connection.execute(tables.barrier.insert().values(row))
        found = connection.execute(tables.barrier.select().where(tables.barrier.c.branch_id == "A")).all()
    assert [(row.gid, row.branch_id) for row in found] == [("g", "A")]


def test_password_stands_in_no_message(postgres_url):
    """Neither where it worked, nor where it did not."""
    with_password = postgres_url.replace("postgres@", "postgres:open-sesame@")
    assert "open-sesame" not in barrier_commands.create(with_password)
    with pytest.raises(ValueError, match="not created in") as caught:
        barrier_commands.create("postgresql://me:open-sesame@127.0.0.1:1/nothing")
    assert "open-sesame" not in str(caught.value)


@pytest.mark.parametrize("url", ["", "oracle://host/x", "placet.db"])
def test_url_of_no_database_is_refused(url):
    """With the forms that are known."""
    for command in (barrier_commands.sql, barrier_commands.create):
        with pytest.raises(ValueError, match="postgresql://"):
            command(url)


def differences(connection, target, **options) -> list:
    """Return what Alembic's autogenerate would do to make the database the target."""
    context = MigrationContext.configure(connection, opts=options)
    return compare_metadata(context, target)


def test_application_that_takes_the_table_into_its_metadata_migrates_it(database_url, engine):
    """Alembic creates it, and then finds nothing to do, with the helper or without."""
    own = MetaData()
    Table("article", own, Column("number", Integer, primary_key=True))
    with engine.begin() as connection:
        missing = differences(connection, [own, tables.metadata], include_object=tables.include_object)
        assert {operation[1].name for operation in missing} == {
            "article",
            "placet_barrier",
            "placet_barrier_created",
        }
        own.create_all(connection)
        tables.metadata.create_all(connection)
        for options in ({}, {"include_object": tables.include_object}):
            assert differences(connection, [own, tables.metadata], **options) == []


def test_application_that_leaves_the_table_to_the_command_does_not_drop_it(database_url, engine):
    """The helper hides it from autogenerate, and nothing else."""
    barrier_commands.create(database_url)
    own = MetaData()
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE leftover (number INTEGER PRIMARY KEY)"))
        would_drop = {operation[1].name for operation in differences(connection, own)}
        assert "placet_barrier" in would_drop
        (kept,) = differences(connection, own, include_object=tables.include_object)
        assert (kept[0], kept[1].name) == ("remove_table", "leftover")


@pytest.mark.parametrize(
    ("fixture", "driver"),
    [
        ("postgres_url", "postgresql+psycopg"),
        ("postgres_url", "postgresql+asyncpg"),
        ("mariadb_url", "mysql+pymysql"),
        ("mariadb_url", "mysql+asyncmy"),
    ],
)
async def test_engine_that_commits_by_itself_is_refused(request, fixture, driver):
    """Row and effect would not be one transaction; a start-up error says so, for asynchronous drivers, too."""
    url = request.getfixturevalue(fixture)
    barrier_commands.create(url)
    for isolation, words in ((None, None), ("AUTOCOMMIT", "is in AUTOCOMMIT")):
        options = {} if isolation is None else {"isolation_level": isolation}
        refused = nullcontext() if words is None else pytest.raises(BarrierMissing, match=words)
        with refused:
            await looked_at(make_url(url).set(drivername=driver), options)


async def looked_at(url, options) -> None:
    """Check the table as a participant does at its start."""
    if url.drivername.endswith(("asyncpg", "asyncmy")):
        engine = create_async_engine(url, **options)
        try:
            async with AsyncSession(engine) as session:
                await on_session(session, lambda sync: check(connection_of(sync)))
        finally:
            await engine.dispose()
    else:
        with create_engine(url, poolclass=NullPool, **options).connect() as connection:
            check(connection)
