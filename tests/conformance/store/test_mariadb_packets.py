"""Packets that stop half-way, on MariaDB and MySQL: a refusal is told for what it proves, and no lock stays behind."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from conformance.store.conftest import OpenStore
from conformance.store.proxy import Proxy
from conformance.store.rows import a_row, an_attempt, decide, insert, update
from conformance.store.sessions import lock_held, session
from placet_coordinator.ports.store import BadData, RowLocked, StoreUnavailable, WriteConflict
from placet_coordinator.store.mysql import session as sessions
from placet_coordinator.store.mysql.store import MysqlStore

QUIT = b"\x01\x00\x00\x00\x01"
"""COM_QUIT of the client protocol."""


def instead_of(beginning: str, *statements: str) -> Callable[[bytes], bytes]:
    """Return what puts other statements in the place of one, on a packet's way to the server."""

    def rewritten(data: bytes) -> bytes:
        command, packet = data[4:5], data[5:].split(b";")
        places = [place for place, statement in enumerate(packet) if statement.startswith(beginning.encode())]
        if not places:
            return data
        assert len(data) == 4 + int.from_bytes(data[:3], "little"), "the packet came in pieces"
        packet[places[0] : places[0] + 1] = [statement.encode() for statement in statements]
        payload = command + b";".join(packet)
        return len(payload).to_bytes(3, "little") + data[3:4] + payload

    return rewritten


def error(number: int) -> str:
    """Return a statement that fails with this number."""
    return f"signal sqlstate '40001' set mysql_errno = {number}, message_text = 'caused by the test'"


@pytest.mark.parametrize(
    ("number", "raised", "wrote_nothing"),
    [
        (1213, WriteConflict, None),
        (1020, WriteConflict, None),
        (1205, StoreUnavailable, False),
        (1180, StoreUnavailable, False),
        (1317, StoreUnavailable, False),
    ],
    ids=["deadlock", "record-changed", "lock-timeout", "error-during-commit", "interrupted"],
)
async def test_refused_commit_is_told_for_what_it_is(
    mariadb_schema: str, open_store: OpenStore, number: int, raised: type[Exception], wrote_nothing: bool | None
):
    """Galera answers the second of two writers with 1213 as late as COMMIT; of other errors there nothing is known."""
    async with Proxy(mariadb_schema) as proxy:
        store = await open_store(proxy.url)
        await store.write([insert(a_row("g1"))])
        proxy.rewrites = instead_of("commit", error(number))
        with pytest.raises(raised) as caught:
            await store.write([update(a_row("g1"), 1, an_attempt("g1"))])
        assert getattr(caught.value, "wrote_nothing", None) == wrote_nothing
        proxy.rewrites = None
        assert await store.load("g1") == a_row("g1")
        assert await store.attempts("g1", 1) == []
        assert await store.write([update(a_row("g1"), 1)]) == {0: None}


@pytest.mark.parametrize("number", [1213, 1205, 1406])
async def test_failure_before_commit_wrote_nothing(mariadb_schema: str, open_store: OpenStore, number: int):
    """The server stops there, so what the packet had done is rolled back, and its locks are gone with it."""
    async with Proxy(mariadb_schema) as proxy:
        store = await open_store(proxy.url)
        await store.write([insert(a_row("g1"))])
        proxy.rewrites = instead_of("select group_concat", error(number))
        with pytest.raises({1213: WriteConflict, 1205: RowLocked, 1406: BadData}[number]):
            await store.write([update(a_row("g1"), 1)])
        proxy.rewrites = None
        assert await store.load("g1") == a_row("g1")
        with lock_held(mariadb_schema, "g1"):
            pass


async def test_failure_after_commit_is_told_as_unknown(mariadb_schema: str, open_store: OpenStore):
    """Whatever its number says: the batch is written, and only its answer is missing."""
    async with Proxy(mariadb_schema) as proxy:
        store = await open_store(proxy.url)
        await store.write([insert(a_row("g1"))])
        proxy.rewrites = instead_of("commit", "commit", error(1213))
        with pytest.raises(StoreUnavailable) as caught:
            await store.write([update(a_row("g1", written_by="ours"), 1)])
        assert not caught.value.wrote_nothing
        proxy.rewrites = None
        row = await store.load("g1")
        assert row is not None
        assert row.written_by == "ours"


