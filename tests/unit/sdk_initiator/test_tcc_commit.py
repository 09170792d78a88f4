"""What a block says about its commit, whatever becomes of the connection."""

# ruff: noqa: PT012 - the block that raises when it is left is the claim

import asyncio
import contextlib

import pytest

from placet.client import Client
from placet.errors import Aborted, CommitRefused, OutcomeUnknown

from .conftest import HUNG, LOST, Answer, held, paths, problem, transaction


def committing(request):
    return transaction(request, "committing")


async def test_clean_block_registers_before_it_tries_and_commits_once(placet, coordinator, shop):
    """Begin carries the first branch and is answered before its try is sent; leaving the block commits."""
    async with placet.tcc("order") as tx:
        assert await tx.call("shop/hold", {"sku": "a"}) == {"price": 5}
        assert tx.node == "n1"
    assert paths(coordinator, shop) == ["shop", "transactions", "try", "commit"] or paths(coordinator, shop) == [
        "transactions",
        "shop",
        "try",
        "commit",
    ]
    begin = coordinator.sent("/v1/transactions")[0].body
    assert begin == {
        "pattern": "tcc",
        "gid": tx.gid,
        "name": "order",
        "timeout_ms": 30_000,
        "branches": [{"branch_id": "1", "target": "shop/hold", "payload": {"sku": "a"}}],
    }


async def test_empty_block_sends_nothing(placet, coordinator):
    """Without a call there is no transaction."""
    async with placet.tcc("order"):
        pass
    assert coordinator.requests == []


async def test_lost_commit_reply_is_asked_again(placet, coordinator):
    """A commit whose connection is cut, then answered by half, is repeated until the answer is whole."""
    coordinator.on("/commit", LOST, Answer(200, {}, half=True), committing)
    async with placet.tcc("order") as tx:
        await tx.call("shop/hold")
    assert len(coordinator.sent("/commit")) == 3
    assert {request.gid for request in coordinator.sent("/commit")} == {tx.gid}


@pytest.mark.parametrize(
    "page",
    [Answer(200, b"<html>"), Answer(502, b"<html>"), Answer(409, b"<html>"), Answer(404, b"<html>")],
    ids=["200", "502", "409", "404"],
)
async def test_a_proxys_page_is_no_answer_to_a_commit(placet, coordinator, page):
    """Only the coordinator's own words count, whatever the status."""
    coordinator.on("/commit", page, committing)
    async with placet.tcc("order") as tx:
        await tx.call("shop/hold")
    assert len(coordinator.sent("/commit")) == 2


async def test_commit_lost_for_ever_is_an_unknown_outcome(placet, coordinator):
    """At the transaction's timeout the block says that it does not know, and by a type that means no failure."""
    coordinator.on("/commit", LOST)
    with pytest.raises(OutcomeUnknown) as caught:
        async with placet.tcc("order", timeout=1) as tx:
            await tx.call("shop/hold")
    assert caught.value.gid == tx.gid
    assert len(coordinator.sent("/commit")) > 1
    assert coordinator.sent("/abort") == []
    assert not isinstance(caught.value, Aborted)


async def test_hung_commit_is_an_unknown_outcome(placet, coordinator):
    """A connection that stays silent is given up at the timeout."""
    coordinator.on("/commit", HUNG)
    with pytest.raises(OutcomeUnknown):
        async with placet.tcc("order", timeout=0.6) as tx:
            await tx.call("shop/hold")


async def test_commit_that_lost_against_an_abort_raises_aborted_with_the_reason(placet, coordinator):
    """409 is the other decision."""
    coordinator.on("/commit", problem(409, "conflict", reason="timeout", transaction_status="aborting"))
    with pytest.raises(Aborted) as caught:
        async with placet.tcc("order") as tx:
            await tx.call("shop/hold")
    assert (caught.value.reason, caught.value.gid) == ("timeout", tx.gid)


async def test_overloaded_coordinator_is_asked_again_no_sooner_than_it_says(placet, coordinator):
    """503 with Retry-After holds the repeat back."""
    coordinator.on("/commit", problem(503, "overloaded", headers={"retry-after": "1"}), committing)
    async with placet.tcc("order") as tx:
        await tx.call("shop/hold")
    first, second = coordinator.sent("/commit")
    assert second.at - first.at >= 1


