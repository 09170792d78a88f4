"""The journal gathers what comes while a batch commits, and tells each caller the fate of its own write."""

import asyncio
import sqlite3

import pytest
from msgspec import Raw

from placet_coordinator.core.rule import RuleBroken
from placet_coordinator.engine.errors import Overloaded, Refused, Unresolved
from placet_coordinator.engine.flusher import JournalLimits
from placet_coordinator.engine.held import Lane
from placet_coordinator.engine.rows import from_row
from placet_coordinator.ports.rows import EntryKind
from unit.engine.node import Limits, branch, register, until

MIB = 1_048_576


def gids(batch) -> list[str]:
    return [entry.row.gid for entry in batch]


async def test_writes_are_gathered_while_the_batch_before_them_commits(node):
    """Whatever arrives during one commit goes out together with the next one."""
    node.store.hold_writes()
    first = asyncio.create_task(node.begin("t-0"))
    await node.store.arrived.wait()
    others = [asyncio.create_task(node.begin(f"t-{number}")) for number in range(1, 6)]
    await until(lambda: node.driver.journal.depth == 6, "six writes are on their way")
    node.store.let_writes_go()
    await asyncio.gather(first, *others)
    assert [gids(batch) for batch in node.store.batches] == [["t-0"], ["t-1", "t-2", "t-3", "t-4", "t-5"]]


async def test_next_batch_is_with_the_store_before_the_last_one_is_settled(node):
    """The database does not stand still while callers are told."""
    settled_when_sent = []
    write = node.store.write

    async def watched(batch):
        settled_when_sent.append([task.done() for task in begun])
        return await write(batch)

    node.store.write = watched
    node.store.hold_writes()
    begun = [asyncio.create_task(node.begin("t-0"))]
    await node.store.arrived.wait()
    begun.append(asyncio.create_task(node.begin("t-1")))
    await until(lambda: node.driver.journal.depth == 2, "both writes are on their way")
    node.store.let_writes_go()
    await asyncio.gather(*begun)
    assert settled_when_sent == [[False], [False, False]]


async def test_a_store_that_never_waits_settles_writes_in_their_order(node):
    """A batch's answer may come before the loop had a turn to settle the batch before: it is settled first."""
    await node.begin("t", "a")
    held, settled = node.driver.held["t"], []
    settle = node.driver.journal._flusher._settle

    def noted(write, end):
        settled.append((write.version, end.value))
        settle(write, end)

    answers = iter([{0: None}, {}])

    async def answered_at_once(_batch):
        if not settled:
            node.driver.journal.append(held, held.transaction, Lane.URGENT)
        return next(answers)

    node.driver.journal._flusher._settle = noted
    node.store.write = answered_at_once
    node.driver.journal.append(held, held.transaction, Lane.URGENT)
    await until(lambda: len(settled) == 2, "both writes are settled")
    assert settled == [(2, "durable"), (3, "missed")]


async def test_batch_holds_at_most_256_entries(node):
    """However many writes wait, one batch takes 256 of them."""
    node.store.hold_writes()
    begun = [asyncio.create_task(node.begin(f"t-{number}")) for number in range(600)]
    await until(lambda: node.driver.journal.depth == 600, "all writes are on their way")
    node.store.let_writes_go()
    await asyncio.gather(*begun)
    sizes = [len(batch) for batch in node.store.batches]
    assert sum(sizes) == 600
    assert max(sizes) == 256


async def test_batch_holds_at_most_one_mib_of_documents(node):
    """A write that would take a batch over 1 MiB waits for the next one."""
    node.store.hold_writes()
    branches = [branch("a", payload=Raw(b'"%b"' % (b"x" * 300_000)))]
    begun = [asyncio.create_task(node.begin(f"t-{number}", branches=branches)) for number in range(8)]
    await until(lambda: node.driver.journal.depth == 8, "all writes are on their way")
    node.store.let_writes_go()
    await asyncio.gather(*begun)
    sizes = [sum(len(entry.row.plan) + len(entry.row.progress) for entry in batch) for batch in node.store.batches]
    assert max(sizes) <= MIB
    assert max(len(batch) for batch in node.store.batches) == 3


