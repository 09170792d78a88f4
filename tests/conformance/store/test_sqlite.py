"""What only SQLite does: one file, one process, one writer."""

import asyncio
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from conformance.store.conftest import OpenStore
from conformance.store.rows import a_row, insert, update
from placet_coordinator.ports.store import StoreInUse, StoreUnavailable, WriteConflict
from placet_coordinator.store import store_for
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
    program = f"""
import asyncio, sys
from placet_coordinator.store import store_for
async def main():
    store = store_for({sqlite_url!r})
    await store.open()
    print("open", flush=True)
    await asyncio.Event().wait()
asyncio.run(main())
"""
    with subprocess.Popen(  # noqa: ASYNC220 - nothing else runs on this loop
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True
    ) as holder:
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == "open\n"
            with pytest.raises(StoreInUse, match=f"process {holder.pid}"):
                await open_store(sqlite_url)
        finally:
            holder.kill()
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
        connection = opened._connections._writer
        assert connection is not None
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
