"""Recovery never forgets, takes from nobody who lives, and is stopped by no single row."""

import asyncio
import sqlite3
from datetime import timedelta

import pytest
from msgspec.structs import replace

from placet_contract.vocabulary import Pattern
from placet_coordinator.core.calling import LOOK_AGAIN_MS
from placet_coordinator.engine.driver import DriverLimits
from placet_coordinator.engine.flusher import JournalLimits
from placet_coordinator.engine.recovery import RecoveryLimits
from placet_coordinator.ports.store import StoreUnavailable
from unit.engine.node import Limits, branch, register, until
from unit.engine.script import REJECTED, Script
from unit.engine.test_ownership import PATIENT, lease_until_ms

LONG = timedelta(hours=1)
QUICK = timedelta(milliseconds=30)
LAPSE = "update node set lease_until_ms = 1 where node_id = ?"

# What is begun and asked, what hangs when the node dies, the status then, and where it ends.
LIVES = {
    "active tcc": ({"timeout_ms": 200}, None, "a/confirm", "active", "aborted"),
    "committing tcc": ({}, "commit", "a/confirm", "committing", "committed"),
    "aborting tcc": ({}, "abort", "a/cancel", "aborting", "aborted"),
    "active driven tcc": ({"drive": True}, None, "a/try", "active", "aborted"),
    "committing driven tcc": ({"drive": True}, None, "b/confirm", "committing", "committed"),
    "active saga": ({"pattern": Pattern.SAGA}, None, "b/action", "active", "committed"),
    "committing saga": (
        {"pattern": Pattern.SAGA, "branches": [branch("a", pivot=True), branch("b")]},
        None,
        "b/action",
        "committing",
        "committed",
    ),
    "aborting saga": ({"pattern": Pattern.SAGA}, "reject b", "a/compensate", "aborting", "aborted"),
}


@pytest.mark.parametrize("life", LIVES)
async def test_transaction_in_any_open_status_is_found_after_a_restart(make_node, life):
    """A node that comes back finds what it had open, in whatever status, and drives it to its end."""
    fields, asked, hangs, status, final = LIVES[life]
    old = await make_node(node_id="named", lease=LONG)
    old.script.hold(hangs)
    if asked == "reject b":
        old.script.answer("b/action", REJECTED)
    await old.begin("t", "a", "b", **fields)
    if asked in ("commit", "abort"):
        await getattr(old.commands, asked)("t")
    await old.until_status("t", status)
    if hangs in ("b/action", "a/compensate", "a/try", "b/confirm"):
        await until(lambda: old.script.made(hangs), f"{hangs} hangs")
    await old.die()
    new = await make_node(node_id="named", lease=LONG)
    row = await new.until_status("t", final)
    assert row.version > 1
    assert row.owner == new.ownership.boot_id


async def test_survivor_takes_over_when_the_lease_has_lapsed(make_node):
    """A dead node's transactions are claimed after its lease, not before, and finished."""
    script = Script()
    one = await make_node(node_id="one", lease=PATIENT, script=script)
    two = await make_node(node_id="two", lease=LONG, script=script)
    script.hold("a/confirm")
    gids = [f"t-{number}" for number in range(20)]
    for gid in gids:
        await one.begin(gid, "a")
        await one.commands.commit(gid)
    versions = {gid: (await one.row(gid)).version for gid in gids}
    await one.die()
    ends_ms = await lease_until_ms(one)
    await until(lambda: len(two.driver.held) == 20, "the survivor holds them")
    assert two.clock.now_ms() >= ends_ms
    for gid in gids:
        row = await two.row(gid)
        assert row.owner == two.ownership.boot_id
        assert row.version > versions[gid]
    script.release("a/confirm")
    for gid in gids:
        await two.until_status(gid, "committed")


async def test_claim_leaves_what_a_living_node_drives(make_node):
    """As long as leases are renewed every transaction stays with its owner."""
    one = await make_node(node_id="one", lease=PATIENT)
    two = await make_node(node_id="two", lease=LONG)
    await one.begin("t", "a")
    first_ms = await lease_until_ms(one)
    await until(lambda: two.clock.now_ms() > first_ms + 100, "the first lease would be over, and a sweep as well")
    assert (await one.row("t")).owner == one.ownership.boot_id
    assert not two.driver.held