async def test_bytes_count_not_characters(node):
    """Text beyond ASCII takes more room than it has characters."""
    node.store.hold_writes()
    branches = [branch("a", payload=Raw(b'"%b"' % ("\N{SNOWMAN}" * 200_000).encode()))]
    begun = [asyncio.create_task(node.begin(f"t-{number}", branches=branches)) for number in range(3)]
    await until(lambda: node.driver.journal.depth == 3, "all writes are on their way")
    node.store.let_writes_go()
    await asyncio.gather(*begun)
    assert [len(batch) for batch in node.store.batches] == [1, 1, 1]


async def test_write_over_one_mib_goes_alone(make_node):
    """A single write may be larger than a batch; nothing else rides with it."""
    node = await make_node(limits=Limits(journal=JournalLimits(batch_bytes_max=2_000)))
    node.store.hold_writes()
    sizes = {"t-0": 10, "t-1": 10, "t-2": 5_000, "t-3": 10}
    begun = []
    for gid, size in sizes.items():
        branches = [branch("a", payload=Raw(b'"%b"' % (b"x" * size)))]
        begun.append(asyncio.create_task(node.begin(gid, branches=branches)))
    await until(lambda: node.driver.journal.depth == 4, "all writes are on their way")
    node.store.let_writes_go()
    await asyncio.gather(*begun)
    assert ["t-2"] in [gids(batch) for batch in node.store.batches]


async def test_batch_holds_at_most_one_write_of_a_gid(node):
    """Two decisions of one transaction that are not in memory go out one after the other, and one of them wins."""
    await node.begin("t", "a")
    node.driver.drop_all()
    node.store.hold_writes()
    busy = asyncio.create_task(node.begin("busy"))
    await node.store.arrived.wait()
    commit = asyncio.create_task(node.commands.commit("t"))
    abort = asyncio.create_task(node.commands.abort("t"))
    await until(lambda: node.driver.journal.depth == 3, "both decisions are on their way")
    node.store.let_writes_go()
    await busy
    ends = await asyncio.gather(commit, abort, return_exceptions=True)
    assert all(len(set(gids(batch))) == len(batch) for batch in node.store.batches)
    assert ends[0].status == "committing"
    assert isinstance(ends[1], Refused)


async def test_two_branch_tcc_costs_three_entries(node):
    """Begin with its branches, the decision, the finish: what the store counts is what the design promises."""
    before = node.store.statistics()["entries"]
    for number in range(10):
        await node.begin(f"t-{number}", "a", "b")
        reply = await node.commands.commit(f"t-{number}", wait_ms=5_000)
        assert reply.status == "committed"
    assert node.store.statistics()["entries"] - before == 30


async def test_two_branch_tcc_costs_three_entries_among_many(node):
    """The budget holds for transactions that run at the same time."""
    before = node.store.statistics()["entries"]

    async def transfer(gid):
        await node.begin(gid, "a", "b")
        await node.commands.commit(gid, wait_ms=5_000)

    await asyncio.gather(*(transfer(f"t-{number}") for number in range(50)))
    assert node.store.statistics()["entries"] - before == 150


async def test_result_of_a_call_is_folded_into_the_next_write(node):
    """The first of two confirms is not written by itself: the finish carries both."""
    node.script.hold("b/confirm")
    await node.begin("t", "a", "b")
    await node.commands.commit("t")
    await until(lambda: node.driver.held["t"].transaction.progress[0].status == "confirmed", "a is confirmed")
    node.script.release("b/confirm")
    await node.until_status("t", "committed")
    entries = [entry for batch in node.store.batches for entry in batch if entry.row.gid == "t"]
    assert [entry.row.version for entry in entries] == list(range(1, len(entries) + 1))
    assert [entry.row.status for entry in entries][-1] == "committed"
    assert entries[-1].row.progress.count("confirmed") == 2


async def test_steps_that_share_a_write_are_all_in_it(node):
    """A registration and the commit behind it may go out as one entry: branches, decision and all."""
    await node.begin("t", "a")
    node.store.hold_writes()
    busy = asyncio.create_task(node.begin("busy"))
    await node.store.arrived.wait()
    registered = asyncio.create_task(node.commands.register("t", register("b")))
    committed = asyncio.create_task(node.commands.commit("t", wait_ms=5_000))
    await until(lambda: node.driver.held["t"].transaction.status == "committing", "both are stepped")
    assert node.driver.journal.depth == 2
    node.store.let_writes_go()
    await busy
    assert (await registered).version == 2
    assert (await committed).status == "committed"
    assert len(from_row(await node.row("t")).branches) == 2


