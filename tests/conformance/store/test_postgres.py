"""What only PostgreSQL does: plans that must not drift, updates within a page, a schema that grows beside us."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import pytest
from msgspec.structs import replace

from conformance.store.conftest import OpenStore
from conformance.store.proxy import Proxy
from conformance.store.rows import CREATED_AT_MS, a_row, an_attempt, decide, insert, update
from placet_coordinator.ports.rows import Entry, Row
from placet_coordinator.ports.store import BadData, Store, StoreUnavailable
from placet_coordinator.store import pool
from placet_coordinator.store.counters import Counters
from placet_coordinator.store.postgres import session as postgres_session
from placet_coordinator.store.postgres.batch import MANY, statement
from placet_coordinator.store.postgres.session import SETTINGS, Session, dsn_of
from placet_coordinator.store.postgres.store import JOURNAL_LOCK_WAIT_MS, READ_SESSIONS, PostgresStore
from schema_copies import make_schema

WITHIN_S = 20


@pytest.fixture
async def schema_url(postgres_url: str) -> str:
    """A PostgreSQL database with an empty schema."""
    make_schema(postgres_url)
    return postgres_url


@pytest.fixture
async def node(schema_url: str, open_store: OpenStore) -> Store:
    """A store on it."""
    return await open_store(schema_url)


async def test_a_statement_is_parsed_and_planned_once_for_a_session(postgres_url: str):
    """Run five times, a statement has one name, and one generic plan that served each of the five."""
    session = Session(dsn_of(postgres_url), JOURNAL_LOCK_WAIT_MS, Counters())
    try:
        for number in range(5):
            assert await session.run("select $1::int + 1", [number]) == [(number + 1,)]
        listed = "select statement, generic_plans, custom_plans from pg_prepared_statements"
        plans = {statement: counts for statement, *counts in await session.run(listed, [])}
    finally:
        session.close()
    assert plans["select $1::int + 1"] == [5, 0]


async def test_silent_server_is_given_up_while_a_dropped_statement_is_closed(postgres_url: str, monkeypatch):
    """The session drops its oldest statement for a third one, and the server does not answer: the limit holds."""
    monkeypatch.setattr(postgres_session, "PREPARED_MAX", 1)
    async with Proxy(postgres_url) as proxy:
        session = Session(dsn_of(proxy.url), JOURNAL_LOCK_WAIT_MS, Counters())
        try:
            for number in (1, 2):
                assert await session.run(f"select {number}", []) == [(number,)]
            monkeypatch.setattr(postgres_session, "ANSWER_LIMIT_S", 0.2)
            proxy.rewrites = lambda request: b"" if request.startswith(b"C") else request  # Close, in the protocol
            async with asyncio.timeout(WITHIN_S):
                with pytest.raises(StoreUnavailable) as caught:
                    await session.run("select 3", [])
        finally:
            session.close()
    assert caught.value.wrote_nothing


async def test_column_widened_beside_us_is_served_on(schema_url: str, node: Store):
    """Plans of sessions that are at work give the old type: each session is told once at most, and plans anew."""
    await node.write([insert(a_row("g1", name="n"))])
    await node.write([decide("nobody")])
    assert await node.load("g1") is not None
    onlooker = await asyncpg.connect(schema_url)
    await onlooker.execute("alter table global_transaction alter column name type varchar(200)")
    await onlooker.close()
    refusals: list[bool] = []
    for work in (lambda: node.load("g1"), lambda: node.write([decide("g1")])):
        try:
            await work()
        except StoreUnavailable as error:
            refusals.append(error.wrote_nothing)
    assert refusals == [True, True]
    assert (await node.write([decide("g1")])).keys() == {0}
    found = await node.load("g1")
    assert found is not None
    assert (found.status, found.version) == ("committing", 2)


@asynccontextmanager
async def looking(url: str) -> AsyncIterator[asyncpg.Connection]:
    """Connect as an onlooker, once every other session of the database has ended and left its statistics."""
    connection = await asyncpg.connect(url)
    try:
        async with asyncio.timeout(WITHIN_S):
            while await connection.fetchval(  # noqa: ASYNC110 - it is the server's event
                "select count(*) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid() "
                "and backend_type = 'client backend'"
            ):
                await asyncio.sleep(0.01)
        yield connection
    finally:
        await connection.close()


async def scans(url: str) -> dict[str, int]:
    """Return the sequential scans of each table so far."""
    async with looking(url) as connection:
        rows = await connection.fetch("select relname, seq_scan from pg_stat_user_tables")
        return {row["relname"]: row["seq_scan"] for row in rows}


async def test_no_statement_scans_a_table_that_was_empty_when_it_was_planned(schema_url: str, open_store: OpenStore):
    """An empty schema is filled to 5,000 rows by one node's prepared statements: none reads a table from end to end."""
    before = await scans(schema_url)
    store = await open_store(schema_url)
    await store.enrol("node-a", "boot-of-node-a", "http://a", 1, 600_000)
    for start in range(0, 5_000, 100):
        gids = [f"g{n:05}" for n in range(start, start + 100)]
        assert len(await store.write([insert(a_row(gid, owner="dead")) for gid in gids])) == 100
        assert len(await store.write([decide(gid) for gid in gids[:10]])) == 10
        updates: list[Entry] = [
            update(a_row(gid, plan='{"x":1}'), 1, an_attempt(gid), plan_changed=True) for gid in gids[10:20]
        ]
        updates += [update(a_row(gid, owner="dead"), 1) for gid in gids[20:]]
        assert len(await store.write([*updates, insert(a_row(f"h{start}"))])) == 91
        assert len(await store.free(gids)) == 100
        assert len(await store.load_many(gids)) == 100
        assert len(await store.due("boot-of-node-b", CREATED_AT_MS * 2, 5)) == 5
    assert len(await store.claim_lapsed("boot-c", await store.ping(), 0, 50)) == 50
    assert await store.purge(CREATED_AT_MS, 50) == 0
    await store.close()
    after = await scans(schema_url)
    grown = {name: after[name] - before[name] for name in ("global_transaction", "attempt")}
    assert grown == {"global_transaction": 0, "attempt": 0}


