"""A row that some other session has locked harms whoever writes to it, and nobody else."""

import asyncio

import pytest

from conformance.store.sessions import lock_held, uncommitted_row
from placet_coordinator.engine.errors import Overloaded
from placet_coordinator.engine.flusher import JournalLimits
from unit.engine.node import Limits, register, until

GIDS = [f"t-{number}" for number in range(6)]


async def test_locked_row_harms_its_own_caller_only(node, server_url):
    """Of six decisions in one batch five are answered while the sixth waits for its row; then it is answered, too."""
    for gid in GIDS:
        await node.begin(gid, "a")
    with lock_held(server_url, "t-3"):
        commits = {gid: asyncio.create_task(node.commands.commit(gid, wait_ms=20_000)) for gid in GIDS}
        others = [commits[gid] for gid in GIDS if gid != "t-3"]
        assert {reply.status for reply in await asyncio.gather(*others)} == {"committed"}
        assert not commits["t-3"].done()
    assert (await commits["t-3"]).status == "committed"
    assert len(node.script.made("a/confirm")) == 6


async def test_later_batches_do_not_meet_the_lock_again(node, server_url):
    """While the locked row's write waits aside, its gid stays out of batches: none of them is refused or delayed."""
    asked = _count_calls(node.store, "free")
    for gid in GIDS:
        await node.begin(gid, "a")
    with lock_held(server_url, "t-3"):
        stuck = asyncio.create_task(node.commands.commit("t-3"))
        await until(lambda: node.driver.journal._queue.is_parked("t-3"), "the write waits aside")
        behind = asyncio.create_task(node.commands.commit("t-3", wait_ms=20_000))
        for gid in ("t-0", "t-1", "t-2", "t-4", "t-5"):
            assert (await node.commands.commit(gid, wait_ms=20_000)).status == "committed"
        assert len(asked) == 1
        assert not stuck.done()
        assert not behind.done()
    assert (await stuck).status == "committing"
    assert (await behind).status == "committed"


def _count_calls(store, name):
    method, calls = getattr(store, name), []

    async def counted(*arguments):
        calls.append(arguments)
        return await method(*arguments)

    setattr(store, name, counted)
    return calls


async def test_steps_behind_a_locked_row_are_written_after_it(node, server_url):
    """A registration waits for its lock, and the commit behind it for the registration: both are answered in turn."""
    await node.begin("t", "a")
    with lock_held(server_url, "t"):
        registered = asyncio.create_task(node.commands.register("t", register("b")))
        await until(lambda: node.driver.journal._queue.is_parked("t"), "the write waits aside")
        committed = asyncio.create_task(node.commands.commit("t", wait_ms=20_000))
        await until(lambda: node.driver.held["t"].pending is not None, "the commit waits behind it")
    assert (await registered).version == 2
    assert (await committed).status == "committed"
    assert {call.name for call in node.script.calls} == {"a/confirm", "b/confirm"}


async def test_decision_without_a_read_waits_for_its_lock_aside(node, server_url):
    """It needs its row's lock like any other write."""
    await node.begin("t", "a")
    node.driver.drop_all()
    with lock_held(server_url, "t"):
        committed = asyncio.create_task(node.commands.commit("t", wait_ms=20_000))
        await until(lambda: node.driver.journal._queue.is_parked("t"), "the write waits aside")
        assert (await node.begin("other", "a")).status == "active"
    assert (await committed).status == "committed"


async def test_begin_waits_for_another_sessions_insert_of_its_gid(node, server_url):
    """A begin whose gid is being inserted by a session that hangs waits for it alone."""
    with uncommitted_row(server_url, "t"):
        begun = asyncio.create_task(node.begin("t", "a"))
        await until(lambda: node.driver.journal._queue.is_parked("t"), "the insert waits aside")
        assert (await node.begin("other", "a")).status == "active"
        assert not begun.done()
    assert (await begun).version == 1


async def test_row_that_stays_locked_is_given_up_and_driven_on_later(make_node, server_url):
    """After its patience the caller is told that nothing was written; the transaction goes on once the row is free."""
    node = await make_node(limits=Limits(journal=JournalLimits(aside_patience_s=0.1)))
    await node.begin("t", "a")
    with lock_held(server_url, "t"):
        with pytest.raises(Overloaded, match="nothing was written"):
            await node.commands.commit("t")
        assert (await node.row("t")).status == "active"
    assert (await node.commands.commit("t", wait_ms=20_000)).status == "committed"
