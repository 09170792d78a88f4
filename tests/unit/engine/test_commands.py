"""Begin, register, commit, abort: what each is answered, and that every answer reports a durable version."""

import asyncio
from datetime import timedelta

import pytest
from msgspec import Raw

from placet_contract.vocabulary import Pattern
from placet_coordinator.core.moves import RefusalKind
from placet_coordinator.core.rule import RuleBroken
from placet_coordinator.engine.admission import CommandLimits
from placet_coordinator.engine.errors import Damaged, Overloaded, Refused, UnknownGid
from placet_coordinator.engine.recovery import RecoveryLimits
from placet_coordinator.ports.rows import EntryKind
from unit.engine.node import Limits, begin, branch, register, until


async def refused(request) -> Refused:
    """Await a request that has to be refused, and return the refusal."""
    with pytest.raises(Refused) as caught:
        await request
    return caught.value


# --- begin


async def test_begin_is_new_once_and_the_same_again_is_answered(node):
    """The first begin says that it is new; its repeat reports the transaction as it stands."""
    first, is_new = await node.commands.begin(begin("t", "a"))
    again, is_new_again = await node.commands.begin(begin("t", "a"))
    assert (is_new, is_new_again) == (True, False)
    assert first == again
    assert (first.gid, first.status, first.version, first.node) == ("t", "active", 1, "one")


async def test_begins_of_one_gid_at_once_are_new_for_one_of_them(node):
    """Of ten concurrent begins with one gid exactly one is new, and all report the same transaction."""
    ends = await asyncio.gather(*(node.commands.begin(begin("t", "a")) for _ in range(10)))
    assert sum(is_new for _, is_new in ends) == 1
    assert {reply.version for reply, _ in ends} == {1}


async def test_begin_without_a_gid_gets_one(node):
    """The coordinator mints a time-ordered gid; a saga needs one of its initiator's own."""
    one, _ = await node.commands.begin(begin(None, "a"))
    two, _ = await node.commands.begin(begin(None, "a"))
    assert one.gid < two.gid
    with pytest.raises(RuleBroken) as broken:
        await node.commands.begin(begin(None, "a", pattern=Pattern.SAGA))
    assert broken.value.field == "gid"


async def test_begin_ignores_branches_that_were_registered_later(node):
    """A repeated begin is compared with what was first begun."""
    await node.begin("t", "a")
    await node.commands.register("t", register("b"))
    reply, is_new = await node.commands.begin(begin("t", "a"))
    assert (reply.version, is_new) == (2, False)


async def test_begin_with_other_content_is_refused_whatever_the_status(node):
    """Content is looked at before the status: 422, not 409, even after the abort."""
    await node.begin("t", "a")
    await node.commands.abort("t", wait_ms=5_000)
    other = await refused(node.commands.begin(begin("t", "a", "b")))
    same = await refused(node.commands.begin(begin("t", "a")))
    assert other.refusal.kind is RefusalKind.CONTENT_DIFFERS
    assert same.refusal.kind is RefusalKind.DECIDED
    assert same.standing.status == "aborted"


async def test_payloads_are_compared_as_decoded(node):
    """White space and the order of keys make no other content."""
    branches = [branch("a", payload=Raw(b'{"x": 1, "y": [2]}'))]
    again = [branch("a", payload=Raw(b'{"y":[2],"x":1}'))]
    await node.begin("t", branches=branches)
    _, is_new = await node.commands.begin(begin("t", branches=again))
    assert not is_new


# --- register


async def test_branch_may_be_registered_again(node):
    """The same branch again is a repeat; other content under its id is refused."""
    await node.begin("t", "a")
    one = await node.commands.register("t", register("b"))
    two = await node.commands.register("t", register("b"))
    assert (one.version, two.version) == (2, 2)
    other = await refused(node.commands.register("t", type(register("b"))(branches=[branch("b", timeout_ms=5)])))
    assert other.refusal.kind is RefusalKind.CONTENT_DIFFERS