@pytest.mark.parametrize("decides", [False, True])
@pytest.mark.parametrize("plans", [False, True])
@pytest.mark.parametrize("rows", [1, MANY])
async def test_generic_plan_finds_rows_by_their_key(schema_url: str, decides: bool, plans: bool, rows: int):
    """EXPLAIN of the very statement that a session prepares shows an index for the table's rows."""
    text = statement(rows, rows, plans=plans, decides=decides, attempts=False)
    connection = await asyncpg.connect(schema_url, server_settings=SETTINGS)
    await connection.execute(f"prepare batch as {text}")
    arguments = max(map(int, re.findall(r"\$(\d+)", text)))
    plan = await connection.fetch(f"explain execute batch ({', '.join(['null'] * arguments)})")
    shown = "\n".join(line for (line,) in plan)
    await connection.close()
    assert "Seq Scan" not in shown
    assert shown.count("using pk_global_transaction on global_transaction old") == 1 + decides


@pytest.mark.parametrize("inserts", [0, 1, MANY])
@pytest.mark.parametrize("updates", [0, 1, MANY])
async def test_rows_alone_and_rows_in_arrays_are_the_same_rows(node: Store, inserts: int, updates: int):
    """Every column arrives, whichever way its row goes; a row that misses is told, and its attempts are dropped."""
    there = [insert(a_row(f"u{place}", plan='{"old":1}')) for place in range(updates + 1)]
    assert len(await node.write(there)) == updates + 1
    named = {"name": "n", "business_key": "k", "parent": "p/1", "heuristic": True, "plan": '{"a":1}'}
    new = [insert(a_row(f"n{place}", **named)) for place in range(inserts)]
    ended = {"status": "committed", "reason_text": "why", "finished_at_ms": 7, "progress": '{"b":2}'}
    changed = [
        update(a_row(f"u{place}", next_due_at_ms=None, **ended), 1, an_attempt(f"u{place}")) for place in range(updates)
    ]
    missed = update(a_row(f"u{updates}", plan='{"new":1}'), 5, an_attempt(f"u{updates}"), plan_changed=True)
    assert await node.write([*new, *changed, missed]) == dict.fromkeys(range(inserts + updates))
    for entry in new:
        assert await node.load(entry.row.gid) == entry.row
    for entry in changed:
        assert await node.load(entry.row.gid) == replace(entry.row, plan='{"old":1}')
        assert len(await node.attempts(entry.row.gid, 5)) == 1
    assert await node.load(f"u{updates}") == there[-1].row
    assert await node.attempts(f"u{updates}", 5) == []