async def test_writes_of_a_stale_node_hit_no_row(make_node):
    """A node that was stopped, and whose transaction was claimed meanwhile, writes nothing when it wakes up."""
    one = await make_node(node_id="one", lease=PATIENT)
    await one.begin("t", "a")
    one.store.hold_writes()
    committed = asyncio.create_task(one.commands.commit("t"))
    await one.store.arrived.wait()
    one.ownership.lost = lambda: None  # it sleeps: not even its own loss is noticed
    for name in ("ownership", "recovery"):
        one._tasks[name].cancel()
    two = await make_node(node_id="two", lease=LONG)
    await until(lambda: "t" in two.driver.held, "the other one has claimed it")
    await two.commands.abort("t", wait_ms=5_000)
    one.store.let_writes_go()
    (end,) = await asyncio.gather(committed, return_exceptions=True)
    assert "no lease" in str(end)
    assert (await two.row("t")).status == "aborted"
    assert not one.script.calls
    assert not one.driver.held


async def test_outcome_of_a_stale_node_is_dropped(make_node):
    """The answer to a call of an earlier owner is not mixed into what the new owner drives."""
    one, two = await make_node(node_id="one", recovers=False), await make_node(node_id="two", recovers=False)
    one.script.hold("a/confirm", "b/confirm")
    two.script.hold("b/confirm")
    await one.begin("t", "a", "b")
    await one.commands.commit("t")
    (claimed,) = await two.store.claim_lapsed(two.ownership.boot_id, 2**50, 2**50, 10)
    two.driver.adopt(claimed)
    one.script.release("a/confirm")
    await until(lambda: "t" not in one.driver.held, "the stale copy is gone")
    await one.recovery.sweep()
    assert "t" not in one.driver.held
    two.script.release("b/confirm")
    row = await two.until_status("t", "committed")
    assert row.owner == two.ownership.boot_id
    assert len(two.script.made("a/confirm")) == 1


async def test_row_that_is_overdue_by_two_leases_is_claimed_whoever_owns_it(make_node, change_row):
    """A live owner that does not look at its own row loses it: nothing is forgotten."""
    one = await make_node(node_id="one", recovers=False)
    two = await make_node(node_id="two", recovers=False)
    lease_ms = two.ownership.lease_ms
    await one.begin("t", "a")
    one.driver.drop_all()
    change_row("t", next_due_at_ms=two.clock.now_ms() - lease_ms)
    await two.recovery.sweep()
    assert not two.driver.held
    change_row("t", next_due_at_ms=two.clock.now_ms() - 2 * lease_ms - 50)
    await two.recovery.sweep()
    assert (await two.row("t")).owner == two.ownership.boot_id


async def test_row_whose_due_time_comes_too_early_is_put_right_by_its_owner(make_node, change_row):
    """A transaction in memory whose row is due before its time is not taken for overdue (decision 0005)."""
    one = await make_node(node_id="one")
    one.script.hold("a/confirm")
    await one.begin("t", "a")
    await one.commands.commit("t")
    await until(lambda: one.driver.held["t"].is_fenced and not one.driver.held["t"].writing, "the decision is durable")
    early_ms = one.clock.now_ms() + 20
    change_row("t", next_due_at_ms=early_ms)
    held = one.driver.held["t"]

    async def is_put_right():
        return (await one.row("t")).next_due_at_ms == held.transaction.next_due_at_ms

    await until(is_put_right, "the row says when it is due")
    assert await one.store.claim_lapsed("another-boot-id", one.clock.now_ms(), early_ms + 1, 10) == []
    assert one.driver.held["t"] is held


async def test_due_time_beyond_the_horizon_is_written_as_it_is(make_node):
    """What leaves memory is found again by its row, so the row is exact, whatever it said before."""
    node = await make_node()
    await node.begin("t", "a", timeout_ms=30_000)
    stored_ms = (await node.row("t")).next_due_at_ms
    held = node.driver.held["t"]
    await node.commands.register("t", register("b"))
    assert (await node.row("t")).next_due_at_ms == stored_ms
    far_ms = node.clock.now_ms() + LOOK_AGAIN_MS + 60_000
    held.transaction = replace(held.transaction, next_due_at_ms=far_ms)
    node.driver.touch(held, await node.row("t"))

    async def is_exact():
        return (await node.row("t")).next_due_at_ms == far_ms

    await until(is_exact, "the row is exact")


async def test_row_of_a_newer_format_is_neither_claimed_nor_written(make_node, change_row, execute):
    """An older node leaves it to newer ones, however long it is overdue."""
    one = await make_node(node_id="one")
    await one.begin("t", "a", timeout_ms=50)
    await one.die()
    change_row("t", format=2, next_due_at_ms=1)
    before = await one.row("t")
    two = await make_node(node_id="two", recovers=False)
    execute(LAPSE, "one")
    await two.recovery.sweep()
    assert not two.driver.held
    assert await two.row("t") == before


