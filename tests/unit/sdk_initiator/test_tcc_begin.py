"""Begin and register: durable before the try, together where they come together, repeatable when answers are lost."""

# ruff: noqa: PT012 - the block that raises when it is left is the claim

import asyncio
import contextlib
import uuid

import pytest

from placet.client import Client
from placet.errors import (
    Aborted,
    CommitRefused,
    ContentDiffers,
    CoordinatorRefused,
    CoordinatorUnavailable,
    TransactionClosed,
)
from placet_contract.limits import BODY_BYTES_MAX

from .conftest import LOST, Answer, announce, done, held, paths, problem, transaction
from .views import view


async def call_all(tx, *targets):
    async with asyncio.TaskGroup() as group:
        for target in targets:
            group.create_task(tx.call(target))


async def test_lost_begin_reply_is_asked_again_with_the_same_gid_and_plan(placet, coordinator, shop):
    """The repeat is the same transaction, and the try is sent only after its answer."""
    coordinator.on(
        "/v1/transactions", LOST, Answer(200, {}, half=True), lambda request: transaction(request, "active", 200)
    )
    async with placet.tcc("order") as tx:
        await tx.call("shop/hold", {"sku": "a"})
    begins = coordinator.sent("/v1/transactions")
    assert len(begins) == 3
    assert all(begin.body == begins[0].body for begin in begins)
    assert begins[0].body["gid"] == tx.gid
    assert len(shop.requests) == 1


async def test_begin_that_never_gets_an_answer_raises_and_is_aborted(placet, coordinator, shop):
    """No try was sent; the abort makes a begin that is still on its way too late."""
    coordinator.on("/v1/transactions", LOST)
    with pytest.raises(CoordinatorUnavailable) as caught:
        async with placet.tcc("order", timeout=0.5) as tx:
            await tx.call("shop/hold")
    assert caught.value.maybe_written
    assert [request.gid for request in coordinator.sent("/abort")] == [tx.gid]
    assert shop.requests == []


async def test_begin_without_an_answer_is_not_followed_by_another(placet, coordinator, shop):
    """With other branches it would be another plan under the same gid; the first may stand, and is aborted."""
    coordinator.on("/v1/transactions", LOST)
    with pytest.raises(CommitRefused):
        async with placet.tcc("order", timeout=0.3) as tx:
            with contextlib.suppress(CoordinatorUnavailable):
                await tx.call("shop/a")
            coordinator.on("/v1/transactions", lambda request: transaction(request, "active", 201))
            with pytest.raises(CoordinatorUnavailable, match="takes no more branches") as caught:
                await tx.call("shop/b")
    assert caught.value.maybe_written
    assert {len(begin.body["branches"]) for begin in coordinator.sent("/v1/transactions")} == {1}
    assert (shop.requests, len(coordinator.sent("/abort"))) == ([], 1)


async def test_begin_of_an_aborted_gid_raises_aborted(placet, coordinator, shop):
    """409 to a begin: nothing was tried, and there is nothing left to abort."""
    coordinator.on("/v1/transactions", problem(409, "conflict", reason="initiator", transaction_status="aborted"))
    with pytest.raises(Aborted) as caught:
        async with placet.tcc("order", gid="t-1") as tx:
            await tx.call("shop/hold")
    assert caught.value.reason == "initiator"
    assert (shop.requests, coordinator.sent("/abort")) == ([], [])


async def test_a_gid_taken_by_another_plan_is_left_alone(placet, coordinator, shop):
    """422 content differs: the transaction of that gid is somebody else's, and is not aborted by us."""
    coordinator.on("/v1/transactions", problem(422, "content-differs"))
    with pytest.raises(ContentDiffers):
        async with placet.tcc("order", gid="t-1") as tx:
            await tx.call("shop/hold")
    assert (shop.requests, coordinator.sent("/abort")) == ([], [])


async def test_a_broken_rule_is_named(placet, coordinator):
    """422 carries the field and the rule to the user."""
    coordinator.on("/v1/transactions", problem(422, "rule", field="branches[0].target", rule="an allowed host"))
    with pytest.raises(CoordinatorRefused, match=r"branches\[0\]\.target: an allowed host"):
        async with placet.tcc("order") as tx:
            await tx.call("http://10.0.0.1/x")


async def test_branches_of_one_turn_become_one_begin_and_one_register(placet, coordinator, shop):
    """Concurrent calls cost one request of the coordinator, not one each."""
    async with placet.tcc("order") as tx:
        await call_all(tx, "shop/a", "shop/b", "shop/c")
        await call_all(tx, "shop/d", "shop/e")
    words = paths(coordinator)
    assert (words.count("transactions"), words.count("branches"), words.count("commit")) == (1, 1, 1)
    begin, register = coordinator.sent("/v1/transactions")[0].body, coordinator.sent("/branches")[0].body
    assert [branch["target"] for branch in begin["branches"]] == ["shop/a", "shop/b", "shop/c"]
    assert [branch["branch_id"] for branch in register["branches"]] == ["4", "5"]
    assert len(shop.requests) == 5


