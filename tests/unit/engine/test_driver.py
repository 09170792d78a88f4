"""What the driver does between a step and its write, with outcomes, and with time."""

import asyncio

import pytest

from placet_contract.outcomes import Verdict
from placet_contract.transactions import RetryRequest
from placet_contract.vocabulary import Outcome, Pattern
from placet_coordinator.core.calling import ATTENTION_AFTER_MS
from placet_coordinator.core.transaction import Transaction
from placet_coordinator.engine.driver import DriverLimits
from placet_coordinator.engine.held import Lane
from unit.engine.node import Limits, branch, until
from unit.engine.script import DONE, ONGOING, REJECTED, UNKNOWN


async def test_confirm_is_repeated_until_it_is_done(node):
    """Whatever else a confirm is answered, it is called again; each failure is recorded."""
    node.script.answer("a/confirm", UNKNOWN, ONGOING, UNKNOWN, DONE)
    await node.begin("t", "a", "b")
    assert (await node.commands.commit("t", wait_ms=5_000)).status == "committed"
    assert [call.attempt for call in node.script.made("a/confirm")] == [1, 2, 3, 4]
    assert len(node.script.made("b/confirm")) == 1
    attempts = await node.store.attempts("t", 10)
    assert [(each.branch_id, each.attempt, each.outcome) for each in attempts] == [
        ("a", 1, "unknown"),
        ("a", 2, "ongoing"),
        ("a", 3, "unknown"),
    ]


async def test_slow_call_is_recorded_although_it_was_done(make_node):
    """An attempt that took longer than the limit leaves a line."""
    node = await make_node(limits=Limits(driver=DriverLimits(slow_call_ms=0)))
    await node.begin("t", "a")
    await node.commands.commit("t", wait_ms=5_000)
    assert [each.outcome for each in await node.store.attempts("t", 10)] == ["done"]


async def test_backoff_lies_between_attempts(node):
    """A failed call is due later than now, at most at its cap; it is not repeated in a tight loop."""
    node.script.answer("a/confirm", UNKNOWN)
    await node.begin("t", branches=[branch("a", retry=RetryRequest(first_ms=60_000, cap_ms=60_000))])
    await node.commands.commit("t")
    progress = await until(
        lambda: not (found := node.driver.held["t"].transaction.progress[0]).calling and found, "the call has failed"
    )
    assert 0 < progress.next_at_ms - node.clock.now_ms() <= 60_000
    assert len(node.script.made("a/confirm")) == 1
    await node.commands.retry("t")
    assert len(node.script.made("a/confirm")) == 2


async def test_what_fails_for_long_gets_attention_and_is_still_retried(node):
    """After ten minutes of failures a human is told, once; the confirm goes on, and the attention goes with it."""
    node.script.answer("a/confirm", UNKNOWN)
    await node.begin("t", "a")
    await node.commands.commit("t")
    await until(lambda: len(node.script.made("a/confirm")) >= 2, "it was retried")
    assert (await node.row("t")).attention is None
    # While a call is out the timer is set to when its answer is overdue, in real time, which the jump would not move.
    await until(lambda: not node.driver.held["t"].transaction.progress[0].calling, "it waits for its next attempt")
    node.clock.shift_ms = ATTENTION_AFTER_MS
    await until(lambda: node.notes.attentions, "a human is told")
    made = len(node.script.made("a/confirm"))
    await until(lambda: len(node.script.made("a/confirm")) > made, "it is retried on")
    assert "confirm of branch a" in node.notes.attentions[0]
    assert len(node.notes.attentions) == 1
    node.script.answer("a/confirm", DONE)
    assert (await node.until_status("t", "committed")).attention is None


async def test_refused_confirm_gets_attention_at_once(node):
    """A confirm must not be refused: a human is told, and it is retried slowly."""
    not_tried = Verdict(Outcome.UNKNOWN, not_tried=True, answered=True, detail="confirm without a try")
    node.script.answer("a/confirm", not_tried)
    await node.begin("t", branches=[branch("a", retry=RetryRequest(first_ms=10, cap_ms=60_000))])
    await node.commands.commit("t")
    await until(lambda: node.notes.attentions, "a human is told")
    progress = node.driver.held["t"].transaction.progress[0]
    assert progress.next_at_ms - node.clock.now_ms() > 20_000


async def test_active_tcc_is_aborted_at_its_timeout(node):
    """Every branch is cancelled once, and the reason says why."""
    await node.begin("t", "a", "b", timeout_ms=30)
    row = await node.until_status("t", "aborted")
    assert row.reason == "timeout"
    assert sorted(call.name for call in node.script.calls) == ["a/cancel", "b/cancel"]


