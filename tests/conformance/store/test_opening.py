"""Opening a store: each refusal says its remedy, and no secret."""

import subprocess
import sys

import pytest

from conformance.store.sessions import session
from placet_coordinator.ports.store import SchemaMissing, SchemaOutdated, SchemaTooNew, StoreUnavailable
from placet_coordinator.store.factory import store_for
from placet_migrations import VERSION_TABLE, redacted

SECRET = "tr0ub4dor"


async def test_empty_database_is_told_apart(database_url: str):
    """The caller may create the schema, and the message names the command."""
    store = store_for(database_url)
    with pytest.raises(SchemaMissing, match="placet db upgrade"):
        await store.open()
    await store.close()


@pytest.mark.parametrize(("revision", "error"), [("9999", SchemaTooNew), (None, SchemaMissing)])
async def test_schema_of_another_build_is_refused(server_url: str, revision: str | None, error: type[Exception]):
    """A newer one, and one whose version is missing."""
    with session(server_url) as cursor:
        cursor.execute(f"DELETE FROM {VERSION_TABLE}")
        if revision is not None:
            cursor.execute(f"INSERT INTO {VERSION_TABLE} (version_num) VALUES (%s)", (revision,))
        cursor.connection.commit()
    store = store_for(server_url)
    with pytest.raises(error):
        await store.open()
    await store.close()
    assert not issubclass(error, SchemaOutdated)


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://placet:{SECRET}@127.0.0.1:1/placet",
        f"postgresql://placet:{SECRET}@host.invalid/placet",
        f"mysql://placet:{SECRET}@127.0.0.1:1/placet",
        "sqlite:////nowhere/at/all/placet.db",
    ],
)
async def test_unreachable_database_is_told_without_the_password(url: str):
    """Neither in the message nor in the errors behind it."""
    store = store_for(url)
    with pytest.raises(StoreUnavailable) as caught:
        await store.open()
    assert caught.value.wrote_nothing
    error: BaseException | None = caught.value
    while error is not None:
        assert SECRET not in f"{error!r}{error}"
        error = error.__cause__ or error.__context__
    await store.close()


async def test_refused_password_is_not_shown(postgres_url: str, postgres_server: str):
    """The server names the user, and so do we."""
    wrong = postgres_url.replace("postgres@", f"nobody-known:{SECRET}@")
    store = store_for(wrong)
    with pytest.raises(StoreUnavailable, match="nobody-known") as caught:
        await store.open()
    assert SECRET not in str(caught.value)
    assert SECRET not in redacted(wrong)
    await store.close()


@pytest.mark.parametrize(
    "url",
    [f"oracle://u:{SECRET}@h/d", f"nonsense {SECRET}", "sqlite://", "sqlite:///:memory:"],
)
def test_url_of_no_database_of_ours_is_refused(url: str):
    """The rule is said, the password not."""
    with pytest.raises(ValueError, match="URL") as caught:
        store_for(url)
    assert SECRET not in str(caught.value)


def test_unknown_option_in_the_url_is_refused():
    """A misspelt TLS option must not mean no TLS."""
    for scheme in ("postgresql", "mysql"):
        with pytest.raises(ValueError, match="sslmoed"):
            store_for(f"{scheme}://u:{SECRET}@h/d?sslmoed=verify-full")


@pytest.mark.parametrize(
    ("option", "rule"),
    [("ssl_ca=/nowhere/ca.pem", "can't be used for TLS"), ("ssl_mode=verify_all", "verify_identity")],
)
def test_tls_that_cannot_be_had_is_refused(option: str, rule: str):
    """At once, and not by a connection without it."""
    with pytest.raises(ValueError, match=rule) as caught:
        store_for(f"mysql://u:{SECRET}@h/d?{option}")
    assert SECRET not in str(caught.value)


def test_mysql_url_names_a_database():
    """There is no database that we could choose."""
    with pytest.raises(ValueError, match="name the database"):
        store_for(f"mysql://u:{SECRET}@h:3306")


@pytest.mark.parametrize(
    ("url", "driver", "extra"),
    [
        ("postgresql://h/d", "asyncpg", "postgres"),
        ("mysql://h/d", "asyncmy", "mysql"),
        ("mariadb://h/d", "asyncmy", "mysql"),
    ],
)
def test_driver_is_needed_only_by_its_own_database(url: str, driver: str, extra: str):
    """Without any driver SQLite serves, and the others name the extra to install."""
    program = f"""
import sys
for missing in ("asyncpg", "asyncmy", "psycopg", "pymysql"):
    sys.modules[missing] = None
from placet_coordinator.store.factory import DriverMissing, store_for
store_for("sqlite:///./never-opened.db")
try:
    store_for({url!r})
except DriverMissing as error:
    print(error)
"""
    finished = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert driver in finished.stdout
    assert f"pip install 'placet[server,{extra}]'" in finished.stdout
