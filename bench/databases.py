"""A database of its own for a benchmark: made empty, emptied again, filled with finished transactions, dropped."""

import shutil
import sqlite3
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pymysql

POSTGRES = "postgresql://postgres@127.0.0.1:15432"
MARIADB_PORT = 13_306
CHUNK_ROWS = 50_000
_DAY_NS = 86_400 * 10**9

_PLAN = (
    '{"branches":[{"branch_id":"a","target":"http://127.0.0.1:7001/a","timeout_ms":10000,"retry":{"first_ms":200,'
    '"cap_ms":60000},"payload":{"amount":30,"account":"alice"}},{"branch_id":"b","target":"http://127.0.0.1:7001/b",'
    '"timeout_ms":10000,"retry":{"first_ms":200,"cap_ms":60000},"payload":{"amount":30,"account":"alice"}}],'
    '"begun_count":2,"timeout_ms":30000}'
)
_PROGRESS = '{"branches":[{"status":"confirmed","operation":"confirm","attempts":1}],"format":1}'
_COLUMNS = (
    "gid, pattern, status, heuristic, driven, version, owner, written_by, format, created_at_ms, finished_at_ms, "
    "plan, progress"
)


def _finished(number: str, no: str = "false") -> str:
    """Return what one finished row is selected as; `number` is an expression of its number.

    They ended yesterday: what is past the retention of a week would be deleted while the load runs.
    """
    at_ms = (time.time_ns() - _DAY_NS) // 1_000_000
    return (
        f"{number}, 'tcc', 'committed', {no}, {no}, 3, 'gone', 'gone:1', 1, {at_ms}, {at_ms + 10}, "
        f"'{_PLAN}', '{_PROGRESS}'"
    )


class Database(ABC):
    """One database.

    Attributes:
        url: as `PLACET_DATABASE_URL`.
        floor_url: as the floor program takes it.
    """

    url: str
    floor_url: str

    def __init__(self, name: str) -> None:
        self._name = name

    @abstractmethod
    def empty(self) -> None:
        """Make it anew, without a schema."""

    @abstractmethod
    def fill(self, rows: int) -> None:
        """Add finished transactions; the schema is there."""

    @abstractmethod
    def drop(self) -> None:
        """Leave nothing behind."""


class _Sqlite(Database):
    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._folder = Path(tempfile.mkdtemp(prefix=f"{name}-"))
        self.url = f"sqlite:///{self._folder / 'placet.db'}"
        self.floor_url = f"sqlite:{self._folder / 'floor.db'}"

    def empty(self) -> None:
        for file in self._folder.glob("placet.db*"):
            file.unlink()

    def fill(self, rows: int) -> None:
        connection = sqlite3.connect(self._folder / "placet.db", isolation_level=None, timeout=60)
        finished = _finished("printf('done-%010d', i)", "0")
        for start in range(0, rows, CHUNK_ROWS):
            numbers = f"select {start} union all select i + 1 from n where i < {start + CHUNK_ROWS - 1}"
            series = f"with recursive n(i) as ({numbers})"
            connection.execute(f"{series} insert into global_transaction ({_COLUMNS}) select {finished} from n")
        connection.close()

    def drop(self) -> None:
        shutil.rmtree(self._folder)


class _Postgres(Database):
    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.url, self.floor_url = f"{POSTGRES}/{name}", f"{POSTGRES}/{name}_floor"

    def empty(self) -> None:
        self.drop()
        for name in (self._name, f"{self._name}_floor"):
            self._run(f"create database {name}", "postgres")

    def fill(self, rows: int) -> None:
        finished = _finished("'done-' || lpad(i::text, 10, '0')")
        for start in range(0, rows, CHUNK_ROWS):
            series = f"generate_series({start}, {start + CHUNK_ROWS - 1}) i"
            self._run(f"insert into global_transaction ({_COLUMNS}) select {finished} from {series}", self._name)
        self._run("vacuum analyze global_transaction", self._name)

    def drop(self) -> None:
        for name in (self._name, f"{self._name}_floor"):
            self._run(f"drop database if exists {name} with (force)", "postgres")

    @staticmethod
    def _run(statement: str, name: str) -> None:
        with psycopg.connect(f"{POSTGRES}/{name}", autocommit=True) as connection:
            connection.execute(statement)


class _Mariadb(Database):
    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.url = f"mysql://root@127.0.0.1:{MARIADB_PORT}/{name}"
        self.floor_url = ""  # the floor program knows no MariaDB

    def empty(self) -> None:
        self.drop()
        self._run(f"create database {self._name}")

    def fill(self, rows: int) -> None:
        finished = _finished("concat('done-', lpad(seq, 10, 0))", "0")
        for start in range(0, rows, CHUNK_ROWS):
            series = f"{self._name}.seq_{start}_to_{start + CHUNK_ROWS - 1}"
            self._run(f"insert into {self._name}.global_transaction ({_COLUMNS}) select {finished} from {series}")

    def drop(self) -> None:
        self._run(f"drop database if exists {self._name}")

    @staticmethod
    def _run(statement: str) -> None:
        with pymysql.connect(host="127.0.0.1", port=MARIADB_PORT, user="root", autocommit=True) as connection:
            connection.cursor().execute(statement)


@contextmanager
def database(store: str, name: str = "placet_bench") -> Iterator[Database]:
    """Yield an empty database of this name, for this alone; it is dropped afterwards."""
    kinds: dict[str, type[Database]] = {"sqlite": _Sqlite, "postgres": _Postgres, "mariadb": _Mariadb}
    made = kinds[store](name)
    made.empty()
    try:
        yield made
    finally:
        made.drop()
