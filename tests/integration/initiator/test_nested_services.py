"""Services that call services inside their own operations: one outcome in a try, an outcome of its own in an action."""

# ruff: noqa: PT012 - the block that raises when it is left is the claim

import asyncio
import contextlib

import pytest

from placet import BranchOutcomeUnknown, PlacetError, Rejected


async def test_nested_services_commit_together(placet, direct, system, order):
    """North's try calls south inside: one transaction, whose inner branch is named after the outer one."""
    async with placet.tcc("outer") as tx:
        noted = await tx.call("north/hold", {"order": order, "then": ["south/hold"]})
    assert noted["inner_gid"] == tx.gid
    view = await direct.wait(tx.gid)
    assert [(branch.branch_id, branch.target, branch.status) for branch in view.branches] == [
        ("1", "north/hold", "confirmed"),
        ("1.1", "south/hold", "confirmed"),
    ]
    assert await system.north.entries(order) == await system.south.entries(order) == ["confirmed"]


async def test_nested_services_abort_together(placet, direct, system, order):
    """What the inner service holds is let go with what the outer one holds."""
    with contextlib.suppress(ZeroDivisionError):
        async with placet.tcc("outer") as tx:
            await tx.call("north/hold", {"order": order, "then": ["south/hold"]})
            raise ZeroDivisionError
    assert (await direct.wait(tx.gid)).status == "aborted"
    assert await system.north.entries(order) == await system.south.entries(order) == ["cancelled"]


@pytest.mark.parametrize("swallow", [False, True], ids=["raised", "swallowed"])
async def test_inner_no_aborts_the_whole_even_if_the_handler_swallows_it(placet, direct, system, order, swallow):
    """Before north answers, the transaction is aborted: no later commit can go past the inner failure."""
    with pytest.raises((Rejected, BranchOutcomeUnknown)):
        async with placet.tcc("outer") as tx:
            await tx.call("north/hold", {"order": order, "then": ["south/hold", "south/refuse"], "swallow": swallow})
    view = await direct.wait(tx.gid)
    assert view.status == "aborted"
    assert view.reason_text.startswith("a call made inside a try of north failed")
    assert await system.north.entries(order) == []
    assert await system.south.entries(order) == ["cancelled"]


async def test_initiator_that_swallows_it_too_does_not_commit(placet, direct, system, order):
    """Two handlers in a row that ignore errors still commit nothing."""
    with pytest.raises(PlacetError):
        async with placet.tcc("outer") as tx:
            await tx.call("south/hold", {"order": order})
            with contextlib.suppress(PlacetError):
                await tx.call("north/hold", {"order": order, "then": ["south/refuse"], "swallow": True})
    assert (await direct.wait(tx.gid)).status == "aborted"
    assert await system.south.entries(order) == ["cancelled"]


async def test_sync_handler_joins_from_its_thread(placet, direct, system, order):
    """A `def` handler in the thread pool is in its branch's context as an `async def` one is."""
    async with placet.tcc("outer") as tx:
        noted = await tx.call("north/relay", {"order": order, "then": ["south/hold", "south/hold"]})
    assert noted["inner_gid"] == tx.gid
    view = await direct.wait(tx.gid)
    assert [branch.branch_id for branch in view.branches] == ["1", "1.1", "1.2"]
    assert await system.south.entries(order) == ["confirmed", "confirmed"]


async def test_several_handlers_at_once_keep_their_branches_apart(placet, direct, order):
    """Context belongs to the handler's task: concurrent tries of one service do not mix their inner branches."""
    async with placet.tcc("outer") as tx, asyncio.TaskGroup() as group:
        for number in range(4):
            note = {"order": f"{order}-{number}", "then": ["south/hold"]}
            group.create_task(tx.call("north/hold", note, timeout=20))
    view = await direct.wait(tx.gid)
    assert view.status == "committed"
    ids = sorted(branch.branch_id for branch in view.branches)
    assert ids == ["1", "1.1", "2", "2.1", "3", "3.1", "4", "4.1"]


async def test_transaction_inside_an_action_is_begun_once_however_often_the_action_runs(placet, direct, system, order):
    """The action's first run fails after its inner commit; the second meets the same transaction again."""
    saga = placet.saga("trip", gid=order)
    saga.step("north/book", {"order": order, "then": ["south/hold"], "fail_times": 1})
    result = await (await saga.submit()).result(timeout=20)
    inner_gid = result.of("north/book")["inner_gid"]
    assert inner_gid.startswith("n-")
    assert await system.north.runs(order) == 2
    assert (await direct.wait(inner_gid)).status == "committed"
    assert await system.south.entries(order) == ["confirmed"]
    assert await system.north.entries(order) == ["booked"]
    page = await direct.coordinator.list(parent=f"{order}/north.book")
    assert [item.gid for item in page.items] == [inner_gid]


async def test_transaction_inside_an_action_has_an_outcome_of_its_own(placet, direct, system, order):
    """The saga is taken back; what the inner transaction committed is the compensation's to undo, not the abort's."""
    saga = placet.saga("trip", gid=order)
    saga.step("north/book", {"order": order, "then": ["south/hold"]})
    saga.step("south/book", {"order": f"{order}-2", "reject": True})
    with pytest.raises(PlacetError):
        await (await saga.submit()).result(timeout=20)
    assert (await direct.wait(order)).status == "aborted"
    assert await system.north.entries(order) == ["taken back from north"]
    assert await system.south.entries(order) == ["confirmed"]
