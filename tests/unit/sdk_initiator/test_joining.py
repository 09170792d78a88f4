"""Inside a try a block joins the transaction of its branch: it adds branches, dooms the whole, and decides nothing."""

# ruff: noqa: PT012 - the block that raises when it is left is the claim

import asyncio
import contextlib

import pytest

from placet.errors import Aborted, CommitRefused, CoordinatorUnavailable, PlacetError, ResultMismatch

from .conftest import HUNG, LOST, Answer, announce, paths, problem, transaction
from .inside import BEGUN_AT_MS, TRACEPARENT, inside


@pytest.mark.parametrize("operation", ["try", "prepare"])
async def test_block_joins_the_transaction_of_its_branch(placet, coordinator, shop, operation):
    """No begin and no decision: the inner branch is registered with the outer gid, then tried under it."""
    with inside(operation) as branch:
        async with placet.tcc("inner") as tx:
            assert await tx.call("shop/hold", {"sku": 1}) == {"price": 5}
    assert (tx.gid, tx.joined, tx.node) == ("outer", True, None)
    assert [word for word in paths(coordinator, shop) if word != "shop"] == ["branches", "try"]
    (register,) = coordinator.sent("/v1/transactions/outer/branches")
    assert register.body == {"branches": [{"branch_id": "7.1", "target": "shop/hold", "payload": {"sku": 1}}]}
    sent = shop.requests[0].headers
    assert (sent["placet-gid"], sent["placet-branch"]) == ("outer", "7.1")
    assert (sent["placet-begun-at-ms"], sent["traceparent"]) == (str(BEGUN_AT_MS), TRACEPARENT)
    assert branch.scope.doomed == set()


async def test_nested_ids_are_counted_over_the_whole_handler(placet, shop):
    """Several blocks of one handler share the outer gid, so their branches must not share ids; depth adds a part."""
    with inside("try"):
        for _ in range(2):
            async with placet.tcc("inner") as tx, asyncio.TaskGroup() as group:
                for _ in range(2):
                    group.create_task(tx.call("shop/hold"))
    with inside("try", branch_id="7.1"):
        async with placet.tcc("deeper") as tx:
            await tx.call("shop/hold")
    ids = [request.headers["placet-branch"] for request in shop.requests]
    assert sorted(ids) == ["7.1", "7.1.1", "7.2", "7.3", "7.4"]


async def test_lost_register_is_repeated_before_the_try(placet, coordinator, shop):
    """Joined or not, a branch is durable before its call is sent."""
    coordinator.on("/branches", LOST, lambda request: transaction(request, "active"))
    with inside("try") as branch:
        async with placet.tcc("inner") as tx:
            await tx.call("shop/hold")
    first, second = coordinator.sent("/branches")
    assert first.body == second.body
    assert shop.requests[0].at > second.at
    assert not branch.scope.doomed


@pytest.mark.parametrize(
    ("call", "answer"),
    [
        ("/try", problem(409, "rejected", detail="no")),
        ("/try", LOST),
        ("/try", Answer(500, b"")),
        ("/branches", problem(409, "conflict", reason="timeout", transaction_status="aborting")),
        ("/branches", problem(422, "rule", field="target", rule="an allowed host")),
        ("/branches", LOST),
    ],
    ids=["rejected", "cut", "500", "decided", "refused", "register-lost"],
)
async def test_call_that_is_not_done_dooms_the_transaction_even_if_caught(placet, coordinator, shop, call, answer):
    """The inner work can't be undone alone, so a handler that goes on all the same must not let the outer commit."""
    for server in (coordinator, shop):
        server.on(call, answer)
    with inside("try", seconds=0.4) as branch, contextlib.suppress(PlacetError):  # the very mistake
        async with placet.tcc("inner") as tx:
            await tx.call("shop/hold")
    assert branch.scope.doomed == {"outer"}
    assert len(shop.requests) == (1 if call == "/try" else 0)
    assert coordinator.sent("/abort") == []  # the handler's surroundings abort, before they answer