async def test_tries_of_a_driven_tcc_wait_for_its_begin(node):
    """An abort that comes while the begin is being written takes the tries back: none is sent."""
    node.store.hold_writes()
    begun = asyncio.create_task(node.begin("t", "a", drive=True))
    await node.store.arrived.wait()
    aborted = asyncio.create_task(node.commands.abort("t"))
    await until(lambda: node.driver.held["t"].pending is not None, "the abort waits for its turn")
    node.store.let_writes_go()
    await asyncio.gather(begun, aborted)
    await node.until_status("t", "aborted")
    assert {call.name for call in node.script.calls} == {"a/cancel"}


async def test_driven_tcc_decides_by_its_tries(node):
    """All done commits, a rejection aborts; every branch is cancelled then, the rejected one as well."""
    node.script.answer("b/try", REJECTED)
    assert (await node.begin("t-1", "a", drive=True, wait_ms=5_000)).status == "committed"
    reply = await node.begin("t-2", "a", "b", drive=True, wait_ms=5_000)
    assert (reply.status, reply.reason) == ("aborted", "rejected")
    assert {call.name for call in node.script.calls if call.gid == "t-2"} == {"a/try", "b/try", "a/cancel", "b/cancel"}


async def test_pivot_is_durable_before_it_is_sent(node):
    """The write that says a pivot goes out comes first (decision 0001)."""
    node.script.hold("first/action")
    steps = [branch("first"), branch("pivot", pivot=True)]
    await node.begin("t", pattern=Pattern.SAGA, branches=steps)
    node.store.hold_writes()
    node.script.release("first/action")
    await node.store.arrived.wait()
    await asyncio.sleep(0.03)
    assert not node.script.made("pivot/action")
    assert "pivot_sent" in node.store.batches[-1][0].row.progress
    node.store.let_writes_go()
    await node.until_status("t", "committed")


async def test_calls_of_a_row_of_another_owner_wait_until_it_is_ours(make_node):
    """A request at another node makes this one the owner first, and then calls go out (decision 0002)."""
    one, two = await make_node(node_id="one", recovers=False), await make_node(node_id="two", recovers=False)
    one.script.hold("a/action")
    await one.begin("t", "a", pattern=Pattern.SAGA)
    two.store.hold_writes()
    nudged = asyncio.create_task(two.commands.retry("t"))
    await two.store.arrived.wait()
    await asyncio.sleep(0.03)
    assert not two.script.calls
    two.store.let_writes_go()
    await nudged
    assert (await two.until_status("t", "committed")).owner == two.ownership.boot_id
    assert len(two.script.made("a/action")) == 1


async def test_calls_of_a_row_of_another_owner_are_dropped_if_it_does_not_become_ours(make_node):
    """If the owner was quicker, the other node has sent nothing."""
    one, two = await make_node(node_id="one", recovers=False), await make_node(node_id="two", recovers=False)
    one.script.hold("a/action")
    await one.begin("t", "a", pattern=Pattern.SAGA)
    two.store.hold_writes()
    nudged = asyncio.create_task(two.commands.retry("t"))
    await two.store.arrived.wait()
    one.script.release("a/action")
    await one.until_status("t", "committed")
    two.store.let_writes_go()
    (end,) = await asyncio.gather(nudged, return_exceptions=True)
    assert "is finished" in str(end)
    assert not two.script.calls


async def test_node_without_a_lease_calls_nobody(node):
    """From the instant at which the lease has run out, what was decided is left to the next owner."""
    await node.begin("t", "a")
    node.store.hold_writes()
    committed = asyncio.create_task(node.commands.commit("t"))
    await node.store.arrived.wait()
    node.ownership._expires_at = 0
    node.store.let_writes_go()
    await committed
    assert not node.script.calls


async def test_paused_transaction_is_looked_at_seldom_and_not_driven(node, change_row):
    """While it is paused nothing is sent or timed out, however long its time is past."""
    await node.begin("t", "a", timeout_ms=200)
    node.driver.drop_all()
    change_row("t", paused_at_ms=1, next_due_at_ms=1)
    await until(lambda: "t" in node.driver.held, "it was taken up")
    entries = node.store.statistics()["entries"]
    await asyncio.sleep(0.25)
    assert not node.script.calls
    assert (await node.row("t")).status == "active"
    assert node.store.statistics()["entries"] - entries <= 2