async def test_result_that_nothing_follows_is_written_all_the_same(node):
    """A result waits for company for 20 ms, not for ever."""
    node.script.hold("b/confirm")
    await node.begin("t", "a", "b")
    await node.commands.commit("t")

    async def is_written():
        return "confirmed" in (await node.row("t")).progress

    await until(is_written, "the row shows that a is confirmed")
    assert (await node.row("t")).status == "committing"


async def test_write_behind_a_failed_one_is_stepped_again(make_node, store):
    """A write that misses takes the steps behind it along; each caller's request is stepped on the row as it is."""
    one, two = await make_node(node_id="one"), await make_node(node_id="two")
    await one.begin("t", "a")
    one.store.hold_writes()
    registered = asyncio.create_task(one.commands.register("t", register("b")))
    await one.store.arrived.wait()
    committed = asyncio.create_task(one.commands.commit("t"))
    await until(lambda: one.driver.held["t"].pending is not None, "the commit waits behind the registration")
    assert (await two.commands.abort("t")).status == "aborting"
    one.store.let_writes_go()
    for request in (registered, committed):
        with pytest.raises(Refused) as refused:
            await request
        assert refused.value.standing.status in ("aborting", "aborted")
    assert not one.script.made("a/confirm")
    assert await store.load("t") is not None


async def test_write_behind_a_failed_one_may_succeed_on_the_row_as_it_is(make_node):
    """If the row allows the request, its caller never learns that the first attempt was discarded."""
    one, two = await make_node(node_id="one"), await make_node(node_id="two")
    await one.begin("t", "a")
    one.store.hold_writes()
    first = asyncio.create_task(one.commands.register("t", register("b")))
    await one.store.arrived.wait()
    second = asyncio.create_task(one.commands.register("t", register("c")))
    await until(lambda: one.driver.held["t"].pending is not None, "the second waits behind the first")
    await two.commands.register("t", register("d"))
    one.store.let_writes_go()
    assert {(await request).status for request in (first, second)} == {"active"}
    assert (await one.commands.commit("t", wait_ms=5_000)).status == "committed"
    assert {call.name for call in one.script.calls} == {f"{name}/confirm" for name in "abcd"}


async def test_each_caller_of_a_batch_learns_its_own_result(make_node):
    """One stale write among several harms its own caller only."""
    one, two = await make_node(node_id="one"), await make_node(node_id="two")
    for gid in ("t-1", "t-2", "t-3"):
        await one.begin(gid, "a")
    assert (await two.commands.abort("t-2")).status == "aborting"
    one.store.hold_writes()
    busy = asyncio.create_task(one.begin("busy"))
    await one.store.arrived.wait()
    commits = [asyncio.create_task(one.commands.commit(gid)) for gid in ("t-1", "t-2", "t-3")]
    await until(lambda: one.driver.journal.depth == 4, "the commits are on their way")
    one.store.let_writes_go()
    await busy
    ends = await asyncio.gather(*commits, return_exceptions=True)
    assert ["t-1", "t-2", "t-3"] in [gids(batch) for batch in one.store.batches]
    assert [getattr(end, "status", type(end)) for end in ends] == ["committing", Refused, "committing"]


async def test_bad_data_harms_its_own_caller_only(node):
    """A batch with a value that the database refuses is halved until that write is alone."""
    node.store.hold_writes()
    busy = asyncio.create_task(node.begin("busy"))
    await node.store.arrived.wait()
    names = ["fine", "fine", "\ud800", "fine", "fine"]
    begun = [asyncio.create_task(node.begin(f"t-{number}", name=name)) for number, name in enumerate(names)]
    await until(lambda: node.driver.journal.depth == 6, "all are on their way")
    node.store.let_writes_go()
    await busy
    ends = await asyncio.gather(*begun, return_exceptions=True)
    assert [type(end).__name__ for end in ends] == [
        "TransactionReply",
        "TransactionReply",
        "RuleBroken",
        "TransactionReply",
        "TransactionReply",
    ]
    assert [len(batch) for batch in node.store.batches] == [1, 5, 2, 3, 1, 2]


