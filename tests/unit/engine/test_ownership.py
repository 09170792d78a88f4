"""The lease: kept, lost, given back; and the clock that comes with it."""

import asyncio
from datetime import timedelta

from placet_coordinator.engine.ownership import ROUND_TRIP_MAX_S
from unit.engine.node import until

SHORT = timedelta(milliseconds=300)
PATIENT = timedelta(milliseconds=1_500)
"""For nodes that have to keep their lease however busy the machine is."""


async def lease_until_ms(node) -> int:
    """Return the end of the node's lease, as the store has it."""
    (found,) = [each for each in await node.store.nodes() if each.node_id == node.ownership.node_id]
    return found.lease_until_ms


async def test_lease_is_renewed(make_node):
    """A node that lives keeps its boot id and its transactions beyond the lease that it began with."""
    node = await make_node(lease=PATIENT)
    boot_id, first_ms = node.ownership.boot_id, await lease_until_ms(node)
    await node.begin("t", "a")
    await until(lambda: node.ownership.now_ms() > first_ms, "the first lease would be over")
    assert await lease_until_ms(node) > first_ms
    assert (node.ownership.boot_id, node.ownership.holds_lease) == (boot_id, True)
    assert "t" in node.driver.held


async def test_clock_is_the_databases(node):
    """The node tells time as the database does, to within the time of asking."""
    before = node.ownership.now_ms()
    told = await node.store.ping()
    assert before - 50 <= told <= node.ownership.now_ms() + 50


async def test_slow_answer_does_not_set_the_clock(make_node):
    """An answer that took long may be as old as its round trip; the clock goes on by the one before it."""
    node = await make_node(renews=False)
    offset_ms = node.ownership._offset_ms
    node.store.hold_answers()
    renewed = asyncio.create_task(node.ownership._renew())
    await node.store.has_read.wait()
    await asyncio.sleep(2 * ROUND_TRIP_MAX_S)
    node.store.let_answers_go()
    await renewed
    assert node.ownership._offset_ms == offset_ms
    assert node.ownership.holds_lease
    await node.ownership._renew()
    assert node.ownership._offset_ms != offset_ms


async def test_new_boot_of_a_named_node_supersedes_the_old_one_at_once(make_node):
    """The old life finds that it has lost its lease, and drops its copies; the new one drives them, long before."""
    old = await make_node(node_id="named", lease=timedelta(hours=1), renews=False, recovers=False)
    old.script.hold("a/confirm")
    await old.begin("t", "a")
    await old.commands.commit("t")
    new = await make_node(node_id="named", lease=timedelta(hours=1))
    await new.until_status("t", "committed")
    await old.ownership._renew()
    assert not old.ownership.holds_lease
    assert not old.driver.held


async def test_lost_lease_drops_all_copies_and_takes_a_new_boot_id(make_node, execute):
    """Others may have claimed by then: the node begins a new life, and takes up what nobody else has."""
    node = await make_node(lease=SHORT)
    boot_id = node.ownership.boot_id
    node.script.hold("a/confirm")
    await node.begin("t", "a")
    await node.commands.commit("t")
    copy = node.driver.held["t"]
    execute("update node set lease_until_ms = 1")
    await until(lambda: node.ownership.boot_id != boot_id and node.ownership.holds_lease, "it lives again")
    assert copy.dead
    await until(lambda: "t" in node.driver.held, "it has taken its transaction up")
    assert (await node.row("t")).owner == node.ownership.boot_id
    assert [what for what, _ in node.notes.troubles] == ["lease"]
    node.script.release("a/confirm")
    await node.until_status("t", "committed")


async def test_lease_that_runs_out_while_the_store_hangs_is_lost_in_time(make_node):
    """A renewal that gets no answer is not waited for beyond the lease's end: by then others may claim."""
    node = await make_node(lease=SHORT, recovers=False)
    await node.begin("t", "a")
    lost = asyncio.Event()
    node.ownership.lost = lost.set
    node.store.hold_answers()
    await asyncio.wait_for(lost.wait(), 10)
    assert not node.ownership.holds_lease
    node.store.let_answers_go()
    await until(lambda: node.ownership.holds_lease, "it lives again")


async def test_lease_that_has_run_out_by_our_own_clock_is_not_renewed(make_node):
    """A process that was stopped for too long lets go, even if the database would still renew."""
    node = await make_node(renews=False, recovers=False)
    boot_id = node.ownership.boot_id
    await node.begin("t", "a")
    node.ownership._expires_at = 0
    await node.ownership._renew()
    assert not node.driver.held
    assert not node.ownership.holds_lease
    await node.ownership._begin_anew()
    assert node.ownership.boot_id != boot_id
    assert node.ownership.holds_lease


async def test_renewal_whose_answer_came_too_late_is_none(make_node):
    """An answer that waited for a busy loop until the lease was over does not bring it back: calls were held back."""
    node = await make_node(renews=False, recovers=False)
    await node.begin("t", "a")
    renew = node.store.renew

    async def late(*arguments):
        now_ms = await renew(*arguments)
        node.ownership._expires_at = 0
        return now_ms

    node.store.renew = late
    await node.ownership._renew()
    assert not node.ownership.holds_lease
    assert not node.driver.held


async def test_writes_that_wait_are_not_written_under_a_lost_lease(make_node):
    """What was not yet with the store when the lease was lost is refused, and its callers step again."""
    node = await make_node(renews=False, recovers=False)
    await node.begin("t", "a")
    node.store.hold_writes()
    busy = asyncio.create_task(node.begin("busy"))
    await node.store.arrived.wait()
    committed = asyncio.create_task(node.commands.commit("t"))
    await until(lambda: node.driver.journal.depth == 2, "the decision waits")
    node.ownership._expires_at = 0
    await node.ownership._renew()
    node.store.let_writes_go()
    await busy
    (end,) = await asyncio.gather(committed, return_exceptions=True)
    assert "no lease" in str(end)
    assert (await node.row("t")).status == "active"
    await node.ownership._begin_anew()


async def test_decision_that_lands_after_the_lease_was_lost_is_carried_out_by_the_next_life(make_node):
    """A write that was with the store when the lease was lost is answered as it ended, and driven by whoever claims."""
    node = await make_node(renews=False, recovers=False)
    await node.begin("t", "a")
    node.store.hold_writes()
    committed = asyncio.create_task(node.commands.commit("t"))
    await node.store.arrived.wait()
    earlier = node.ownership.boot_id
    node.ownership._expires_at = 0
    await node.ownership._renew()
    node.store.let_writes_go()
    assert (await committed).status == "committing"
    assert not node.script.calls
    assert (await node.row("t")).owner == earlier
    await node.ownership._begin_anew()
    assert (await node.until_status("t", "committed")).owner == node.ownership.boot_id


async def test_released_lease_is_claimable_at_once(make_node):
    """A node that stops in order keeps nobody waiting for its lease to end."""
    one = await make_node(node_id="one", lease=timedelta(hours=1))
    await one.begin("t", "a", timeout_ms=600_000)
    two = await make_node(node_id="two", lease=timedelta(hours=1))
    await one.stop()
    await until(lambda: "t" in two.driver.held, "the other has taken it up")
    assert (await two.row("t")).owner == two.ownership.boot_id
