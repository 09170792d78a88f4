"""What only MariaDB and MySQL do: values as literals, sessions with settings of their own, statements by key."""

import itertools
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from conformance.store.conftest import OpenStore
from conformance.store.rows import a_row, an_attempt, decide, insert, update
from conformance.store.sessions import lock_held, session
from placet_coordinator.ports.rows import Entry
from placet_coordinator.ports.store import BadData, RowLocked, SchemaProblem
from placet_coordinator.store.mysql.batch import compose
from placet_coordinator.store.mysql.server import PACKET_BYTES_MIN, check_server
from placet_coordinator.store.mysql.store import MysqlStore

ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=100) | st.text(
    "\\'\"%;\x00\n`-/*é\U0001f4b8", max_size=30
)


@pytest.fixture
def hostile_url(mariadb_schema: str) -> Iterator[str]:
    """The database's URL for a user whose sessions begin with every setting that could hurt us."""
    settings_of_theirs = (
        "set session transaction isolation level serializable; "
        "set names latin1, sql_mode = 'ANSI_QUOTES,NO_BACKSLASH_ESCAPES', time_zone = '+05:30', "
        "completion_type = 2, sql_safe_updates = 1, sql_select_limit = 1, group_concat_max_len = 4, autocommit = 0, "
        "innodb_lock_wait_timeout = 50"
    )
    parts = urlsplit(mariadb_schema)
    name = f"{parts.path[1:]}_user"[-80:]
    with session(mariadb_schema) as cursor:
        cursor.execute(f"CREATE USER '{name}'@'%' IDENTIFIED BY 'päss'")
        cursor.execute(f"GRANT ALL ON {parts.path[1:]}.* TO '{name}'@'%'")
        # Read for users without privileges alone, and all other sessions of the tests are root's.
        cursor.execute("SET GLOBAL init_connect = %s", (settings_of_theirs,))
        yield parts._replace(netloc=f"{name}:p%C3%A4ss@{parts.hostname}:{parts.port}").geturl()
        cursor.execute("SET GLOBAL init_connect = ''")
        cursor.execute(f"DROP USER '{name}'@'%'")


async def test_sessions_of_ours_do_not_depend_on_the_servers_settings(
    mariadb_schema: str, hostile_url: str, open_store: OpenStore
):
    """Neither escapes, nor clocks, nor the end of a transaction, nor how much of an answer comes."""
    store = await open_store(hostile_url)
    assert abs(await store.ping() - time.time() * 1_000) < 5_000
    rows = [a_row(f"g{n}", name="back\\slash 'quoted' \"twice\" é \U0001f4b8 \\") for n in range(9)]
    assert len(await store.write([insert(row) for row in rows])) == 9
    assert sorted(await store.load_many([row.gid for row in rows]), key=lambda row: row.gid) == rows
    with session(mariadb_schema) as cursor:
        cursor.execute("select name from global_transaction where gid = 'g1'")
        assert cursor.fetchone() == (rows[1].name,), "not in latin1, there and back"
    assert len(await store.write([update(row, 1) for row in rows])) == 9
    assert (await store.write([decide("g1")]))[0] == await store.load("g1")
    long = a_row("long", name="x" * 129)
    with pytest.raises(BadData):
        await store.write([insert(long)])
    with lock_held(mariadb_schema, "g2"), pytest.raises(RowLocked):
        await store.write([update(rows[2], 2)])
    assert await store.free(["g1", "g2"]) == {"g1", "g2"}


_numbers = itertools.count()


@given(texts=st.lists(ANY_TEXT, min_size=1, max_size=8))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_any_text_survives_as_a_literal(mariadb_node: MysqlStore, texts: list[str]):
    """Quotes, backslashes, NUL, semicolons, comments and astral characters, beside each other in one packet."""
    rows = [
        a_row(f"g{next(_numbers)}", name=text, reason_text=text, attention=text, plan=text, progress=text)
        for text in texts
    ]
    entries = [insert(row, an_attempt(row.gid, detail=row.plan)) for row in rows]
    assert len(await mariadb_node.write(entries)) == len(rows)
    assert len(await mariadb_node.write([update(row, 1, plan_changed=True) for row in rows])) == len(rows)
    stored = {row.gid: row for row in await mariadb_node.load_many([row.gid for row in rows])}
    for row in rows:
        found = stored[row.gid]
        assert (found.name, found.reason_text, found.attention, found.plan, found.progress) == (row.plan,) * 5
        assert [attempt.detail for attempt in await mariadb_node.attempts(row.gid, 2)] == [row.plan]


@pytest.mark.parametrize("spoil", [{"attention": "x" * 1_001}, {"owner": "x" * 33}, {"owner": "é"}, {"gid": "g" * 129}])
async def test_value_that_the_columns_refuse_is_bad_data(mariadb_node: MysqlStore, spoil: dict[str, str]):
    """Nothing is cut to fit, and nothing of the batch is written: as an insert, and as one update of many."""
    gids = [f"g{n}" for n in range(9)]
    await mariadb_node.write([insert(a_row(gid)) for gid in gids])
    bad = a_row(**{"gid": "g3", **spoil})
    with pytest.raises(BadData):
        await mariadb_node.write([insert(a_row("good")), insert(bad)])
    if "gid" not in spoil:
        with pytest.raises(BadData):
            await mariadb_node.write([update(bad if gid == "g3" else a_row(gid), 1) for gid in gids])
    assert await mariadb_node.load_many([*gids, "good"]) == [a_row(gid) for gid in gids]


