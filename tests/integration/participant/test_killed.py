"""A participant killed by SIGKILL in the middle of its try: started again, it knows what it has done."""

import sys
import time
import urllib.error
from contextlib import ExitStack
from pathlib import Path

import pytest
from sqlalchemy import NullPool, create_engine, make_url, text

from acceptance.processes import Answer, Process, ask, free_port, until
from placet import tables

SYNCHRONOUS = {"postgresql": "postgresql+psycopg", "mysql": "mysql+pymysql", "sqlite": "sqlite+pysqlite"}
DRIVERS = {
    "sqlite+aiosqlite": "sqlite_url",
    "sqlite+pysqlite": "sqlite_url",
    "postgresql+asyncpg": "postgres_url",
    "postgresql+psycopg": "postgres_url",
    "mysql+asyncmy": "mariadb_url",
    "mysql+pymysql": "mariadb_url",
}


class Ledger:
    """The participant's database, and its process, started anew as often as the test wants."""

    def __init__(self, url: str, folder: Path, stack: ExitStack) -> None:
        self._url, self._folder, self._stack = url, folder, stack
        self._lives = 0
        self._at = ""
        plain = make_url(url)
        self._plain = create_engine(plain.set(drivername=SYNCHRONOUS[plain.get_backend_name()]), poolclass=NullPool)
        with self._plain.begin() as connection:
            tables.metadata.create_all(connection)
            auto = "AUTO_INCREMENT" if plain.get_backend_name() == "mysql" else ""
            number = "SERIAL" if plain.get_backend_name() == "postgresql" else "INTEGER"
            connection.execute(text(f"CREATE TABLE entry (number {number} PRIMARY KEY {auto}, operation VARCHAR(20))"))

    def start(self, kills: str = "") -> Process:
        """Start it, to end itself where `kills` says."""
        port = free_port()
        self._at = f"http://127.0.0.1:{port}"
        self._lives += 1
        command = [sys.executable, "-m", "uvicorn", "--app-dir", str(Path(__file__).parent), "ledger_service:app"]
        variables = {"LEDGER_URL": self._url, "LEDGER_KILLS": kills, "PLACET_URL": "http://127.0.0.1:1"}
        process = Process([*command, "--port", str(port)], self._folder, variables, f"life-{self._lives}")
        self._stack.callback(process.stop)
        process.start()
        process.wait_ready(f"{self._at}/openapi.json")
        return process

    def ask(self, operation: str) -> Answer:
        """Call an operation of the branch."""
        now_ms = str(time.time_ns() // 1_000_000)
        fields = {"placet_gid": "g", "placet_branch": "1", "placet_op": operation, "placet_begun_at_ms": now_ms}
        return ask("POST", f"{self._at}/placet/write/{operation}", **fields)

    def entries(self) -> list[str]:
        """Return what was committed."""
        with self._plain.connect() as connection:
            return list(connection.scalars(text("SELECT operation FROM entry ORDER BY number")))


@pytest.fixture(params=list(DRIVERS))
def ledger(request, tmp_path):
    """A participant by each driver in turn."""
    url = make_url(request.getfixturevalue(DRIVERS[request.param])).set(drivername=request.param)
    with ExitStack() as stack:
        yield Ledger(url.render_as_string(hide_password=False), tmp_path, stack)


def test_try_that_was_killed_before_its_commit_never_was(ledger):
    """Nothing is left, so a confirm is refused, and a cancel has no effect but to keep a repeat out."""
    dying = ledger.start("before-commit")
    with pytest.raises((urllib.error.URLError, ConnectionError)):
        ledger.ask("try")
    until("it is dead", dying.has_ended)
    ledger.start()
    assert ledger.ask("confirm").json["type"].endswith("/not-tried")
    assert ledger.ask("cancel").status == 200
    assert ledger.ask("try").json["type"].endswith("/late")
    assert ledger.entries() == []


def test_try_that_was_killed_between_commit_and_answer_is_done(ledger):
    """The repeat is told what the first would have been, and has no effect; the cancel gets it from the row."""
    ledger.start("after-commit")
    with pytest.raises((urllib.error.URLError, ConnectionError)):
        ledger.ask("try")
    ledger.start()
    assert ledger.entries() == ["try"]
    assert ledger.ask("try") == (200, 1)
    for _ in range(2):
        assert ledger.ask("cancel").status == 200
    assert ledger.entries() == ["try", "cancel 1"]
