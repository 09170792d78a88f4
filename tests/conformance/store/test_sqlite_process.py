"""The process that writes SQLite's journal batches: killed, frozen, signalled, orphaned, and refused by the disk."""

import asyncio
import os
import resource
import signal
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest

from conformance.store.conftest import OpenStore
from conformance.store.holder import held_by_another_process
from conformance.store.rows import a_row, insert, update
from placet_coordinator.ports.store import BadData, StoreUnavailable
from placet_coordinator.store.factory import store_for
from placet_coordinator.store.sqlite import process
from placet_coordinator.store.sqlite.store import SqliteStore
from placet_migrations import upgrade

GONE_WITHIN_S = 10


@pytest.fixture
async def opened(sqlite_url: str, served: set[str], open_store: OpenStore) -> SqliteStore:
    """A server's store on a new file."""
    upgrade(sqlite_url)
    served.add(sqlite_url)
    store = await open_store(sqlite_url)
    assert isinstance(store, SqliteStore)
    return store


def writer_of(store: SqliteStore) -> int:
    """Return the process that writes for a store."""
    writer = store._connections._process
    assert writer is not None
    assert writer._process is not None
    return writer._process.pid


def size_of(file: str) -> int:
    return Path(file).stat().st_size


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_until_gone(pid: int) -> None:
    deadline = time.monotonic() + GONE_WITHIN_S
    while is_alive(pid):
        assert time.monotonic() < deadline, f"process {pid} is still there"
        time.sleep(0.01)


async def test_batches_are_written_by_the_process(opened: SqliteStore):
    """Not by this one, which only reads them."""
    assert writer_of(opened) != os.getpid()
    assert await opened.write([insert(a_row("g1"))]) == {0: None}
    assert await opened.load("g1") == a_row("g1")


@pytest.mark.parametrize("was_committed", [False, True])
async def test_killed_process_leaves_its_batch_unknown_and_another_takes_over(opened: SqliteStore, was_committed: bool):
    """The answer is lost with it; what is true is read from the file, and the next batch has a process again."""
    before = writer_of(opened)
    os.kill(before, signal.SIGSTOP)
    writing = asyncio.create_task(opened.write([insert(a_row("g1"))]))
    await asyncio.sleep(0)
    if was_committed:
        opened._connections._process._link._transport.pause_reading()  # the answer comes, and is never read
        os.kill(before, signal.SIGCONT)
        await asyncio.to_thread(wait_for_a_row, opened)
    os.kill(before, signal.SIGKILL)
    if was_committed:
        opened._connections._process._link.abort()
    with pytest.raises(StoreUnavailable, match="has ended") as caught:
        await writing
    assert not caught.value.wrote_nothing
    assert (await opened.load("g1") is not None) is was_committed
    assert await opened.write([insert(a_row("g2"))]) == {0: None}
    assert writer_of(opened) != before


def wait_for_a_row(store: SqliteStore) -> None:
    """Wait until a row is committed, by a connection of our own."""
    deadline = time.monotonic() + GONE_WITHIN_S
    with closing(sqlite3.connect(store._connections._path)) as looking:
        while not looking.execute("select 1 from global_transaction").fetchone():
            assert time.monotonic() < deadline, "nothing was committed"
            time.sleep(0.01)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
async def test_signal_to_all_processes_leaves_the_last_batches_to_be_written(
    opened: SqliteStore, number: signal.Signals
):
    """A supervisor signals the whole group: it is the coordinator that says when the writing ends."""
    before = writer_of(opened)
    os.kill(before, number)
    assert await opened.write([insert(a_row("g1"))]) == {0: None}
    assert writer_of(opened) == before
    assert os.getsid(before) == before, "a terminal's Ctrl-C goes to a session"


async def test_closing_the_store_ends_the_process(opened: SqliteStore):
    """After its last batch, and before the file is given back."""
    pid = writer_of(opened)
    await opened.write([insert(a_row("g1"))])
    await opened.close()
    assert not is_alive(pid)


async def test_closing_the_store_ends_a_process_that_hangs(opened: SqliteStore, monkeypatch: pytest.MonkeyPatch):
    """It is waited for a while, then killed."""
    monkeypatch.setattr(process, "END_LIMIT_S", 0.2)
    pid = writer_of(opened)
    os.kill(pid, signal.SIGSTOP)
    await opened.close()
    assert not is_alive(pid)


