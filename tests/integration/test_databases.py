"""The fixtures of databases.py: what every other test on a real database relies on."""

import os
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pymysql
import pytest

import databases


def connect(url: str) -> psycopg.Connection | pymysql.Connection:
    """A session in the database of a test."""
    parts = urlsplit(url)
    if parts.scheme == "postgresql":
        return psycopg.connect(url)
    return pymysql.connect(host=parts.hostname, port=parts.port, user=parts.username, database=parts.path[1:])


@pytest.fixture(params=["postgres", "mariadb"])
def server_and_url(request: pytest.FixtureRequest) -> tuple[str, str]:
    """A server's URL and the URL of a test's database on it."""
    return request.getfixturevalue(f"{request.param}_server"), request.getfixturevalue(f"{request.param}_url")


def names(server: str) -> set[str]:
    """The databases of tests that a server holds now."""
    query = "SELECT schema_name FROM information_schema.schemata"
    if urlsplit(server).scheme == "postgresql":
        query = "SELECT datname FROM pg_database"
    with connect(server) as connection, connection.cursor() as cursor:
        cursor.execute(query)
        return {name for (name,) in cursor.fetchall() if name.startswith(databases.PREFIX)}


def test_each_test_has_an_empty_database_of_its_own(server_and_url):
    """A table of one test is unknown to the next, since each works in another database."""
    _, url = server_and_url
    with connect(url) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE only_here (id INTEGER)")
        cursor.execute("SELECT count(*) FROM information_schema.tables WHERE table_name = 'only_here'")
        assert cursor.fetchone() == (1,)


@pytest.mark.parametrize("ending", ["raise AssertionError", "import os; os._exit(1)"])
def test_a_database_goes_with_its_test_run(server_and_url, tmp_path, ending):
    """A failed test's database goes though a session in it is open; a killed run's goes when the next run begins."""
    server, url = server_and_url
    kind = "postgres" if urlsplit(url).scheme == "postgresql" else "mariadb"
    finished = run_inner(tmp_path, INNER_TEST.format(kind=kind, ending=ending))
    name = next(line for line in finished.stdout.splitlines() if "name " in line).rpartition("/")[2]
    if "_exit" in ending:
        assert name in names(server)
        assert run_inner(tmp_path, f"def test_next({kind}_server):\n    pass\n").returncode == 0
    assert name not in names(server)
    assert urlsplit(url).path[1:] in names(server), "a living run's database stays"


INNER_TEST = """
from integration.test_databases import connect

def test_inner({kind}_url):
    global session
    session = connect({kind}_url)
    session.cursor().execute("CREATE TABLE held (id INTEGER)")
    session.cursor().execute("INSERT INTO held VALUES (1)")
    print("name", {kind}_url)
    {ending}
"""


def run_inner(folder: Path, test: str) -> subprocess.CompletedProcess[str]:
    """Run a test file in a pytest of its own, with our fixtures and without installed plugins."""
    (folder / "conftest.py").write_text('pytest_plugins = ["databases"]\n')
    (folder / "test_inner.py").write_text(test)
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-s", f"--rootdir={folder}", str(folder)]
    tests = str(Path(databases.__file__).parent)
    environment = os.environ | {"PYTHONPATH": tests, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    return subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, check=False)


def test_a_test_runs_on_each_of_the_three_databases(database_url, request):
    """`database_url` names the store that its parameter says."""
    schemes = {"sqlite": "sqlite", "postgres": "postgresql", "mariadb": "mysql"}
    assert urlsplit(database_url).scheme == schemes[request.node.callspec.params["database_url"]]