@pytest.mark.parametrize("decision", ["commit", "abort"])
async def test_register_after_the_decision_is_refused(node, decision):
    """Once decided, no branch is taken, not even a known one."""
    await node.begin("t", "a")
    await getattr(node.commands, decision)("t")
    for branch_id in ("a", "b"):
        refusal = await refused(node.commands.register("t", register(branch_id)))
        assert refusal.refusal.kind is RefusalKind.DECIDED


async def test_register_counts_the_branches_of_the_whole_transaction(make_node):
    """The limit holds for begin and registrations together."""
    node = await make_node(limits=Limits(commands=CommandLimits(branches_max=3)))
    await node.begin("t", "a", "b")
    with pytest.raises(RuleBroken) as broken:
        await node.commands.register("t", register("c", "d"))
    assert broken.value.limit == 3
    await node.commands.register("t", register("b", "c"))


async def test_registrations_at_once_share_a_write(node):
    """Registrations that meet while a batch commits are folded into one entry of the journal."""
    await node.begin("t", "a")
    node.store.hold_writes()
    busy = asyncio.create_task(node.begin("busy"))
    await node.store.arrived.wait()
    asked = [asyncio.create_task(node.commands.register("t", register(each))) for each in "bcd"]
    await until(lambda: node.driver.journal.depth == 2, "the registrations share one write")
    node.store.let_writes_go()
    assert {reply.version for reply in await asyncio.gather(*asked)} == {2}
    await busy


# --- decisions


async def test_decision_is_repeatable_and_final(node):
    """The same decision again is answered; the other one is refused for ever."""
    await node.begin("t", "a")
    await node.commands.commit("t", wait_ms=5_000)
    assert (await node.commands.commit("t")).status == "committed"
    refusal = await refused(node.commands.abort("t"))
    assert refusal.standing.status == "committed"


async def test_unknown_gid_is_told_from_all_others(node):
    """Commit, register and retry of a gid that nobody began are 404."""
    for request in (
        node.commands.commit("nobody"),
        node.commands.register("nobody", register("a")),
        node.commands.retry("nobody"),
    ):
        with pytest.raises(UnknownGid):
            await request


async def test_abort_of_an_unknown_gid_is_recorded(node):
    """A begin that comes after its own abort is refused, and stays so."""
    reply = await node.commands.abort("t", "changed my mind")
    assert (reply.status, reply.reason, reply.pattern) == ("aborted", "initiator", None)
    assert (await node.commands.abort("t")).version == reply.version
    for _ in range(2):
        refusal = await refused(node.commands.begin(begin("t", "a")))
        assert refusal.refusal.kind is RefusalKind.DECIDED
    assert (await node.row("t")).reason_text == "changed my mind"


async def test_abort_and_begin_of_one_gid_at_once_end_in_an_abort(node):
    """Whichever is first, after the abort nothing of the transaction goes on."""
    gids = [f"t-{number}" for number in range(20)]
    requests = [request for gid in gids for request in (node.commands.begin(begin(gid, "a")), node.commands.abort(gid))]
    await asyncio.gather(*requests, return_exceptions=True)
    for gid in gids:
        await node.until_status(gid, "aborted")
    assert not node.script.made("a/confirm")


async def test_decision_needs_no_read(node):
    """A gid that is not in memory is decided by one conditional write; the row that it returns is driven on."""
    await node.begin("t", "a")
    node.driver.drop_all()
    node.store.loads.clear()
    assert (await node.commands.commit("t", wait_ms=5_000)).status == "committed"
    assert [entry.kind for batch in node.store.batches for entry in batch][:2] == [EntryKind.INSERT, EntryKind.DECIDE]
    assert not node.store.loads
    assert len(node.script.made("a/confirm")) == 1


async def test_decided_row_that_a_sweep_took_up_first_is_driven_once(make_node):
    """The sweep has read what the decision wrote before the decision itself is acknowledged: one copy calls, once."""
    every_minute = Limits(recovery=RecoveryLimits(sweep_every=timedelta(minutes=1)))
    node = await make_node(recovers=False, limits=every_minute)
    await node.begin("t", "a")
    node.driver.drop_all()
    node.store.hold_acknowledgements()
    committed = asyncio.create_task(node.commands.commit("t", wait_ms=5_000))
    await node.store.has_written.wait()
    await node.recovery.sweep()
    assert node.driver.held["t"].transaction.status == "committing"
    node.store.let_acknowledgements_go()
    assert (await committed).status == "committed"
    assert len(node.script.made("a/confirm")) == 1