async def test_process_of_a_killed_coordinator_ends(sqlite_url: str, open_store: OpenStore):
    """It holds nothing that a restart would have to wait for."""
    upgrade(sqlite_url)
    with held_by_another_process(sqlite_url, is_serving=True) as (_, writer):
        assert writer is not None
    wait_until_gone(writer)
    store = await open_store(sqlite_url)
    assert await store.write([insert(a_row("g1"))]) == {0: None}


async def test_cancelled_batch_does_not_answer_the_next(opened: SqliteStore):
    """Its answer is still to come: the next batch gets its own."""
    await opened.write([insert(a_row("g1"))])
    os.kill(writer_of(opened), signal.SIGSTOP)
    pid = writer_of(opened)
    writing = asyncio.create_task(opened.write([update(a_row("g1", version=2), 1), insert(a_row("g2"))]))
    await asyncio.sleep(0)
    writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing
    os.kill(pid, signal.SIGCONT)
    assert await opened.write([insert(a_row("g3")), update(a_row("g3", version=3), 2)]) == {0: None}
    assert await opened.load("g3") == a_row("g3")


async def test_commit_that_the_disk_refused_half_way_is_unknown_until_it_is_resolved(opened: SqliteStore):
    """What is left of it in the log is taken away before anything is read, or it could come back after a crash."""
    await opened.write([insert(a_row("old"))])
    log = f"{opened._connections._path}-wal"
    pid = writer_of(opened)
    none = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (size_of(log) + 5_000, resource.RLIM_INFINITY))
    large = a_row("large", plan='{"x":"' + "x" * 9_000 + '"}')
    with pytest.raises(StoreUnavailable) as caught:
        await opened.write([insert(large)])
    assert not caught.value.wrote_nothing
    resource.prlimit(pid, resource.RLIMIT_FSIZE, none)
    assert await opened.load("large") is None
    assert size_of(log) == 0
    assert await opened.write([insert(large), update(a_row("old"), 1)]) == {0: None, 1: None}


async def test_text_that_can_not_be_sent_is_bad_data(opened: SqliteStore):
    """A lone surrogate has no bytes: its own entry is to blame, and the process lives on."""
    pid = writer_of(opened)
    with pytest.raises(BadData, match="can't hold"):
        await opened.write([insert(a_row("g1", name="\ud800"))])
    assert await opened.write([insert(a_row("g2"))]) == {0: None}
    assert writer_of(opened) == pid


async def test_process_that_does_not_start_is_told_and_nothing_was_written(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    """The server does not come up; the message says what failed."""
    upgrade(sqlite_url)
    monkeypatch.setattr(process, "PROGRAM", "placet_coordinator.no_such_module")
    store = store_for(sqlite_url, is_serving=True)
    with pytest.raises(StoreUnavailable, match="process that writes to SQLite does not start") as caught:
        await store.open()
    await store.close()
    assert caught.value.wrote_nothing
    assert "no_such_module" in capfd.readouterr().err


async def test_process_that_starts_too_slowly_is_told(sqlite_url: str, monkeypatch: pytest.MonkeyPatch):
    """It is ended, and the message says how long it was waited for."""
    upgrade(sqlite_url)
    monkeypatch.setattr(process, "START_LIMIT_S", 0.001)
    store = store_for(sqlite_url, is_serving=True)
    with pytest.raises(StoreUnavailable, match=r"does not start: no answer within 0\.001 s") as caught:
        await store.open()
    await store.close()
    assert caught.value.wrote_nothing


async def test_file_that_it_can_not_open_is_told(sqlite_url: str, tmp_path: Path):
    """By the error that it met itself."""
    upgrade(sqlite_url)
    writer = process.WriterProcess(str(tmp_path / "missing" / "placet.db"))
    with pytest.raises(StoreUnavailable, match=r"missing.*unable to open database file"):
        await writer.start()
    await writer.close()


async def test_writes_take_turns_with_the_thread(opened: SqliteStore):
    """A batch, a claim and a lease at once: none finds the file locked by another of the same store."""
    now_ms = await opened.enrol("node", "boot", "http://h", 1, 10_000)
    batches = [opened.write([insert(a_row(f"g{number}-{n}")) for n in range(50)]) for number in range(20)]
    renewals = [opened.renew("node", "boot", 10_000) for _ in range(20)]
    done = await asyncio.gather(*batches, *renewals)
    assert all(len(hits) == 50 for hits in done[:20])
    assert all(renewed >= now_ms for renewed in done[20:])
