"""Inside other operations a transaction has its own outcome, and a gid by which a repeat begins the same one."""

import re
import uuid

import pytest

from placet.errors import NestingForbidden, OutcomeUnknown

from .conftest import LOST, Answer, transaction
from .inside import inside
from .views import view

NOT_JOINED = ["action", "compensate", "confirm", "cancel", "deliver", "check"]


@pytest.mark.parametrize("operation", NOT_JOINED)
async def test_block_outside_of_a_try_has_an_outcome_of_its_own(placet, coordinator, operation):
    """These operations are repeated, and would enrol their branches twice: it is begun and committed apart."""
    with inside(operation) as branch:
        async with placet.tcc("inner") as tx:
            await tx.call("shop/hold")
    (begin,) = coordinator.sent("/v1/transactions")
    assert re.fullmatch("n-[0-9a-f]{32}", tx.gid)
    assert (begin.body["gid"], begin.body["parent"]) == (tx.gid, "outer/7")
    assert begin.body["branches"][0]["branch_id"] == "1"
    assert [request.gid for request in coordinator.sent("/commit")] == [tx.gid]
    assert branch.scope.doomed == set()


async def gids_of_one_run(placet, operation="action", gid="outer", branch_id="7", blocks=2):
    gids = []
    with inside(operation, gid, branch_id):
        for _ in range(blocks):
            async with placet.tcc("inner") as tx:
                await tx.call("shop/hold")
            gids.append(tx.gid)
    return gids


async def test_repeat_of_an_action_begins_the_same_transactions(placet):
    """The gid is made of gid, branch, operation and the ordinal in the handler, and of nothing else."""
    first = await gids_of_one_run(placet)
    assert await gids_of_one_run(placet) == first
    assert len(set(first)) == 2


async def test_other_operations_begin_other_transactions(placet):
    """Each part of the name counts."""
    gids = [
        *await gids_of_one_run(placet),
        *await gids_of_one_run(placet, "compensate"),
        *await gids_of_one_run(placet, gid="outer-2"),
        *await gids_of_one_run(placet, branch_id="8"),
    ]
    assert len(set(gids)) == 8


async def test_sagas_blocks_and_driven_ones_are_counted_together(placet):
    """The ordinal is the handler's, so that no two transactions of one handler share a gid."""
    with inside("action"):
        gids = [placet.tcc_driven("a").gid, (await placet.tcc("b").__aenter__()).gid, placet.tcc_driven("c").gid]
    assert len(set(gids)) == 3


async def test_repeat_after_a_lost_commit_meets_the_committed_transaction(placet, coordinator, shop):
    """The first run does not know its outcome; the repeat asks under the same gid, and gets the answers again."""
    coordinator.on("/commit", LOST)
    with pytest.raises(OutcomeUnknown), inside("action"):
        async with placet.tcc("inner", timeout=0.2) as tx:
            await tx.call("shop/hold")
    coordinator.on("/v1/transactions", lambda request: transaction(request, "committed", 200))
    coordinator.on("/commit", lambda request: transaction(request, "committed"))
    coordinator.on(f"GET /v1/transactions/{tx.gid}", Answer(200, view(tx.gid, "committed", {"1": None})))
    with inside("action"):
        async with placet.tcc("inner", timeout=0.2) as again:
            assert await again.call("shop/hold") == {"price": 5}
    assert again.gid == tx.gid
    assert {request.headers["idempotency-key"] for request in shop.requests} == {f"{tx.gid}/1/try"}


async def test_a_gid_of_ones_own_is_kept(placet, coordinator):
    """A business key serves as well as the derived gid; the parent is stored all the same."""
    with inside("action"):
        async with placet.tcc("inner", gid="order-1") as tx:
            await tx.call("shop/hold")
    body = coordinator.sent("/v1/transactions")[0].body
    assert (tx.gid, body["gid"], body["parent"]) == ("order-1", "order-1", "outer/7")


@pytest.mark.parametrize("operation", ["try", "action"])
async def test_new_begins_anew_and_stores_the_parent(placet, coordinator, operation):
    """`propagation="new"`: an outcome of its own in a try, too, under a minted gid."""
    with inside(operation) as branch:
        async with placet.tcc("inner", propagation="new") as tx:
            await tx.call("shop/hold")
    body = coordinator.sent("/v1/transactions")[0].body
    assert (tx.joined, body["gid"], body["parent"]) == (False, tx.gid, "outer/7")
    assert uuid.UUID(tx.gid).version == 7
    assert len(coordinator.sent("/commit")) == 1
    assert branch.scope.doomed == set()


@pytest.mark.parametrize("operation", ["try", *NOT_JOINED])
async def test_forbid_refuses_inside_a_branch(placet, coordinator, operation):
    """The message names the branch, and nothing is sent."""
    with inside(operation), pytest.raises(NestingForbidden, match=f"{operation} of branch outer/7"):
        placet.tcc("inner", propagation="forbid")
    assert coordinator.requests == []


@pytest.mark.parametrize("propagation", ["join", "new", "forbid"])
async def test_outside_of_a_branch_propagation_changes_nothing(placet, coordinator, propagation):
    """There is nothing to join, to leave, or to refuse."""
    async with placet.tcc("order", propagation=propagation) as tx:
        await tx.call("shop/hold")
    body = coordinator.sent("/v1/transactions")[0].body
    assert ("parent" in body, tx.joined) == (False, False)
    assert uuid.UUID(tx.gid).version == 7


@pytest.mark.parametrize("operation", ["try", "action"])
async def test_what_the_coordinator_drives_never_joins(placet, coordinator, operation):
    """A saga or a driven TCC has its own outcome wherever it is begun; the parent is stored."""
    with inside(operation):
        saga = placet.saga("trip", gid="trip-1")
        saga.step("shop/book")
        driven = placet.tcc_driven("order").branch("shop/hold")
        await saga.submit()
        await driven.submit()
    begun = [request.body for request in coordinator.sent("/v1/transactions")]
    assert [(body["pattern"], body["parent"]) for body in begun] == [("saga", "outer/7"), ("tcc", "outer/7")]
    assert re.fullmatch("n-[0-9a-f]{32}", driven.gid)