async def test_step_that_leaves_the_due_time_alone_touches_no_index(schema_url: str, open_store: OpenStore):
    """Heap-only updates: what changes with each step is in no index, and no index predicate names it."""
    store = await open_store(schema_url)
    await store.write([insert(a_row("g1", name="n", business_key="k", parent="p"))])
    for version in range(1, 21):
        status = "active" if version < 10 else "committing"
        row = a_row("g1", name="n", business_key="k", parent="p", status=status, written_by=f"w:{version}")
        assert await store.write([update(row, version)]) == {0: None}
    await store.close()
    async with looking(schema_url) as connection:
        query = "select n_tup_upd, n_tup_hot_upd from pg_stat_user_tables where relname = 'global_transaction'"
        updated, within_page = await connection.fetchrow(query)
    assert (updated, within_page) == (20, 20)


async def test_batch_of_every_kind_is_one_statement(node: Store):
    """Counted over a batch that has some of all kinds, side rows included."""

    def batch(prefix: str) -> list[Entry]:
        return [
            insert(a_row(f"{prefix}new"), an_attempt(f"{prefix}new")),
            update(a_row(f"{prefix}1", plan='{"x":1}'), 1, plan_changed=True),
            update(a_row(f"{prefix}2"), 1, an_attempt(f"{prefix}2")),
            decide(f"{prefix}3"),
        ]

    await node.write([insert(a_row(f"{prefix}{n}")) for prefix in "ab" for n in (1, 2, 3)])
    assert len(await node.write(batch("a"))) == 4
    before = node.statistics()
    assert len(await node.write(batch("b"))) == 4
    after = node.statistics()
    changed = {name: after[name] - before[name] for name in after}
    assert changed == {"statements": 1, "commits": 1, "round_trips": 1, "entries": 4, "batches": 1}


async def test_newer_schema_with_more_columns_is_served_on(schema_url: str, node: Store):
    """A rolling upgrade widens the table first, while older nodes run: at most one batch is told to come again."""
    await node.write([insert(a_row("g1"))])
    onlooker = await asyncpg.connect(schema_url)
    await onlooker.execute("alter table global_transaction add column region text not null default 'eu'")
    outcomes: list[dict[int, Row | None]] = []
    refusals: list[bool] = []
    for n in range(3):
        try:
            outcomes.append(await node.write([insert(a_row(f"h{n}")), update(a_row("g1"), 1 + n), decide(f"h{n - 1}")]))
        except StoreUnavailable as error:
            refusals.append(error.wrote_nothing)
            outcomes.append({})
    assert refusals in ([], [True])
    assert outcomes[2].keys() >= {0}
    assert await node.write([insert(a_row("last", name="n"))]) == {0: None}
    assert await node.load("last") == a_row("last", name="n")
    assert await onlooker.fetchval("select region from global_transaction where gid = 'last'") == "eu"
    await onlooker.close()


async def test_columns_in_another_order_are_served(schema_url: str, open_store: OpenStore):
    """A column that was dropped and added again stands last."""
    onlooker = await asyncpg.connect(schema_url)
    await onlooker.execute("alter table global_transaction drop column parent")
    await onlooker.execute('alter table global_transaction add column parent varchar(193) collate "C"')
    await onlooker.close()
    store = await open_store(schema_url)
    row = a_row("g1", parent="p/1", business_key="k")
    await store.write([insert(row)])
    assert await store.load("g1") == row
    changed = replace(row, progress='{"n":1}')
    assert await store.write([update(changed, 1)]) == {0: None}
    hits = await store.write([decide("g1")])
    assert hits[0] is not None
    assert (hits[0].parent, hits[0].progress, hits[0].version) == ("p/1", '{"n":1}', 3)