DAMAGES = [
    {"plan": '{"branches":[{"x":1}]}'},
    {"progress": "not json"},
    {"progress": '{"branches":[{},{},{}]}'},
    {"pattern": "xa"},
    {"pattern": "nobody knows"},
]


@pytest.mark.parametrize("damage", DAMAGES, ids=str)
async def test_damaged_row_is_reported_and_left(make_node, change_row, damage):
    """A row that can't be read or driven stops no other row's recovery; it is reported once."""
    old = await make_node(node_id="named", lease=LONG)
    for gid in ("t-1", "t-2", "t-3"):
        await old.begin(gid, "a", timeout_ms=50)
    await old.die()
    change_row("t-2", **damage)
    before = await old.row("t-2")
    new = await make_node(node_id="named", lease=LONG)
    for gid in ("t-1", "t-3"):
        await new.until_status(gid, "aborted")
    await asyncio.sleep(0.1)
    after = await new.row("t-2")
    assert (after.plan, after.progress, after.status) == (before.plan, before.progress, before.status)
    assert [what for what, cause in new.notes.troubles if "t-2" in cause] == ["damaged row"]


async def test_recovery_survives_a_defect(make_node):
    """Whatever goes wrong in a sweep, the next one comes."""
    node = await make_node(recovers=False)
    claim = node.store.claim_lapsed
    sweeps = []

    async def failing(*arguments):
        sweeps.append(arguments)
        if len(sweeps) == 1:
            raise ZeroDivisionError("a defect")
        return await claim(*arguments)

    node.store.claim_lapsed = failing
    node._tasks["recovery"] = asyncio.create_task(node.recovery.run())
    await until(lambda: len(sweeps) > 2, "it sweeps on")
    assert [what for what, _ in node.notes.troubles] == ["defect"]


async def test_claimed_row_replaces_an_older_copy(make_node, execute):
    """What this node remembers of a transaction that others have changed since gives way to what it claims."""
    one = await make_node(node_id="one", recovers=False)
    two = await make_node(node_id="two", recovers=False)
    await one.begin("t", "a")
    older = one.driver.held["t"]
    await two.commands.register("t", register("b"))
    await two.die()
    execute(LAPSE, "two")
    await one.recovery.sweep()
    assert older.dead
    assert one.driver.held["t"].version >= 3
    assert len(one.driver.held["t"].transaction.branches) == 2


async def test_claims_come_in_pages(make_node, execute):
    """A dead node's transactions are claimed page by page, all in one sweep as far as the limit goes."""
    one = await make_node(node_id="one", lease=LONG)
    for number in range(25):
        await one.begin(f"t-{number}", "a", timeout_ms=600_000)
    await one.die()
    execute(LAPSE, "one")
    pages = Limits(recovery=RecoveryLimits(page=4, pages_per_sweep_max=5))
    two = await make_node(node_id="two", recovers=False, limits=pages)
    await two.recovery.sweep()
    assert len(two.driver.held) == 20
    await two.recovery.sweep()
    assert len(two.driver.held) == 25


async def test_no_more_is_claimed_than_fits_into_memory(make_node, execute):
    """A survivor takes up what it can hold; the rest waits for another or for room."""
    one = await make_node(node_id="one", lease=LONG)
    for number in range(10):
        await one.begin(f"t-{number}", "a", timeout_ms=600_000)
    await one.die()
    execute(LAPSE, "one")
    few = Limits(recovery=RecoveryLimits(page=3, open_transactions_max=5))
    two = await make_node(node_id="two", recovers=False, limits=few)
    await two.recovery.sweep()
    assert 5 <= len(two.driver.held) <= 7


async def test_rows_in_memory_do_not_hide_those_that_are_not(make_node, change_row):
    """However many of this node's due rows are in memory, the one that is not is found."""
    pages = Limits(recovery=RecoveryLimits(page=2, pages_per_sweep_max=20), driver=DriverLimits(horizon_ms=3_600_000))
    node = await make_node(recovers=False, limits=pages)
    for number in range(12):
        await node.begin(f"t-{number:02}", "a", timeout_ms=600_000)
    for number in range(12):
        change_row(f"t-{number:02}", next_due_at_ms=node.clock.now_ms() - 1_000 + number)
    node.driver.forget(node.driver.held["t-11"])
    await node.recovery.sweep()
    assert "t-11" in node.driver.held