async def test_transaction_that_is_not_due_for_long_leaves_memory(make_node):
    """It comes back when it is due, by its row alone; nothing is kept for it until then."""
    node = await make_node(limits=Limits(driver=DriverLimits(horizon_ms=100)))
    await node.begin("t", "a", timeout_ms=400)
    await until(lambda: "t" not in node.driver.held, "it has left memory")
    row = await node.until_status("t", "aborted")
    assert row.reason == "timeout"
    assert len(node.script.made("a/cancel")) == 1


async def test_transaction_that_left_memory_is_decided_like_any_other(make_node):
    """Commit finds it by its row."""
    node = await make_node(limits=Limits(driver=DriverLimits(horizon_ms=0)))
    await node.begin("t", "a")
    await until(lambda: "t" not in node.driver.held, "it has left memory")
    assert (await node.commands.commit("t", wait_ms=5_000)).status == "committed"


async def test_outcome_of_a_dropped_copy_is_ignored(node):
    """What comes back for a copy that is no longer the truth changes nothing."""
    node.script.hold("a/confirm")
    await node.begin("t", "a")
    await node.commands.commit("t")
    dropped = node.driver.held["t"]
    node.driver.drop_all()
    node.script.release("a/confirm")
    await asyncio.sleep(0.01)
    assert dropped.transaction.status == "committing"
    assert dropped.pending is None


async def test_defect_of_one_transaction_does_not_reach_those_of_its_batch(node):
    """An observer that fails for one end costs the others of the batch nothing."""

    def finished(transaction):
        if transaction.gid == "t-1":
            raise ZeroDivisionError("a defect")
        node.notes.finished_gids.append(transaction.gid)

    node.driver._observer.finished = finished
    for gid in ("t-0", "t-1", "t-2"):
        await node.begin(gid)
    node.store.hold_writes()
    busy = asyncio.create_task(node.begin("busy"))
    await node.store.arrived.wait()
    commits = [asyncio.create_task(node.commands.commit(gid)) for gid in ("t-0", "t-1", "t-2")]
    await until(lambda: node.driver.journal.depth == 4, "all are on their way")
    node.store.let_writes_go()
    await busy
    assert {reply.status for reply in await asyncio.gather(*commits)} == {"committed"}
    assert node.notes.finished_gids == ["t-0", "t-2"]
    assert ("defect", "t-1: ZeroDivisionError: a defect") in node.notes.troubles


async def test_defect_in_a_step_does_not_stop_the_timers(node, monkeypatch):
    """A timer whose step fails is reported, and looked at again later; the others go on."""
    monkeypatch.setattr(Transaction, "times_out_at_ms", property(_fails_once_begun))
    await node.begin("broken", "a", timeout_ms=30)
    await node.begin("fine", "a", timeout_ms=60)
    await node.until_status("fine", "aborted")
    assert [what for what, cause in node.notes.troubles if "broken" in cause] == ["defect"]
    assert (await node.row("broken")).status == "active"


def _fails_once_begun(transaction):
    if transaction.gid == "broken" and transaction.next_due_at_ms is not None:
        raise ZeroDivisionError("a defect")
    return None if transaction.timeout_ms is None else transaction.created_at_ms + transaction.timeout_ms


@pytest.mark.parametrize(("wait_ms", "lane"), [(0, Lane.RIDER), (60_000, Lane.URGENT)])
async def test_end_rides_along_unless_somebody_waits_for_it(node, wait_ms, lane):
    """The write of an end wakes the flusher only if a client holds the line for it; a result on the way never does."""
    node.script.hold("a/confirm", "b/confirm")
    await node.begin("t", "a", "b")
    committed = asyncio.create_task(node.commands.commit("t", wait_ms=wait_ms))
    held = node.driver.held["t"]
    await until(lambda: len(node.script.calls) == 2 and (held.finish_waiters or committed.done()), "both are called")
    node.store.hold_writes()
    node.script.release("a/confirm")
    assert held.pending.lane is Lane.PARTIAL
    node.script.release("b/confirm")
    assert held.pending.lane is lane
    node.store.let_writes_go()
    await committed


@pytest.mark.parametrize("operation", ["confirm", "cancel"])
async def test_branches_are_called_at_once(node, operation):
    """Phase two runs in parallel: one that hangs delays no other."""
    node.script.hold(f"a/{operation}")
    await node.begin("t", "a", "b", "c")
    await (node.commands.commit if operation == "confirm" else node.commands.abort)("t")
    await until(lambda: len(node.script.calls) == 3, "all three were called")
    settled = "confirmed" if operation == "confirm" else "cancelled"
    await until(
        lambda: [each.status for each in node.driver.held["t"].transaction.progress] == ["pending", settled, settled],
        "two have settled",
    )
