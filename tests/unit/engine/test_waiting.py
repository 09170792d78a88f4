"""Waiting for an end, whoever brings it about."""

import asyncio

import pytest

from placet_coordinator.engine import waiting
from placet_coordinator.engine.held import Lane
from unit.engine.node import until


async def test_wait_ends_with_the_transaction(node):
    """Commit with a wait is answered with the end; the write of the end is hurried for it."""
    node.script.hold("a/confirm")
    await node.begin("t", "a")
    committed = asyncio.create_task(node.commands.commit("t", wait_ms=60_000))
    await until(lambda: node.script.made("a/confirm"), "the confirm is out")
    assert not committed.done()
    node.script.release("a/confirm")
    assert (await committed).status == "committed"


async def test_wait_is_over_at_its_time(node):
    """The answer tells the durable status that it stands at."""
    node.script.hold("a/confirm")
    await node.begin("t", "a")
    assert (await node.commands.commit("t", wait_ms=20)).status == "committing"
    assert not node.driver.held["t"].finish_waiters


async def test_waits_for_transactions_of_another_node_are_one_query(make_node):
    """Fifty waiters at a node that drives none of them: each looks once, and then one query asks for all."""
    one, two = await make_node(node_id="one"), await make_node(node_id="two", recovers=False)
    one.script.hold("a/confirm")
    gids = [f"t-{number:02}" for number in range(50)]
    for gid in gids:
        await one.begin(gid, "a")
        await one.commands.commit(gid)
    two.store.loads.clear()
    waits = [asyncio.create_task(two.ends.wait(gid, None, 60_000)) for gid in gids]
    await until(lambda: len(two.store.loads) >= 53, "it has asked for some time")
    singles = [asked for asked in two.store.loads if len(asked) == 1]
    batched = [asked for asked in two.store.loads if len(asked) > 1]
    assert len(singles) == 50
    assert all(sorted(asked) == gids for asked in batched)
    one.script.release("a/confirm")
    assert {row.status for row in await asyncio.gather(*waits)} == {"committed"}
    await until(lambda: two.ends._poller is None, "nobody waits, and nobody asks any more")


async def test_wait_goes_on_at_the_store_when_the_copy_is_dropped(make_node):
    """A waiter does not notice that another node has taken its transaction over."""
    one, two = await make_node(node_id="one", recovers=False), await make_node(node_id="two", recovers=False)
    one.script.hold("a/confirm")
    await one.begin("t", "a")
    committed = asyncio.create_task(one.commands.commit("t", wait_ms=60_000))
    await until(lambda: one.driver.held["t"].finish_waiters, "somebody waits")
    (claimed,) = await two.store.claim_lapsed(two.ownership.boot_id, 2**50, 2**50, 10)
    two.driver.adopt(claimed)
    await two.until_status("t", "committed")
    one.driver.forget(one.driver.held["t"])
    assert (await committed).status == "committed"


async def test_copy_that_has_ended_keeps_nobody_waiting(node):
    """Who comes to wait just after the end is answered from the store."""
    await node.begin("t", "a")
    held = node.driver.held["t"]
    await node.commands.commit("t", wait_ms=5_000)
    row = await node.ends.wait("t", held, 60_000)
    assert row.status == "committed"


async def test_wait_hurries_an_end_that_rides_along(node):
    """Who comes to wait for an end that is not yet written does not wait for a batch to ride with."""
    node.script.hold("a/confirm")
    await node.begin("t", "a")
    await node.commands.commit("t")
    held = node.driver.held["t"]
    node.script.release("a/confirm")
    assert held.pending.lane is Lane.RIDER
    waits = asyncio.create_task(node.ends.wait("t", held, 60_000))
    await asyncio.sleep(0)
    assert held.writing or held.pending.lane is Lane.URGENT
    assert (await waits).transaction.status == "committed"


async def test_drain_answers_those_who_wait_with_the_status_as_it_is(make_node):
    """A node that stops lets nobody wait, neither in memory nor at the store."""
    one, two = await make_node(node_id="one"), await make_node(node_id="two", recovers=False)
    one.script.hold("a/confirm")
    await one.begin("t", "a")
    here = asyncio.create_task(one.commands.commit("t", wait_ms=60_000))
    there = asyncio.create_task(two.commands.commit("t", wait_ms=60_000))
    await until(lambda: one.driver.held["t"].finish_waiters and two.ends._watched, "both wait")
    for node in (one, two):
        node.ends.stop()
        node.driver.release_waiters()
    assert {reply.status for reply in await asyncio.gather(here, there)} == {"committing"}


async def test_number_of_waiters_is_limited(node, monkeypatch):
    """Beyond the limit a wait ends at once; the answer is as good, only earlier."""
    monkeypatch.setattr(waiting, "WAITERS_MAX", 1)
    node.script.hold("a/confirm")
    for gid in ("t-1", "t-2"):
        await node.begin(gid, "a")
    first = asyncio.create_task(node.commands.commit("t-1", wait_ms=60_000))
    await until(lambda: node.driver.held["t-1"].finish_waiters, "one waits")
    assert (await node.commands.commit("t-2", wait_ms=60_000)).status == "committing"
    node.script.release("a/confirm")
    assert (await first).status == "committed"


@pytest.mark.parametrize("wait_ms", [0, 1])
async def test_final_status_is_never_waited_for(node, wait_ms):
    """A repeat for a finished transaction is answered at once."""
    await node.begin("t", "a")
    await node.commands.commit("t", wait_ms=5_000)
    assert (await node.commands.commit("t", wait_ms=wait_ms)).status == "committed"
