"""The schema's history: on empty and filled databases, cut off and resumed, and by several processes at once."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import pytest
import sqlalchemy as sa
from alembic import command
from msgspec.structs import asdict

from conformance.store.rows import a_final_row, a_row, an_attempt
from integration.schemas import described
from placet_coordinator.ports.store import SchemaMissing, SchemaOutdated, SchemaTooNew
from placet_coordinator.store import schema
from placet_coordinator.store.factory import store_for
from placet_coordinator.store.tables import metadata
from placet_migrations import VERSION_TABLE, UpgradeBusy, current, head, history, revisions, sql, upgrade
from placet_migrations.address import synchronous_engine
from schema_copies import make_schema


@contextmanager
def connected(url: str) -> Iterator[sa.Connection]:
    """Connect in a transaction that is committed at the end."""
    engine = synchronous_engine(url)
    try:
        with engine.begin() as connection:
            yield connection
    finally:
        engine.dispose()


def schema_of(url: str) -> list[str]:
    """Return what the database says of its schema."""
    with connected(url) as connection:
        return described(connection)


def upgrade_to(url: str, revision: str) -> None:
    """Bring a database to a revision of old."""
    engine = synchronous_engine(url)
    try:
        with engine.connect() as connection:
            command.upgrade(history._config(connection=connection), revision)
            connection.commit()
    finally:
        engine.dispose()


def filled(url: str) -> dict[str, list[tuple[object, ...]]]:
    """Write rows into the tables that this revision has, and return all that is in them."""
    rows = {
        "global_transaction": [asdict(a_row("open")), asdict(a_final_row("final"))],
        "attempt": [{**_values(an_attempt("open")), "attempt_id": 1}],
        "node": [{"node_id": "a", "boot_id": "b", "base_url": "http://a", "format": 1, "lease_until_ms": 5}],
        "service_instance": [
            {"service": "bank", "instance_id": "i", "base_url": "http://b", "actions": "{}", "lease_until_ms": 5}
        ],
    }
    with connected(url) as connection:
        for name, given in rows.items():
            table = sa.Table(name, sa.MetaData(), autoload_with=connection)
            known = [{key: value for key, value in row.items() if key in table.c} for row in given]
            for row in known:
                if isinstance(table.c.get("plan", sa.column("x")).type, sa.JSON):
                    row |= {"plan": {}, "progress": {}}
                connection.execute(table.insert().values(row))
    return contents(url, tuple(rows))


def _values(attempt: object) -> dict[str, object]:
    return {name: getattr(attempt, name) for name in attempt.__struct_fields__}  # type: ignore[attr-defined]


def contents(url: str, tables: tuple[str, ...]) -> dict[str, list[tuple[object, ...]]]:
    """Return the rows of some tables, each with the columns that it has."""
    with connected(url) as connection:
        return {name: sorted(map(repr, connection.exec_driver_sql(f"select * from {name}"))) for name in tables}


def test_migrations_make_the_tables_that_the_coordinator_uses(database_url: str):
    """Word by word, as the database itself describes them: types, collations, conditions, options."""
    upgrade(database_url)
    migrated = schema_of(database_url)
    with connected(database_url) as connection:
        metadata.drop_all(connection)
    assert schema_of(database_url) == []
    with connected(database_url) as connection:
        metadata.create_all(connection)
    assert migrated == schema_of(database_url)
    assert len([line for line in migrated if "ix_global_transaction_due" in line]) == 1


def test_written_statements_make_the_same_schema(database_url: str):
    """For a database whose administrator runs them: `placet db upgrade` finds nothing left to do."""
    script = sql(urlsplit(database_url).scheme)
    with connected(database_url) as connection:
        for statement in script.split(";"):
            if statement.strip() and statement.strip() not in {"BEGIN", "COMMIT"}:
                connection.exec_driver_sql(statement)
    written = schema_of(database_url)
    assert current(database_url) == head()
    upgrade(database_url)
    assert schema_of(database_url) == written
    with connected(database_url) as connection:
        metadata.drop_all(connection)
        metadata.create_all(connection)
    assert schema_of(database_url) == written


def test_copies_that_other_tests_run_on_are_what_the_migrations_make(database_url: str):
    """Every other test's schema is one of these."""
    make_schema(database_url)  # MariaDB's first is migrated, and kept to be copied
    for _ in range(2):
        copied = schema_of(database_url)
        assert current(database_url) == head()
        with connected(database_url) as connection:
            metadata.drop_all(connection)
            connection.exec_driver_sql(f"drop table {VERSION_TABLE}")
        make_schema(database_url)
    assert schema_of(database_url) == copied
    with connected(database_url) as connection:
        metadata.drop_all(connection)
        connection.exec_driver_sql(f"drop table {VERSION_TABLE}")
    upgrade(database_url)
    assert schema_of(database_url) == copied


def test_filled_database_of_any_revision_is_upgraded_with_its_rows(database_url: str):
    """From each revision that ever was to the newest: every row is still there, as it was."""
    for revision in revisions():
        upgrade_to(database_url, revision)
        before = filled(database_url)
        upgrade(database_url)
        assert current(database_url) == head()
        after = contents(database_url, tuple(before))
        if revision == head():
            assert after == before
        assert {name: len(rows) for name, rows in after.items()} == {name: len(rows) for name, rows in before.items()}
        with connected(database_url) as connection:
            metadata.drop_all(connection)
            connection.exec_driver_sql(f"drop table {VERSION_TABLE}")


