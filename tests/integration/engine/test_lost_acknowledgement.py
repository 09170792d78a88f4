"""The connection is cut while a write commits: the row tells whether it is durable; nothing is guessed or replayed."""

import asyncio
from contextlib import suppress

import pytest

from placet_coordinator.engine.errors import Overloaded, Unresolved
from placet_coordinator.engine.flusher import JournalLimits
from unit.engine.node import Limits, register, until


@pytest.fixture
async def near(make_node):
    """A node that sees the database without the proxy: it looks, and claims if it is asked to."""
    return await make_node(node_id="near", recovers=False)


@pytest.fixture
def far(make_node, proxy):
    """Starts a node behind the proxy; its statements are prepared, so that a write is one question and one answer."""

    async def start(**parts):
        node = await make_node(proxy.url, **parts)
        await node.begin("warm", "a")
        await node.commands.register("warm", register("b"))
        await node.commands.commit("warm", wait_ms=20_000)
        for gid in ("warm-1", "warm-2"):
            await node.begin(gid, "a")
        await asyncio.gather(*(node.commands.commit(gid, wait_ms=20_000) for gid in ("warm-1", "warm-2")))
        node.script.calls.clear()
        return node

    return start


async def cut_after(near, proxy, request, gid: str, version: int):
    """Lose the answer to a request's write, and cut the connection once the write is durable."""
    proxy.loses_answers = True
    task = asyncio.create_task(request)

    async def is_durable():
        found = await near.store.load(gid)
        return found is not None and found.version >= version

    await until(is_durable, f"version {version} of {gid} is durable")
    return task


async def test_write_that_was_durable_is_found_by_its_stamp(far, near, proxy):
    """The decision is answered as made, once: its version is the one that was written before the cut."""
    node = await far()
    node.script.hold("a/confirm")
    await node.begin("t", "a")
    committed = await cut_after(near, proxy, node.commands.commit("t"), "t", 2)
    proxy.cut()
    reply = await committed
    assert (reply.status, reply.version) == ("committing", 2)
    assert (await near.row("t")).version == 2
    node.script.release("a/confirm")
    await near.until_status("t", "committed")
    assert len(node.script.made("a/confirm")) == 1


async def test_begin_whose_answer_was_lost_is_new_once(far, near, proxy):
    """An insert that was durable is answered 201; no second row, no second call."""
    node = await far()
    begun = await cut_after(near, proxy, node.begin("t", "a"), "t", 1)
    proxy.cut()
    assert (await begun).version == 1
    assert (await node.commands.commit("t", wait_ms=20_000)).status == "committed"


async def test_write_that_never_arrived_is_stepped_again(far, near, proxy):
    """The row is as it was: the event, not the write, is applied to it anew."""
    node = await far()
    await node.begin("t", "a")
    proxy.loses_requests = True
    committed = asyncio.create_task(node.commands.commit("t", wait_ms=20_000))
    await proxy.got_request.wait()
    assert (await near.row("t")).version == 1
    proxy.cut()
    assert (await committed).status == "committed"
    assert len(node.script.made("a/confirm")) == 1


async def test_write_that_was_overtaken_is_stepped_again_and_not_replayed(far, near, proxy):
    """Somebody else wrote on top of the durable write before it could be looked for: the request becomes a repeat."""
    node = await far()
    await node.begin("t", "a")
    registered = await cut_after(near, proxy, node.commands.register("t", register("b")), "t", 2)
    added = await near.commands.register("t", register("c"))
    assert added.version >= 3
    proxy.cut()
    assert (await registered).version >= added.version
    row = await near.row("t")
    assert row.plan.count("branch_id") == 3
    assert row.owner == near.ownership.boot_id


async def test_nothing_was_written_is_not_said_of_a_write_that_was_lost_sight_of(far, near, proxy):
    """After an overtaken write even a node that may not try again says that the outcome is unknown."""
    node = await far(renews=False)
    await node.begin("t", "a")
    registered = await cut_after(near, proxy, node.commands.register("t", register("b")), "t", 2)
    await near.commands.register("t", register("c"))
    node.ownership._expires_at = 0
    proxy.cut()
    with pytest.raises(Unresolved, match="lost sight of"):
        await registered
    assert (await near.row("t")).plan.count("branch_id") == 3