async def test_row_that_was_read_before_its_end_is_not_taken_up_after_it(make_node, change_row):
    """A sweep whose read is older than what this node has finished meanwhile calls nobody again."""
    node = await make_node(recovers=False)
    node.script.hold("a/action")
    await node.begin("t", "a", pattern=Pattern.SAGA)
    change_row("t", next_due_at_ms=1)
    node.store.hold_answers()
    swept = asyncio.create_task(node.recovery.sweep())
    await node.store.has_read.wait()
    node.script.release("a/action")
    await until(lambda: "t" not in node.driver.held, "it has ended")
    node.store.let_answers_go()
    await swept
    assert "t" not in node.driver.held
    assert len(node.script.made("a/action")) == 1
    assert node.driver.left is None


async def test_row_that_was_claimed_while_its_older_copy_left_memory_is_taken_up(make_node, execute):
    """The claim's answer is passed over, for it might be older than the copy; the next sweep looks again."""
    one = await make_node(node_id="one", recovers=False)
    two = await make_node(node_id="two", recovers=False)
    await one.begin("t", "a")
    await two.commands.register("t", register("b"))
    await two.die()
    execute(LAPSE, "two")
    claim = one.store.claim_lapsed

    async def forgetful(*arguments):
        claimed = await claim(*arguments)
        one.driver.forget(one.driver.held["t"])
        return claimed

    one.store.claim_lapsed = forgetful
    await one.recovery.sweep()
    one.store.claim_lapsed = claim
    await one.recovery.sweep()
    assert one.driver.held["t"].transaction.branches[1].branch_id == "b"


async def test_transaction_whose_write_was_refused_is_driven_on(make_node, sqlite_url):
    """A result that could not be written is asked for again, once the store takes writes."""
    limits = Limits(journal=JournalLimits(conflict_retries_max=1), recovery=RecoveryLimits(sweep_every=QUICK))
    node = await make_node(limits=limits, renews=False)
    node.script.hold("a/confirm")
    await node.begin("t", "a")
    await node.commands.commit("t")
    copy = node.driver.held["t"]
    other = sqlite3.connect(sqlite_url.removeprefix("sqlite:///"), isolation_level=None)
    other.execute("begin immediate")
    node.script.release("a/confirm")
    await until(lambda: copy.dead, "the write was refused")
    other.execute("rollback")
    other.close()
    await node.until_status("t", "committed")
    assert len(node.script.made("a/confirm")) == 2


async def test_write_that_arrives_late_finds_that_nothing_was_sent_behind_its_back(make_node):
    """After a write was lost sight of, the new copy calls nobody before a write of its own (decision 0014).

    The late one says that the second step was never sent, and so would never be undone: it must stay true.
    """
    node = await make_node(recovers=False)
    node.script.hold("a/action")
    await node.begin("t", pattern=Pattern.SAGA, branches=[branch("a", timeout_ms=50), branch("b")])
    late, write = [], node.store.write

    async def lose(batch):
        late.extend(batch)
        raise StoreUnavailable("the answer was lost", wrote_nothing=False)

    node.store.write = lose
    aborted = asyncio.create_task(node.commands.abort("t"))
    await until(lambda: late and "t" not in node.driver.held, "the abort was lost sight of")
    aborted.cancel()
    await asyncio.wait([aborted])
    node.store.write = write
    node.store.hold_writes()
    node.script.release("a/action")
    await node.recovery.sweep()
    await node.store.arrived.wait()
    assert [call.name for call in node.script.calls] == ["a/action"]
    await node.store._store.write(late[:1])
    node.store.let_writes_go()
    await until(lambda: "t" not in node.driver.held, "the new copy has given way")
    await node.recovery.sweep()
    await node.until_status("t", "aborted")
    assert not node.script.made("b/action")
    assert node.script.made("a/compensate")


async def test_old_transactions_are_deleted_in_small_batches(make_node):
    """Tidying deletes what is past the retention, and says when it left some for the next time."""
    recovery = RecoveryLimits(purge_batch=4, pages_per_sweep_max=2, retention=timedelta(0))
    node = await make_node(recovers=False, limits=Limits(recovery=recovery))
    for number in range(10):
        await node.begin(f"t-{number}")
        await node.commands.commit(f"t-{number}")
    await node.begin("open", "a")
    await asyncio.sleep(0.005)
    assert not await node.recovery.tidy()
    assert await node.recovery.tidy()
    assert [row.gid for row in await node.store.load_many([*(f"t-{number}" for number in range(10)), "open"])] == [
        "open"
    ]