async def test_copy_that_is_older_than_the_decision_gives_way_to_it(make_node, change_row):
    """A sweep took the row up as it was before the decision, which was on its way: what it wrote is driven on."""
    node = await make_node(recovers=False)
    await node.begin("t", "a")
    node.driver.drop_all()
    change_row("t", next_due_at_ms=1)
    node.store.hold_writes()
    committed = asyncio.create_task(node.commands.commit("t", wait_ms=5_000))
    await node.store.arrived.wait()
    await node.recovery.sweep()
    assert node.driver.held["t"].transaction.status == "active"
    node.store.let_writes_go()
    assert (await committed).status == "committed"
    assert len(node.script.made("a/confirm")) == 1


@pytest.mark.parametrize("decision", ["commit", "abort"])
async def test_whoever_decides_becomes_the_owner(make_node, decision):
    """The decision's write names its node, which drives on; the earlier owner lets go."""
    one, two = await make_node(node_id="one"), await make_node(node_id="two")
    await one.begin("t", "a")
    await getattr(two.commands, decision)("t", wait_ms=5_000)
    assert (await one.row("t")).owner == two.ownership.boot_id
    assert two.script.calls
    assert not one.script.calls


@pytest.mark.parametrize("kind", ["saga", "driven"])
async def test_decision_without_a_read_is_for_plain_tcc_alone(node, kind):
    """A saga or a driven TCC takes no commit, in memory or not."""
    fields = {"pattern": Pattern.SAGA} if kind == "saga" else {"drive": True}
    node.script.hold("a/action", "a/try")
    await node.begin("t", "a", **fields)
    assert (await refused(node.commands.commit("t"))).refusal.kind is RefusalKind.RULE
    node.driver.drop_all()
    assert (await refused(node.commands.commit("t"))).refusal.kind is RefusalKind.RULE
    assert (await node.row("t")).status == "active"


async def test_commit_and_abort_at_once_have_one_winner(make_node):
    """Asked for on two nodes at the same time, exactly one decision wins, and both nodes say which."""
    one, two = await make_node(node_id="one"), await make_node(node_id="two")
    for number in range(30):
        gid = f"t-{number}"
        await one.begin(gid, "a")
        ends = await asyncio.gather(one.commands.commit(gid), two.commands.abort(gid), return_exceptions=True)
        assert sum(isinstance(end, Refused) for end in ends) == 1
        winner = "commit" if isinstance(ends[1], Refused) else "abort"
        final = "committed" if winner == "commit" else "aborted"
        await one.until_status(gid, final)
        losing = "a/cancel" if winner == "commit" else "a/confirm"
        assert not one.script.made(losing, gid)
        assert not two.script.made(losing, gid)


async def test_commit_and_timeout_at_once_have_one_winner(node):
    """A commit that meets the timeout either wins, or is told that the transaction was aborted for its time."""
    for number in range(20):
        gid = f"t-{number}"
        await node.begin(gid, "a", timeout_ms=20)
        await asyncio.sleep(0.012 + number * 0.001)
        (end,) = await asyncio.gather(node.commands.commit(gid), return_exceptions=True)
        final, losing = ("aborted", "a/confirm") if isinstance(end, Refused) else ("committed", "a/cancel")
        row = await node.until_status(gid, final)
        assert row.reason == ("timeout" if final == "aborted" else None)
        assert not node.script.made(losing, gid)


# --- only durable versions


async def test_answer_comes_only_after_its_write(node):
    """While the write is on its way nobody is told, and no participant is called."""
    node.store.hold_writes()
    begun = asyncio.create_task(node.begin("t", "a", pattern=Pattern.SAGA))
    await node.store.arrived.wait()
    await asyncio.sleep(0.03)
    assert not begun.done()
    assert not node.script.calls
    node.store.let_writes_go()
    assert (await begun).version == 1