async def test_branches_that_come_during_a_begin_wait_for_it(placet, coordinator):
    """A register never overtakes its begin."""
    hold = asyncio.Event()
    coordinator.on("/v1/transactions", lambda request: held(transaction(request, "active", 201), hold))
    async with placet.tcc("order") as tx, asyncio.TaskGroup() as group:
        group.create_task(tx.call("shop/a"))
        await coordinator.has("/v1/transactions")
        group.create_task(tx.call("shop/b"))
        group.create_task(tx.call("shop/c"))
        await asyncio.sleep(0)
        assert coordinator.sent("/branches") == []
        hold.set()
    assert [len(request.body["branches"]) for request in coordinator.sent("/branches")] == [2]


async def test_payloads_too_large_for_one_request_are_spread(placet, coordinator):
    """Branches of one turn stay within the coordinator's limit on a request's body."""
    big = "x" * 500_000
    async with placet.tcc("order") as tx, asyncio.TaskGroup() as group:
        group.create_task(tx.call("shop/a", big))
        group.create_task(tx.call("shop/b", big))
    assert len(coordinator.sent("/v1/transactions")[0].body["branches"]) == 1
    assert len(coordinator.sent("/branches")[0].body["branches"]) == 1


async def test_headers_and_targets_count_towards_a_requests_size(placet, coordinator, shop):
    """They may be larger than the payloads: no request of one turn's branches passes the coordinator's limit."""
    headers = {f"x-{number}": "h" * 4_000 for number in range(30)}
    async with placet.tcc("order") as tx, asyncio.TaskGroup() as group:
        for _ in range(10):
            group.create_task(tx.call("shop/a", headers=headers))
    requests = [*coordinator.sent("/v1/transactions"), *coordinator.sent("/branches")]
    assert [len(request.body["branches"]) for request in requests] == [6, 4]
    assert all(int(request.headers["content-length"]) <= BODY_BYTES_MAX for request in requests)
    assert len(shop.requests) == 10


async def test_try_waits_for_its_branch_to_be_durable(placet, coordinator, shop):
    """While the register is unanswered nothing is sent to the participant; a lost answer is asked for again."""
    hold = asyncio.Event()
    coordinator.on("/branches", Answer(cut=True, after=hold), lambda request: transaction(request, "active"))
    async with placet.tcc("order") as tx:
        await tx.call("shop/a")
        call = asyncio.create_task(tx.call("shop/b"))
        await coordinator.has("/branches")
        assert shop.sent("/b/try") == []
        hold.set()
        await call
    first, second = coordinator.sent("/branches")
    assert first.body == second.body
    assert shop.sent("/b/try")[0].at > second.at


async def test_register_after_the_decision_raises_aborted_and_sends_no_try(placet, coordinator, shop):
    """The transaction's timeout came first."""
    coordinator.on("/branches", problem(409, "conflict", reason="timeout", transaction_status="aborting"))
    with pytest.raises(Aborted):
        async with placet.tcc("order") as tx:
            await tx.call("shop/a")
            await tx.call("shop/b")
    assert shop.sent("/b/try") == []


async def test_a_repeated_run_of_a_committed_gid_gets_the_same_answers(placet, coordinator, shop):
    """Begin says committed: the tries are repeated for their answers, and nothing new is registered."""
    coordinator.on("/v1/transactions", lambda request: transaction(request, "committed", 200))
    coordinator.on("GET /v1/transactions/t-1", Answer(200, view("t-1", "committed", {"1": None, "2": None})))
    async with placet.tcc("order", gid="t-1") as tx:
        assert await tx.call("shop/a") == {"price": 5}
        assert await tx.call("shop/b") == {"price": 5}
    assert coordinator.sent("/branches") == []
    assert len(coordinator.sent("/commit")) == 1


async def test_a_repeated_run_of_a_committed_gid_may_not_add_a_branch(placet, coordinator, shop):
    """A try of an unregistered branch would never be confirmed or cancelled, so it is not sent."""
    coordinator.on("/v1/transactions", lambda request: transaction(request, "committed", 200))
    coordinator.on("GET /v1/transactions/t-1", Answer(200, view("t-1", "committed", {"1": None})))
    with pytest.raises(TransactionClosed, match="without branch 2"):
        async with placet.tcc("order", gid="t-1") as tx:
            await tx.call("shop/a")
            await tx.call("shop/b")
    assert shop.sent("/b/try") == []


async def test_unreachable_coordinator_is_named_and_nothing_was_written(unused_tcp_port_factory, shop):
    """Refused connections leave no doubt."""
    async with Client(f"http://127.0.0.1:{unused_tcp_port_factory()}") as placet:
        with pytest.raises(CoordinatorUnavailable) as caught:
            async with placet.tcc("order", timeout=0.3) as tx:
                await tx.call(f"{shop.url}/hold")
    assert not caught.value.maybe_written
    assert shop.requests == []


async def test_two_clients_of_one_process_do_not_mix(coordinator, shop):
    """Gids are minted apart, and are UUIDs in order of time."""
    announce(coordinator, shop=[shop])
    shop.on("/try", done())
    gids = []
    for _ in range(2):
        async with Client(coordinator.url) as placet, placet.tcc("order") as tx:
            await tx.call("shop/hold")
        gids.append(tx.gid)
    assert gids == sorted(gids)
    assert {uuid.UUID(gid).version for gid in gids} == {7}