async def test_doom_is_known_as_soon_as_the_call_has_failed(placet, shop):
    """A handler that catches inside the block is caught out, too, and the block says so."""
    shop.on("/try", problem(409, "rejected"))
    with inside("try") as branch, pytest.raises(CommitRefused):
        async with placet.tcc("inner") as tx:
            with contextlib.suppress(PlacetError):
                await tx.call("shop/hold")
            assert branch.scope.doomed == {"outer"}


async def test_block_left_by_an_exception_dooms_the_transaction(placet, coordinator):
    """Its tries are done, and nothing but an abort of the whole undoes them."""
    with inside("try") as branch, pytest.raises(ZeroDivisionError):
        async with placet.tcc("inner") as tx:
            await tx.call("shop/hold")
            raise ZeroDivisionError
    assert branch.scope.doomed == {"outer"}
    assert coordinator.sent("/abort") == []


async def test_cancelled_call_dooms_the_transaction(placet, shop):
    """Its try may have run."""
    shop.on("/try", HUNG)
    with inside("try") as branch:

        async def handler():
            async with placet.tcc("inner") as tx:
                await tx.call("shop/hold")

        task = asyncio.create_task(handler())
        await shop.has("/hold/try")
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert branch.scope.doomed == {"outer"}


async def test_block_without_a_call_dooms_nothing(placet, coordinator):
    """Nothing was added, so there is nothing to undo."""
    with inside("try") as branch, contextlib.suppress(ZeroDivisionError):
        async with placet.tcc("inner"):
            raise ZeroDivisionError
    assert (branch.scope.doomed, coordinator.requests) == (set(), [])


async def test_result_of_another_shape_dooms_nothing(placet):
    """The call is done; only its answer is of no use."""
    with inside("try") as branch:
        async with placet.tcc("inner") as tx:
            with pytest.raises(ResultMismatch):
                await tx.call("shop/hold", returns=list[int])
    assert branch.scope.doomed == set()


async def test_decided_transaction_takes_no_branch(placet, coordinator):
    """The reason is the coordinator's."""
    coordinator.on("/branches", problem(409, "conflict", reason="timeout", transaction_status="aborting"))
    with inside("try"), pytest.raises(Aborted) as caught:
        async with placet.tcc("inner") as tx:
            await tx.call("shop/hold")
    assert (caught.value.reason, caught.value.gid) == ("timeout", "outer")


async def test_joined_work_ends_with_the_surrounding_call(placet, coordinator, shop):
    """Its initiator waits no longer: a try gets the time that is left, a register is repeated no longer."""
    with inside("try", seconds=2):
        async with placet.tcc("inner", timeout="1h") as tx:
            await tx.call("shop/hold")
    assert int(shop.requests[0].headers["placet-deadline-ms"]) <= 2_000
    coordinator.on("/branches", LOST)
    with inside("try", seconds=0.2), pytest.raises(CoordinatorUnavailable):
        async with asyncio.timeout(3), placet.tcc("inner") as tx:
            await tx.call("shop/hold")


async def test_a_gid_of_its_own_contradicts_joining(placet, coordinator):
    """The message says what to write instead."""
    with inside("try"), pytest.raises(ValueError, match="propagation='new'"):
        placet.tcc("inner", gid="mine")
    assert coordinator.requests == []


async def test_context_reaches_the_tasks_of_a_handler(placet, coordinator, shop):
    """Work that a handler spreads over tasks belongs to its branch all the same."""
    announce(coordinator, shop=[shop])
    joined = []

    async def part():
        async with placet.tcc("inner") as tx:
            await tx.call("shop/hold")
            joined.append(tx.joined)

    with inside("try"):
        async with asyncio.TaskGroup() as group:
            group.create_task(part())
            group.create_task(part())
    assert joined == [True, True]
    assert sorted(request.headers["placet-branch"] for request in shop.requests) == ["7.1", "7.2"]