async def test_decision_is_durable_before_participants_hear_of_it(node):
    """No confirm leaves while the decision is being written."""
    await node.begin("t", "a")
    node.store.hold_writes()
    committed = asyncio.create_task(node.commands.commit("t"))
    await node.store.arrived.wait()
    await asyncio.sleep(0.03)
    assert not committed.done()
    assert not node.script.calls
    node.store.let_writes_go()
    await committed
    await node.until_status("t", "committed")


async def test_refusal_waits_for_the_decision_that_it_reports(node):
    """A 409 that follows from a pending decision is told only once that decision is durable."""
    await node.begin("t", "a")
    node.store.hold_writes()
    committed = asyncio.create_task(node.commands.commit("t"))
    await node.store.arrived.wait()
    aborted = asyncio.create_task(node.commands.abort("t"))
    await asyncio.sleep(0.03)
    assert not aborted.done()
    node.store.let_writes_go()
    await committed
    assert (await refused(aborted)).standing.status == "committing"


@pytest.mark.parametrize("request_name", ["commit", "register", "begin", "abort"])
async def test_request_that_changes_nothing_takes_nothing_over(make_node, request_name):
    """A repeat, or a refusal, at a node that does not drive it leaves a transaction with its owner (decision 0002)."""
    one, two = await make_node(node_id="one"), await make_node(node_id="two")
    one.script.hold("a/confirm")
    await one.begin("t", "a")
    await one.commands.commit("t")
    before = await one.row("t")
    requests = {
        "commit": lambda: two.commands.commit("t"),
        "register": lambda: two.commands.register("t", register("b")),
        "begin": lambda: two.commands.begin(begin("t", "a")),
        "abort": lambda: two.commands.abort("t"),
    }
    await asyncio.gather(requests[request_name](), return_exceptions=True)
    assert not two.driver.held
    after = await one.row("t")
    assert (after.owner, after.version) == (before.owner, before.version)


async def test_repeat_is_answered_from_the_store(make_node):
    """A node whose copy is behind reports what the store holds, not what it remembers."""
    one, two = await make_node(node_id="one", recovers=False), await make_node(node_id="two")
    one.script.hold("a/confirm")
    await one.begin("t", "a")
    await one.commands.commit("t")
    await until(lambda: one.driver.held["t"].writing is None, "the decision is durable")
    claimed = await two.store.claim_lapsed(two.ownership.boot_id, two.clock.now_ms() + 600_000, 2**62, 10)
    two.driver.adopt(claimed[0])
    await two.until_status("t", "committed")
    assert (await one.commands.commit("t")).status == "committed"


async def test_repeat_that_is_overtaken_by_a_result_keeps_the_copy(node):
    """A repeated commit whose read is older than what this node wrote meanwhile reports it, and disturbs nothing."""
    node.script.hold("a/confirm", "b/confirm")
    await node.begin("t", "a", "b")
    await node.commands.commit("t")
    held = node.driver.held["t"]
    assert held.pending is None
    node.store.hold_answers()
    repeat = asyncio.create_task(node.commands.commit("t"))
    await node.store.has_read.wait()
    node.script.release("a/confirm")
    await until(lambda: held.version == 3 and not held.pending and not held.writing, "the result is durable")
    node.store.let_answers_go()
    assert (await repeat).version == 2
    assert node.driver.held["t"] is held
    node.script.release("b/confirm")
    await node.until_status("t", "committed")
    assert len(node.script.made("b/confirm")) == 1


# --- who asks, goes away


async def test_client_that_goes_away_mid_commit_changes_nothing(node):
    """A cancelled request leaves its decision to be written and carried out."""
    await node.begin("t", "a")
    node.store.hold_writes()
    committed = asyncio.create_task(node.commands.commit("t"))
    await node.store.arrived.wait()
    committed.cancel()
    with pytest.raises(asyncio.CancelledError):
        await committed
    node.store.let_writes_go()
    await node.until_status("t", "committed")
    await until(lambda: node.driver.journal.depth == 0, "nothing is left on its way")


async def test_client_that_goes_away_mid_begin_leaves_a_whole_transaction(node):
    """A cancelled begin is written with its branches and timed out like any other."""
    node.store.hold_writes()
    begun = asyncio.create_task(node.begin("t", "a", timeout_ms=30))
    await node.store.arrived.wait()
    begun.cancel()
    node.store.let_writes_go()
    assert (await node.until_status("t", "aborted")).reason == "timeout"