def test_cut_off_upgrade_is_resumed(mariadb_url: str):
    """MariaDB commits each statement: whatever a killed upgrade had made already, a repeat makes the rest."""
    upgrade(mariadb_url)
    whole = schema_of(mariadb_url)
    undone = [
        f"delete from {VERSION_TABLE}",
        "drop table service_instance",
        "drop table node",
        "alter table attempt drop index ix_attempt_gid",
        "drop table attempt",
        "alter table global_transaction drop index ix_global_transaction_attention",
        "alter table global_transaction drop index ix_global_transaction_due",
        "drop table global_transaction",
        f"drop table {VERSION_TABLE}",
    ]
    for number in range(len(undone)):
        with connected(mariadb_url) as connection:
            for statement in undone[: number + 1]:
                connection.exec_driver_sql(statement)
        upgrade(mariadb_url)
        assert schema_of(mariadb_url) == whole
        assert current(mariadb_url) == head()


def test_processes_that_upgrade_at_once_do_not_hinder_each_other(database_url: str):
    """One makes the schema, the others wait for it and find it made."""
    program = """
import sys
from placet_migrations import upgrade
print("ready", flush=True)
sys.stdin.readline()
upgrade(sys.argv[1])
"""
    arguments = [sys.executable, "-c", program, database_url]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    processes = [subprocess.Popen(arguments, **pipes) for _ in range(3)]
    try:
        for process in processes:
            assert process.stdout.readline() == "ready\n"
        for process in processes:
            process.stdin.write("\n")
            process.stdin.flush()
        answers = [process.communicate(timeout=60) for process in processes]
        assert [process.returncode for process in processes] == [0, 0, 0], answers
    finally:
        for process in processes:
            process.kill()
            process.communicate()
    assert current(database_url) == head()
    found = schema_of(database_url)
    upgrade(database_url)
    assert schema_of(database_url) == found


@pytest.mark.parametrize("kind", ["postgres", "mariadb"])
def test_upgrade_beside_a_stuck_one_gives_up_after_a_limit(
    kind: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
):
    """It says what to do, and changed nothing; once the other is gone it does its work."""
    url: str = request.getfixturevalue(f"{kind}_url")
    monkeypatch.setattr(history, "LOCK_WAIT_S", 1)
    with history._alone(engine := synchronous_engine(url)), pytest.raises(UpgradeBusy, match="placet db upgrade"):
        upgrade(url)
    engine.dispose()
    assert current(url) is None
    upgrade(url)
    assert current(url) == head()


@pytest.mark.parametrize(
    ("kind", "made_before", "in_use"),
    [
        ("postgres", [], "create table global_transaction (gid text)"),
        ("mariadb", ["drop index ix_attempt_gid on attempt", f"delete from {VERSION_TABLE}"], "select * from attempt"),
    ],
)
def test_upgrade_does_not_wait_for_ever_for_a_table_in_use(
    kind: str, made_before: list[str], in_use: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
):
    """Whoever comes after a waiting change of a table waits behind it: so the change gives up, and may be repeated."""
    url: str = request.getfixturevalue(f"{kind}_url")
    if made_before:
        upgrade(url)
        with connected(url) as connection:
            for statement in made_before:
                connection.exec_driver_sql(statement)
    monkeypatch.setattr(history, "TABLE_WAIT_S", 1)
    engine = synchronous_engine(url)
    with engine.connect() as using:
        using.exec_driver_sql(in_use)
        with pytest.raises(sa.exc.OperationalError, match=r"(?i)lock.*timeout"):
            upgrade(url)
    engine.dispose()
    upgrade(url)
    assert current(url) == head()


async def test_schema_that_is_older_than_the_build_is_refused_with_the_command(
    database_url: str, monkeypatch: pytest.MonkeyPatch
):
    """As a build finds it that knows one revision more than this one."""
    upgrade(database_url)
    monkeypatch.setattr(schema, "revisions", lambda: (*revisions(), "9999"))
    store = store_for(database_url)
    with pytest.raises(SchemaOutdated, match=rf"revision {head()}.*9999.*placet db upgrade --url"):
        await store.open()
    await store.close()


async def test_schema_that_is_newer_than_the_build_is_refused(database_url: str):
    """A rolled back release does not write into what it doesn't know."""
    upgrade(database_url)
    with connected(database_url) as connection:
        connection.exec_driver_sql(f"update {VERSION_TABLE} set version_num = '9999'")
    store = store_for(database_url)
    with pytest.raises(SchemaTooNew, match=r"9999.*newer"):
        await store.open()
    await store.close()


async def test_database_without_a_schema_is_told_apart_from_an_old_one(database_url: str):
    """Its caller may create the schema, unasked."""
    store = store_for(database_url)
    with pytest.raises(SchemaMissing):
        await store.open()
    await store.close()
    assert current(database_url) is None