async def test_commit_of_a_forgotten_gid_is_an_unknown_outcome(placet, coordinator):
    """A coordinator that begun the transaction and now knows nothing of it proves nothing."""
    coordinator.on("/commit", problem(404, "not-found"))
    with pytest.raises(OutcomeUnknown):
        async with placet.tcc("order") as tx:
            await tx.call("shop/hold")
    assert len(coordinator.sent("/commit")) == 1


async def test_block_left_after_its_timeout_still_asks_once(placet, coordinator):
    """Only the coordinator knows whether the timeout won."""
    coordinator.on("/commit", problem(409, "conflict", reason="timeout", transaction_status="aborted"))
    with pytest.raises(Aborted):
        async with placet.tcc("order", timeout=0.1) as tx:
            await tx.call("shop/hold")
            await asyncio.sleep(0.15)
    assert len(coordinator.sent("/commit")) == 1


async def test_cancelled_commit_is_an_unknown_outcome_and_goes_on_in_the_background(placet, coordinator):
    """Whoever is cancelled while leaving the block must ask; the decision still reaches the coordinator."""
    answered = asyncio.Event()
    coordinator.on("/commit", Answer(cut=True, after=answered), committing)

    async def order():
        async with placet.tcc("order", gid="t-1") as tx:
            await tx.call("shop/hold")

    task = asyncio.create_task(order())
    await coordinator.has("/commit")
    task.cancel()
    with pytest.raises(OutcomeUnknown) as caught:
        await task
    assert caught.value.gid == "t-1"
    answered.set()
    await coordinator.has("/commit", 2)


async def test_timeout_around_the_block_does_not_make_a_commit_look_failed(placet, coordinator):
    """A TimeoutError would read as a failure; what is true is that the outcome is not known."""
    answered = asyncio.Event()
    coordinator.on("/commit", lambda request: held(committing(request), answered))
    with pytest.raises(OutcomeUnknown):
        async with asyncio.timeout(None) as limit, placet.tcc("order") as tx:
            await tx.call("shop/hold")
            limit.reschedule(asyncio.get_running_loop().time() + 0.1)
    answered.set()


async def test_closing_the_client_waits_for_a_decision_on_its_way(coordinator, shop):
    """A process that ends in order does not leave its decisions to the timeout."""
    answered = asyncio.Event()
    coordinator.on("/commit", Answer(cut=True, after=answered), committing)
    placet = Client(coordinator.url)

    async def order():
        async with placet.tcc("order") as tx:
            await tx.call(f"{shop.url}/hold")

    task = asyncio.create_task(order())
    await coordinator.has("/commit")
    task.cancel()
    closing = asyncio.create_task(placet.aclose())
    with pytest.raises(OutcomeUnknown):
        await task
    assert not closing.done()
    answered.set()
    await closing
    assert len(coordinator.sent("/commit")) == 2


async def test_closing_gives_up_a_decision_that_gets_no_answer(coordinator, shop, monkeypatch):
    """It waits for a few seconds at most; the coordinator's timeout decides."""
    monkeypatch.setattr("placet.background.WAIT_SECONDS_MAX", 0.1)
    coordinator.on("/abort", HUNG)
    async with asyncio.timeout(3), Client(coordinator.url) as placet:

        async def order():
            async with placet.tcc("order") as tx:
                await tx.call(f"{shop.url}/hold")
                raise asyncio.CancelledError

        with pytest.raises(asyncio.CancelledError):
            await order()
        await coordinator.has("/abort")


async def test_swallowed_failure_of_a_call_is_not_committed(placet, coordinator, shop):
    """A handler that catches the error of a call cannot commit past it."""
    shop.on("/charge/try", Answer(500, b"oops"))
    with pytest.raises(CommitRefused) as caught:
        async with placet.tcc("order") as tx:
            await tx.call("shop/hold")
            with contextlib.suppress(Exception):  # the very mistake
                await tx.call("shop/charge", branch_id="pay")
    assert caught.value.branch_ids == ("pay",)
    assert coordinator.sent("/commit") == []
    assert len(coordinator.sent("/abort")) == 1


async def test_call_still_under_way_when_the_block_ends_is_not_committed(placet, coordinator, shop):
    """A call that nobody awaited has no successful try."""
    shop.on("/hold/try", HUNG)
    with pytest.raises(CommitRefused):
        async with placet.tcc("order") as tx:
            loose = asyncio.create_task(tx.call("shop/hold"))
            await shop.has("/hold/try")
    loose.cancel()
    await asyncio.gather(loose, return_exceptions=True)
    assert coordinator.sent("/commit") == []