@pytest.mark.parametrize("instead", ["rollback", "update global_transaction set written_by = 'theirs'"])
async def test_write_that_is_not_there_after_commit_is_told_as_unknown(
    mariadb_schema: str, open_store: OpenStore, instead: str
):
    """COMMIT said yes. On Galera it may have rolled back all the same, or another node was quicker than our look."""
    async with Proxy(mariadb_schema) as proxy:
        store = await open_store(proxy.url)
        await store.write([insert(a_row("g1")), insert(a_row("g2"))])
        for entry in (update(a_row("g1"), 1), decide("g2")):
            proxy.rewrites = instead_of("commit", instead)
            with pytest.raises(StoreUnavailable) as caught:
                await store.write([entry])
            assert not caught.value.wrote_nothing


@pytest.mark.parametrize("by_us", [False, True], ids=["as-mariadb", "as-mysql"])
async def test_locks_of_a_node_that_stops_within_a_failed_packet_are_gone_after_a_limit(
    mariadb_schema: str, open_store: OpenStore, monkeypatch: pytest.MonkeyPatch, by_us: bool
):
    """It never rolls back, as if it had been stopped: the server ends its session. MySQL does so by `wait_timeout`."""
    monkeypatch.setattr(sessions, "IDLE_LIMIT_S", 1)
    monkeypatch.setattr(sessions, "ANSWER_LIMIT_S", 600.0)  # so that it is not our own patience that ends the session
    async with Proxy(mariadb_schema) as proxy:
        store = await open_store(proxy.url)
        assert isinstance(store, MysqlStore)
        other = await open_store(mariadb_schema)
        await store.write([insert(a_row(f"g{n}")) for n in range(2)])
        if by_us:
            taken = await store._journal.take()
            taken._ends_idle_transactions = False
            await taken._connection.query("set idle_transaction_timeout = 0")
            store._journal.give_back(taken)
        proxy.rewrites = instead_of("select group_concat", error(1205))
        proxy.loses_answers = True
        writing = asyncio.create_task(store.write([update(a_row("g0"), 1)]))
        while "g0" in await other.free(["g0"]):
            assert not writing.done()
        while "g0" not in await other.free(["g0"]):
            pass
        assert await other.write([update(a_row("g0"), 1)]) == {0: None}
        proxy.cut()
        with pytest.raises(StoreUnavailable):
            await writing


async def test_packet_ended_by_the_administrator_is_told_and_the_store_goes_on(
    mariadb_schema: str, mariadb_node: MysqlStore
):
    """A statement that was killed was rolled back, with all before it."""
    await mariadb_node.write([insert(a_row(f"g{n}")) for n in range(2)])
    with lock_held(mariadb_schema, "g1"), session(mariadb_schema) as cursor:
        writing = asyncio.create_task(mariadb_node.write_aside(update(a_row("g1"), 1)))
        while not writing.done():
            cursor.execute(
                "select id from information_schema.processlist where db = database() and state = 'Updating' "
                "and info like 'update global_transaction%'"
            )
            for (thread,) in cursor.fetchall():
                cursor.execute(f"kill query {thread}")
            await asyncio.sleep(0.005)
        with pytest.raises(StoreUnavailable) as caught:
            await writing
    assert caught.value.wrote_nothing
    assert await mariadb_node.load("g1") == a_row("g1")
    assert await mariadb_node.write_aside(update(a_row("g1"), 1)) == {0: None}


async def test_session_that_the_server_ended_while_idle_costs_nobody_an_error(
    mariadb_schema: str, mariadb_node: MysqlStore
):
    """`wait_timeout`, or an administrator: what was not sent whole can't have been executed, and is sent again."""
    await mariadb_node.write([insert(a_row("g1"))])
    with session(mariadb_schema) as cursor:
        cursor.execute("select id from information_schema.processlist where db = database() and id <> connection_id()")
        threads = [thread for (thread,) in cursor.fetchall()]
        assert threads
        for thread in threads:
            cursor.execute(f"kill connection {thread}")
        await ended(cursor)
    assert await mariadb_node.write([update(a_row("g1"), 1)]) == {0: None}


async def ended(cursor: Any) -> None:
    """Return when no other session of the database is left, and its end has reached us."""
    left = 1
    while left:
        await asyncio.sleep(0.005)
        cursor.execute(
            "select count(*) from information_schema.processlist where db = database() and id <> connection_id()"
        )
        ((left,),) = cursor.fetchall()


async def test_closed_store_says_goodbye(mariadb_schema: str, open_store: OpenStore):
    """Else the server's log fills with clients that were aborted."""
    requests: list[bytes] = []

    def noted(request: bytes) -> bytes:
        requests.append(request)
        return request

    async with Proxy(mariadb_schema) as proxy:
        store = await open_store(proxy.url)
        await store.write([insert(a_row("g1"))])
        proxy.rewrites = noted
        await store.close()
    assert requests == [QUIT, QUIT], "one of the journal's session, one of the readers'"