async def test_request_that_was_judged_by_a_refused_write_is_judged_again(node):
    """A commit that met an abort on its way is not blamed for what the database refuses of the abort: it wins."""
    await node.begin("t", "a")
    node.store.hold_writes()
    abort = asyncio.create_task(node.commands.abort("t", "\ud800"))
    await node.store.arrived.wait()
    commit = asyncio.create_task(node.commands.commit("t"))
    await asyncio.sleep(0)
    node.store.let_writes_go()
    with pytest.raises(RuleBroken):
        await abort
    assert (await commit).status == "committing"


async def test_write_that_cannot_be_made_a_row_stops_nobody_else(node):
    """A defect that spoils one write is that write's trouble; the journal goes on."""
    broken = [branch("a", payload=Raw(b'"\xff"'))]
    node.store.hold_writes()
    busy = asyncio.create_task(node.begin("busy"))
    await node.store.arrived.wait()
    spoiled = asyncio.create_task(node.begin("spoiled", branches=broken))
    fine = asyncio.create_task(node.begin("fine"))
    await until(lambda: node.driver.journal.depth == 3, "all are on their way")
    node.store.let_writes_go()
    await asyncio.gather(busy, fine)
    with pytest.raises(RuleBroken):
        await spoiled
    assert (await node.begin("later")).status == "active"
    assert await node.store.load("spoiled") is None


async def test_conflict_is_retried_until_the_file_is_free(node, sqlite_url):
    """A batch that meets another process's lock is repeated; its callers only wait."""
    other = sqlite3.connect(sqlite_url.removeprefix("sqlite:///"), isolation_level=None)
    other.execute("begin immediate")
    begun = asyncio.create_task(node.begin("t"))
    await until(lambda: len(node.store.batches) >= 2, "the batch was repeated")
    other.execute("rollback")
    other.close()
    assert (await begun).status == "active"


async def test_conflict_is_not_retried_for_ever(make_node, sqlite_url):
    """After a bounded number of repeats the callers are told that nothing was written."""
    node = await make_node(limits=Limits(journal=JournalLimits(conflict_retries_max=2)), renews=False)
    other = sqlite3.connect(sqlite_url.removeprefix("sqlite:///"), isolation_level=None)
    other.execute("begin immediate")
    with pytest.raises(Overloaded, match="nothing was written"):
        await node.begin("t")
    other.execute("rollback")
    other.close()
    assert len(node.store.batches) == 3
    assert await node.store.load("t") is None
    assert (await node.begin("t")).status == "active"


async def test_begin_is_one_insert_with_its_branches(node):
    """A begin with all its branches is a single insert of version 1."""
    await node.begin("t", "a", "b", "c")
    (entry,) = node.store.batches[0]
    assert entry.kind is EntryKind.INSERT
    assert entry.row.version == 1
    assert len(node.store.batches) == 1


async def test_plan_is_written_by_begin_and_registration_alone(node):
    """Decisions and results leave the plan as it is."""
    await node.begin("t", "a")
    await node.commands.register("t", register("b"))
    await node.commands.commit("t", wait_ms=5_000)
    entries = [entry for batch in node.store.batches for entry in batch]
    assert [entry.plan_changed for entry in entries] == [True, True, False, False]
    assert [bool(entry.row.plan) for entry in entries] == [True, True, False, False]


async def test_journal_that_is_cancelled_leaves_nobody_waiting(make_node):
    """Whose write was with the store hears that its outcome is unknown; whose was not, that nothing was written."""
    node = await make_node(recovers=False)
    node.store.hold_writes()
    with_the_store = asyncio.create_task(node.begin("t-1"))
    await node.store.arrived.wait()
    queued = asyncio.create_task(node.begin("t-2"))
    await until(lambda: node.driver.journal.depth == 2, "both are on their way")
    journal = node._tasks.pop("journal")
    journal.cancel()
    ends = await asyncio.gather(with_the_store, queued, journal, return_exceptions=True)
    assert [type(end) for end in ends] == [Unresolved, Overloaded, asyncio.CancelledError]
    await node.die()


async def test_write_after_the_journal_has_ended_is_refused(make_node):
    """A request that comes too late in a shutdown is told that nothing was written, and never left waiting."""
    node = await make_node()
    await node.stop()
    with pytest.raises(Overloaded):
        await node.begin("t")