async def test_row_larger_than_the_servers_packet_is_bad_data_of_its_own(mariadb_node: MysqlStore):
    """Nothing is sent, and the session goes on."""
    await mariadb_node.write([insert(a_row("first"))])
    packet_bytes_max = mariadb_node._journal._all[0]._packet_bytes_max
    large = a_row("large", plan="x" * packet_bytes_max)
    with pytest.raises(BadData, match="max_allowed_packet"):
        await mariadb_node.write([insert(a_row("small")), insert(large)])
    assert await mariadb_node.write([insert(a_row("small"))]) == {0: None}


async def test_batch_of_every_kind_is_one_packet(mariadb_node: MysqlStore):
    """Counted over a batch that has some of all kinds, side rows included."""
    await mariadb_node.write([insert(a_row(f"g{n}")) for n in (1, 2, 3)])
    batch = [
        insert(a_row("new"), an_attempt("new")),
        update(a_row("g1", plan='{"x":1}'), 1, plan_changed=True),
        update(a_row("g2"), 1, an_attempt("g2")),
        decide("g3"),
    ]
    before = mariadb_node.statistics()
    assert len(await mariadb_node.write(batch)) == 4
    after = mariadb_node.statistics()
    changed = {name: after[name] - before[name] for name in after}
    # begin, insert, update, update with plans, decide, attempts, hits, commit, hits again, rows decided
    assert changed == {"statements": 10, "commits": 1, "round_trips": 1, "entries": 4, "batches": 1}


async def test_full_batch_of_updates_is_one_statement(mariadb_node: MysqlStore):
    """However many: a derived table joins the rows by their key."""
    gids = [f"g{n:03}" for n in range(256)]
    await mariadb_node.write([insert(a_row(gid)) for gid in gids])
    before = mariadb_node.statistics()
    assert len(await mariadb_node.write([update(a_row(gid), 1) for gid in gids])) == 256
    assert mariadb_node.statistics()["statements"] - before["statements"] == 5


@pytest.mark.parametrize("size", [0, 2_000])
def test_statements_find_rows_by_their_key(mariadb_schema: str, size: int):
    """In an empty table as in a filled one, whose statistics are still those of the empty one."""
    gids = [f"g{n:05}" for n in range(size or 20)]
    batch: list[Entry] = [update(a_row(gid), 1, an_attempt(gid)) for gid in gids[:10]]
    batch += [update(a_row(gid), 1, plan_changed=True) for gid in gids[10:12]]
    batch += [decide(gid) for gid in gids[12:20]]
    with session(mariadb_schema) as cursor:
        for start in range(0, size, 500):
            cursor.execute(compose([insert(a_row(gid)) for gid in gids[start : start + 500]]).statements[1])
        for statement in compose(batch).statements:
            if statement.startswith(("update", "insert", "select")):
                cursor.execute(f"explain {statement.replace(' into @placet_hits', '').replace('@placet_hits, ', '')}")
                for row in cursor.fetchall():
                    table, access, key = row[2], row[3], row[5]
                    if table in {"old", "global_transaction"}:
                        assert (access, key) in {(a, "PRIMARY") for a in ("eq_ref", "range", "const")}, statement[:80]


# --- what the server must be


GOOD_SERVER = {
    "version": "10.11.6-MariaDB-0+deb12u1",
    "max_allowed_packet": str(PACKET_BYTES_MIN),
    "innodb_flush_log_at_trx_commit": "1",
    "log_bin": "ON",
    "sync_binlog": "1",
    "binlog_format": "MIXED",
}


@pytest.mark.parametrize(
    ("spoil", "rule"),
    [
        ({"version": "10.5.29-MariaDB"}, r"10\.6"),
        ({"version": "8.0.15"}, r"8\.0\.16"),
        ({"version": "5.7.44-log"}, r"8\.0\.16"),
        ({"max_allowed_packet": str(PACKET_BYTES_MIN - 1)}, "max_allowed_packet = 16777216"),
        ({"innodb_flush_log_at_trx_commit": "2"}, "innodb_flush_log_at_trx_commit = 1"),
        ({"sync_binlog": "0"}, "sync_binlog = 1"),
        ({"binlog_format": "STATEMENT"}, "ROW or MIXED"),
    ],
)
def test_server_that_cannot_keep_our_promises_is_refused(spoil: dict[str, str], rule: str):
    """With the rule, and what to do about it."""
    with pytest.raises(SchemaProblem, match=rule):
        check_server(GOOD_SERVER | spoil)


@pytest.mark.parametrize(
    "facts",
    [
        *({"version": version} for version in ("10.6.0-MariaDB", "12.0.2-MariaDB-log", "8.0.16", "9.4.0")),
        {"log_bin": "OFF", "sync_binlog": "0", "binlog_format": "STATEMENT"},
    ],
)
def test_server_of_a_supported_release_is_served(facts: dict[str, str]):
    """From the oldest on; the binary log's settings count only where there is one."""
    check_server(GOOD_SERVER | facts)