@pytest.mark.parametrize(
    "spoil",
    [{"name": "a\x00b"}, {"name": "x" * 129}, {"owner": "x" * 33}, {"progress": "{"}],
    ids=["nul", "long-text", "long-id", "no-json"],
)
async def test_value_that_the_columns_refuse_is_bad_data(node: Store, spoil: dict[str, str]):
    """Nothing is cut to fit, and nothing of the batch is written."""
    with pytest.raises(BadData):
        await node.write([insert(a_row("good")), insert(a_row("bad", **spoil))])
    assert await node.load_many(["good", "bad"]) == []


async def test_server_that_takes_no_writes_wrote_surely_nothing(schema_url: str, open_store: OpenStore):
    """A standby, or an operator's switch: the journal may repeat the batch."""
    onlooker = await asyncpg.connect(schema_url)
    database = await onlooker.fetchval("select current_database()")
    await onlooker.execute(f"alter database {database} set default_transaction_read_only = on")
    store = await open_store(schema_url)
    with pytest.raises(StoreUnavailable) as caught:
        await store.write([insert(a_row("g1"))])
    assert caught.value.wrote_nothing
    await onlooker.execute("set default_transaction_read_only = off")
    await onlooker.execute(f"alter database {database} reset default_transaction_read_only")
    await onlooker.close()


async def test_commits_are_durable_on_a_server_that_would_rather_not(schema_url: str, open_store: OpenStore):
    """synchronous_commit = off in the server's configuration would lose what was acknowledged."""
    onlooker = await asyncpg.connect(schema_url)
    database = await onlooker.fetchval("select current_database()")
    await onlooker.execute(f"alter database {database} set synchronous_commit = off")
    await onlooker.close()
    store = await open_store(schema_url)
    assert isinstance(store, PostgresStore)
    rows = await store._journal.run("select current_setting('synchronous_commit')")
    assert rows[0][0] == "on"


@pytest.mark.parametrize(("action", "wrote_nothing"), [("pg_cancel_backend", True), ("pg_terminate_backend", False)])
async def test_statement_ended_by_the_administrator_is_told_and_the_store_goes_on(
    schema_url: str, node: Store, action: str, wrote_nothing: bool
):
    """A cancelled statement was rolled back; of an ended session the store can't know, and it takes a new one."""
    await node.write([insert(a_row("g1"))])
    onlooker, holder = await asyncpg.connect(schema_url), await asyncpg.connect(schema_url)
    await holder.execute("begin")
    await holder.execute("select from global_transaction where gid = 'g1' for update")
    writing = asyncio.create_task(node.write_aside(update(a_row("g1"), 1)))
    async with asyncio.timeout(WITHIN_S):
        while not await onlooker.fetchval(  # noqa: ASYNC110 - it is the server's event
            f"select count({action}(pid)) from pg_stat_activity "
            "where datname = current_database() and wait_event_type = 'Lock'"
        ):
            await asyncio.sleep(0.005)
    with pytest.raises(StoreUnavailable) as caught:
        await writing
    assert caught.value.wrote_nothing == wrote_nothing
    await holder.close()
    await onlooker.close()
    assert await node.load("g1") == a_row("g1")
    assert await node.write_aside(update(a_row("g1"), 1)) == {0: None}


async def test_reader_that_finds_no_session_free_is_told_after_a_limit(
    schema_url: str, open_store: OpenStore, monkeypatch: pytest.MonkeyPatch
):
    """Lists that never end can't make others wait for ever, and the journal does not notice."""
    monkeypatch.setattr(pool, "QUEUE_LIMIT_S", 0.05)
    store = await open_store(schema_url)
    assert isinstance(store, PostgresStore)
    taken = [await store._reads.take() for _ in range(READ_SESSIONS)]
    with pytest.raises(StoreUnavailable, match="no database session") as caught:
        await store.load("g1")
    assert caught.value.wrote_nothing
    assert await store.write([insert(a_row("g1"))]) == {0: None}
    assert await store.enrol("node-a", "boot-1", "http://a", 1, 1_000) > 0
    for each in taken:
        store._reads.give_back(each)
    assert await store.load("g1") == a_row("g1")
