"""What only SQLite does: one file, one process, one writer."""

import asyncio
import functools
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from conformance.store.conftest import OpenStore
from conformance.store.holder import held_by_another_process
from conformance.store.rows import a_row, an_attempt, decide, insert, update
from placet_coordinator.ports.store import SchemaProblem, StoreInUse, StoreUnavailable, WriteConflict
from placet_coordinator.store.factory import store_for
from placet_coordinator.store.sqlite import batch as batches
from placet_coordinator.store.sqlite import connection, connections
from placet_coordinator.store.sqlite.store import SqliteStore
from placet_migrations import upgrade


@pytest.fixture
async def opened(sqlite_url: str, open_store: OpenStore) -> SqliteStore:
    """A store on a new file."""
    upgrade(sqlite_url)
    store = await open_store(sqlite_url)
    assert isinstance(store, SqliteStore)
    return store


def path_of(url: str) -> Path:
    """Return the file of the fixture's URL."""
    return Path(url.removeprefix("sqlite:///"))


async def test_second_store_on_the_file_is_refused(opened: SqliteStore, sqlite_url: str, tmp_path: Path):
    """By whatever path it comes; the message says who holds it and what to do."""
    link = tmp_path / "link.db"
    link.symlink_to(path_of(sqlite_url))
    for url in (sqlite_url, f"sqlite:///{link}"):
        second = store_for(url)
        with pytest.raises(StoreInUse, match=rf"process {os.getpid()}.*Stop the other one.*PLACET_DATABASE_URL"):
            await second.open()
        await second.close()
    assert await opened.write([insert(a_row("g1"))]) == {0: None}, "a refused opener takes nothing from the holder"


async def test_other_process_is_refused_until_this_one_is_gone(sqlite_url: str, open_store: OpenStore):
    """The kernel frees the lock of a killed process, so that a restart needs nobody's help."""
    upgrade(sqlite_url)
    with held_by_another_process(sqlite_url) as (holder, _), pytest.raises(StoreInUse, match=f"process {holder}"):
        await open_store(sqlite_url)
    store = await open_store(sqlite_url)
    assert await store.write([insert(a_row("g1"))]) == {0: None}


async def test_commit_is_synced_to_the_disk(opened: SqliteStore):
    """WAL with synchronous FULL, on every connection that writes."""
    modes = await opened._connections.write(
        lambda connection: [
            connection.execute(f"pragma {name}").fetchone()[0] for name in ("journal_mode", "synchronous")
        ]
    )
    assert modes == ["wal", 2]


async def test_full_disk_wrote_surely_nothing(opened: SqliteStore):
    """SQLite rolls the transaction back; the store goes on once there is room."""
    await opened.write([insert(a_row("old"))])

    def bound(pages: int | None) -> None:
        connection = opened._connections._open_writer().connection
        used = connection.execute("pragma page_count").fetchone()[0]
        connection.execute(f"pragma max_page_count = {used if pages is None else pages}")

    loop = asyncio.get_running_loop()
    await loop.run_in_executor(opened._connections._writer_thread, bound, None)
    large = a_row("large", plan='{"x":"' + "x" * 500_000 + '"}')
    with pytest.raises(StoreUnavailable, match="full") as caught:
        await opened.write([update(a_row("old"), 1), insert(large)])
    assert caught.value.wrote_nothing
    assert await opened.load("old") == a_row("old")
    await loop.run_in_executor(opened._connections._writer_thread, bound, 2**30)
    assert await opened.write([update(a_row("old"), 1), insert(large)]) == {0: None, 1: None}


DISK_THAT_REFUSES = """
import asyncio, os, resource, sys
from conformance.store.rows import a_row, an_attempt, decide, insert, update
from placet_coordinator.ports.store import StoreUnavailable
from placet_coordinator.store.factory import store_for

def limit(bytes_max):
    resource.setrlimit(resource.RLIMIT_FSIZE, (bytes_max, resource.RLIM_INFINITY))

async def main(path):
    store = store_for(f"sqlite:///{path}")
    await store.open()
    await store.write([insert(a_row("old"))])
    log = f"{path}-wal"
    limit(os.path.getsize(log) + 5_000)  # of three pages one fits, and a part of the next
    large = a_row("large", plan='{"x":"' + "x" * 9_000 + '"}')
    try:
        await store.write([insert(large)])
    except StoreUnavailable as error:
        print(error.wrote_nothing)
    limit(0)
    try:
        await store.load("large")
    except StoreUnavailable as error:
        print(error)
    limit(resource.RLIM_INFINITY)
    print(await store.load("large"), os.path.getsize(log), (await store.load("old")) == a_row("old"))
    print(await store.write([insert(large), update(a_row("old"), 1)]))
    await store.close()

asyncio.run(main(sys.argv[1]))
"""