async def test_each_write_of_a_batch_is_looked_for_by_itself(far, near, proxy):
    """After the cut each caller learns the fate of its own row: found, or overtaken and refused."""
    node = await far()
    gids = [f"t-{number}" for number in range(4)]
    for gid in gids:
        await node.begin(gid, "a")
    proxy.loses_answers = True
    aborted = await near.commands.abort("t-2")
    assert aborted.status == "aborting"
    commits = [asyncio.create_task(node.commands.commit(gid)) for gid in gids]

    async def are_durable():
        return [row for row in await near.store.load_many(gids) if row.status == "committing"][2:]

    await until(are_durable, "the other three are durable")
    proxy.cut()
    ends = await asyncio.gather(*commits, return_exceptions=True)
    assert [getattr(end, "status", "refused") for end in ends] == ["committing", "committing", "refused", "committing"]


async def test_store_that_takes_nothing_sheds_with_certainty(far, near, proxy):
    """Once no connection can be had, nothing was written, and callers are told so after the journal's patience."""
    node = await far(limits=Limits(journal=JournalLimits(store_patience_s=0.2, resolve_patience_s=0.2)), renews=False)
    await node.begin("t", "a")
    proxy.refuses = True
    proxy.cut()
    with pytest.raises((Overloaded, Unresolved)):  # this one may have met the cut itself
        await node.begin("t-1", "a")
    with pytest.raises(Overloaded, match="nothing was written"):
        await node.begin("t-2", "a")
    proxy.refuses = False
    await near.until_status("warm", "committed")

    async def is_served():
        with suppress(Overloaded, Unresolved):
            return (await node.commands.commit("t", wait_ms=20_000)).status == "committed"

    await until(is_served, "it serves again")
    assert await near.store.load_many(["t-1", "t-2"]) == []


async def test_short_outage_costs_time_alone(far, proxy):
    """While the store is away for less than the journal's patience, no caller notices more than a delay."""
    node = await far(limits=Limits(journal=JournalLimits(store_patience_s=20)), renews=False)
    await node.begin("t", "a")
    proxy.refuses = True
    proxy.cut()
    committed = asyncio.create_task(node.commands.commit("t", wait_ms=20_000))
    await until(lambda: [what for what, _ in node.notes.troubles if what == "store"], "the trouble is noticed")
    proxy.refuses = False
    assert (await committed).status == "committed"


async def test_write_of_which_nothing_can_be_learned_is_unresolved(far, near, proxy):
    """If the store stays away the caller is told that the outcome is unknown; a repeat finds it."""
    limits = Limits(journal=JournalLimits(resolve_patience_s=0.2))
    node = await far(limits=limits, renews=False)
    await node.begin("t", "a")
    committed = await cut_after(near, proxy, node.commands.commit("t"), "t", 2)
    proxy.refuses = True
    proxy.cut()
    with pytest.raises(Unresolved):
        await committed
    proxy.refuses = False
    await near.until_status("t", "committed")
    assert (await node.commands.commit("t")).status == "committed"
    assert len(node.script.made("a/confirm")) == 1


async def test_waiters_at_the_store_survive_an_outage(far, near, proxy):
    """A wait for a transaction of another node goes on when the store is back."""
    near.script.hold("a/confirm")
    await near.begin("t", "a")
    await near.commands.commit("t")
    there = await far(recovers=False, renews=False)
    waits = asyncio.create_task(there.ends.wait("t", None, 60_000))
    await until(lambda: there.ends._watched, "it waits at the store")
    proxy.refuses = True
    proxy.cut()
    looked = len(there.store.loads)
    await until(lambda: len(there.store.loads) > looked + 2, "it has looked in vain")
    proxy.refuses = False
    near.script.release("a/confirm")
    assert (await waits).status == "committed"


async def test_recovery_survives_an_outage(far, near, proxy):
    """What was due while the store was away is found when it is back."""
    node = await far(renews=False)
    await node.begin("t", "a", timeout_ms=100)
    node.driver.forget(node.driver.held["t"])
    proxy.refuses = True
    proxy.cut()
    await until(lambda: [what for what, _ in node.notes.troubles if what == "recovery"], "the outage is noticed")
    proxy.refuses = False
    assert (await near.until_status("t", "aborted")).reason == "timeout"