async def test_client_that_goes_away_while_waiting_for_the_end_leaves_nothing_behind(node):
    """Its place among those who wait is given up."""
    node.script.hold("a/confirm")
    await node.begin("t", "a")
    committed = asyncio.create_task(node.commands.commit("t", wait_ms=60_000))
    await until(lambda: node.driver.held["t"].finish_waiters, "somebody waits for the end")
    committed.cancel()
    await asyncio.wait([committed])
    assert not node.driver.held["t"].finish_waiters


# --- back-pressure


async def test_begins_are_shed_first(make_node):
    """Beyond the begins' limit a begin is told that nothing was written; what has begun still gets through."""
    node = await make_node(limits=Limits(commands=CommandLimits(journal_begins_max=2, journal_writes_max=4)))
    for gid in ("t-1", "t-2"):
        await node.begin(gid, "a")
    node.store.hold_writes()
    busy = [asyncio.create_task(node.begin(gid)) for gid in ("t-3", "t-4")]
    await until(lambda: node.driver.journal.depth == 2, "two writes are on their way")
    with pytest.raises(Overloaded, match="limit for begins"):
        await node.begin("t-5")
    committed = asyncio.create_task(node.commands.commit("t-1"))
    registered = asyncio.create_task(node.commands.register("t-2", register("b")))
    await until(lambda: node.driver.journal.depth == 4, "four writes are on their way")
    with pytest.raises(Overloaded):
        await node.commands.abort("t-2")
    node.store.let_writes_go()
    await asyncio.gather(*busy)
    assert (await committed).status == "committing"
    assert (await registered).version == 2
    assert await node.store.load("t-5") is None


async def test_begins_are_shed_while_too_many_transactions_are_open(make_node):
    """The number of transactions in memory is limited; ending one makes room."""
    node = await make_node(limits=Limits(commands=CommandLimits(open_transactions_max=1)))
    await node.begin("t-1", "a")
    with pytest.raises(Overloaded, match="transactions are open"):
        await node.begin("t-2", "a")
    await node.commands.commit("t-1", wait_ms=5_000)
    assert (await node.begin("t-2", "a")).status == "active"


async def test_node_without_a_lease_takes_no_request(node):
    """It says that nothing was written, and so it is."""
    await node.begin("t", "a")
    await node.ownership.release()
    for request in (node.begin("t-2"), node.commands.commit("t"), node.commands.register("t", register("b"))):
        with pytest.raises(Overloaded, match="no lease"):
            await request
    assert (await node.row("t")).version == 1
    await node.ownership.start()


async def test_draining_node_takes_no_begin_and_lets_decisions_through(node):
    """While it drains, what has begun may still be decided."""
    await node.begin("t", "a")
    node.commands.drain()
    with pytest.raises(Overloaded, match="draining"):
        await node.begin("t-2")
    assert (await node.commands.commit("t")).status == "committing"


# --- rows of others


async def test_row_of_a_newer_format_is_not_written(node, change_row):
    """A node that does not know the format says who has to serve the transaction; the row stays as it is."""
    await node.begin("t", "a")
    node.driver.drop_all()
    change_row("t", format=2)
    before = await node.row("t")
    for request in (
        node.commands.commit("t"),
        node.commands.abort("t"),
        node.commands.register("t", register("b")),
        node.commands.begin(begin("t", "a")),
    ):
        with pytest.raises(Overloaded, match="newer coordinator"):
            await request
    assert await node.row("t") == before


@pytest.mark.parametrize("changed", [{"plan": '{"branches":[{"x":1}]}'}, {"progress": "not json"}])
async def test_damaged_row_is_reported_and_left(node, change_row, changed):
    """A request for a row that can't be read says so, and writes nothing."""
    await node.begin("t", "a")
    node.driver.drop_all()
    change_row("t", **changed)
    before = await node.row("t")
    with pytest.raises(Damaged, match="the row of t is damaged"):
        await node.commands.register("t", register("b"))
    assert await node.row("t") == before