def test_commit_that_the_disk_refused_half_way_is_unknown_until_it_is_resolved(sqlite_url: str):
    """A read tells only once the log is empty: what is left of the commit in it could come back after a crash."""
    upgrade(sqlite_url)
    finished = subprocess.run(
        [sys.executable, "-c", DISK_THAT_REFUSES, str(path_of(sqlite_url))],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert finished.stdout.splitlines() == [
        "False",
        "SQLite: disk I/O error",
        "None 0 True",
        "{0: None, 1: None}",
    ], finished.stderr


async def test_file_system_without_a_write_ahead_log_is_refused(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    """SQLite would go on with another journal, and writers would wait for readers; its "unix-none" has no memory."""
    upgrade(sqlite_url)
    path_of(sqlite_url).rename(tmp_path / "copied.db")
    with sqlite3.connect(tmp_path / "copied.db", isolation_level=None) as plain:
        plain.execute("pragma journal_mode = delete")
    plain.close()
    monkeypatch.setattr(connection.sqlite3, "connect", functools.partial(sqlite3.connect, uri=True))
    found = connections.Connections(f"file:{tmp_path / 'copied.db'}?vfs=unix-none")
    with pytest.raises(SchemaProblem, match=r"write-ahead log.*local disk"):
        await found.open()
    await found.close()


async def test_sqlite_that_is_too_old_is_refused(sqlite_url: str, monkeypatch: pytest.MonkeyPatch):
    """As of a release that is still to come."""
    upgrade(sqlite_url)
    monkeypatch.setattr(connections, "OLDEST", (99, 1, 0))
    store = store_for(sqlite_url)
    with pytest.raises(SchemaProblem, match=r"too old: Placet needs 99\.1\.0"):
        await store.open()
    await store.close()


@pytest.mark.parametrize("statement", [batches._update(64), batches._update_with_plan(1), batches._DECIDE])
async def test_statements_find_rows_by_their_key(opened: SqliteStore, statement: str):
    """In an empty table as in a filled one: SQLite keeps no statistics of its own accord."""
    plan = await opened._connections.read(
        lambda connection: connection.execute(
            f"explain query plan {statement}", [None] * statement.count("?")
        ).fetchall()
    )
    assert next(row[3] for row in plan if "SEARCH" in row[3]).endswith("(gid=?)")
    assert not [row[3] for row in plan if row[3].startswith(("SCAN old", "SCAN global_transaction"))]


async def test_batch_is_few_statements_in_one_transaction(opened: SqliteStore):
    """Counted: up to 64 rows of a kind go in one statement."""
    await opened.write([insert(a_row(f"g{n:03}")) for n in range(100)])
    assert opened.statistics() == {
        "statements": 2 + 2 + 1,  # BEGIN and COMMIT; 64 and 36 rows; the schema's revision at opening
        "commits": 1,
        "round_trips": 2,
        "entries": 100,
        "batches": 1,
    }
    before = opened.statistics()
    batch = [
        insert(a_row("new"), an_attempt("new")),
        update(a_row("g001", plan='{"x":1}'), 1, plan_changed=True),
        update(a_row("g002"), 1, an_attempt("g002")),
        decide("g003"),
    ]
    assert len(await opened.write(batch)) == 4
    after = opened.statistics()
    changed = {name: after[name] - before[name] for name in after}
    assert changed == {"statements": 8, "commits": 1, "round_trips": 1, "entries": 4, "batches": 1}


async def test_file_that_another_process_writes_is_a_conflict(opened: SqliteStore, sqlite_url: str):
    """An operator's open transaction: the batch may be repeated, reads go on, and later the batch is written."""
    await opened.write([insert(a_row("g1"))])
    other = sqlite3.connect(path_of(sqlite_url), isolation_level=None)
    other.execute("begin immediate")
    with pytest.raises(WriteConflict):
        await opened.write([insert(a_row("g2"))])
    assert await opened.load("g1") == a_row("g1")
    assert await opened.load("g2") is None
    other.execute("rollback")
    other.close()
    assert await opened.write([insert(a_row("g2"))]) == {0: None}


async def test_reads_do_not_wait_for_the_writer(opened: SqliteStore):
    """A list is answered while a write transaction is open on the writing thread."""
    await opened.write([insert(a_row("g1"))])
    entered, leave = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def slow(connection: sqlite3.Connection) -> None:
        connection.execute("delete from global_transaction")
        loop.call_soon_threadsafe(entered.set)
        asyncio.run_coroutine_threadsafe(leave.wait(), loop).result()

    writing = asyncio.create_task(opened._connections.write(slow))
    await entered.wait()
    assert await opened.load("g1") == a_row("g1"), "as last committed"
    leave.set()
    await writing
    assert await opened.load("g1") is None


async def test_damaged_file_is_told_as_unavailable(sqlite_url: str):
    """Not as bad data of whoever asked."""
    path_of(sqlite_url).write_bytes(b"this is no database, but long enough to look like one" * 100)
    store = store_for(sqlite_url)
    with pytest.raises(StoreUnavailable):
        await store.open()
    await store.close()


async def test_closed_store_says_so(opened: SqliteStore):
    """A call after closing is refused, and closing twice does nothing."""
    await opened.close()
    await opened.close()
    with pytest.raises(StoreUnavailable) as caught:
        await opened.write([insert(a_row("g1"))])
    assert caught.value.wrote_nothing
    with pytest.raises(StoreUnavailable):
        await opened.load("g1")
