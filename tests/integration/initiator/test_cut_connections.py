"""The SDK against a real coordinator and real services, while answers and requests between them are lost."""

# ruff: noqa: PT012 - the block that raises when it is left is the claim

import itertools

import pytest

from acceptance.processes import Server
from placet import Aborted, BranchOutcomeUnknown, Client, OutcomeUnknown, Rejected

from .proxy import Fate, Proxy

LOST = [Fate.REQUEST_LOST, Fate.ANSWER_LOST]


async def test_lost_answers_to_a_commit_are_asked_for_again(placet, direct, proxy, system, order):
    """The decision stands since the first; the repeats learn it, and nothing happens twice."""
    proxy.lose("/commit", Fate.ANSWER_LOST, times=3)
    async with placet.tcc("order") as tx:
        await tx.call("north/hold", {"order": order})
        await tx.call("south/hold", {"order": order})
    assert proxy.seen("/commit") == 4
    assert (await direct.wait(tx.gid)).status == "committed"
    assert await system.north.entries(order) == await system.south.entries(order) == ["confirmed"]


@pytest.mark.parametrize(
    "loss",
    list(itertools.product(["POST /v1/transactions HTTP", "/branches", "/commit"], LOST)),
    ids=lambda loss: f"{loss[1].name} of {loss[0]}",
)
async def test_call_that_is_lost_twice_is_made_once(placet, proxy, system, order, loss):
    """Begin, register and commit: whether the request or its answer was lost, the repeat is the same call."""
    proxy.lose(*loss, times=2)
    async with placet.tcc("order") as tx:
        await tx.call("north/hold", {"order": order})
        await tx.call("south/hold", {"order": order})
    assert proxy.seen(loss[0]) == 3
    view = await placet.wait(tx.gid)
    assert (view.status, len(view.branches)) == ("committed", 2)
    assert await system.north.runs(order) == 1
    assert await system.south.entries(order) == ["confirmed"]


async def test_commit_whose_answers_are_all_lost_has_happened_and_is_called_unknown(
    placet, direct, proxy, system, order
):
    """`OutcomeUnknown` is no failure: whoever asks learns that it is committed."""
    proxy.lose("/commit", Fate.ANSWER_LOST)
    with pytest.raises(OutcomeUnknown) as caught:
        async with placet.tcc("order", timeout=4) as tx:
            await tx.call("north/hold", {"order": order})
    assert caught.value.gid == tx.gid
    assert (await direct.wait(tx.gid)).status == "committed"
    assert await system.north.entries(order) == ["confirmed"]


async def test_commit_whose_requests_are_all_lost_has_not_happened_and_is_called_unknown(
    placet, direct, proxy, system, order
):
    """The same words for the opposite truth: the coordinator's timeout has decided, and whoever asks learns it."""
    proxy.lose("/commit", Fate.REQUEST_LOST)
    with pytest.raises(OutcomeUnknown):
        async with placet.tcc("order", timeout=4) as tx:
            await tx.call("north/hold", {"order": order})
    view = await direct.wait(tx.gid)
    assert (view.status, view.reason) == ("aborted", "timeout")
    assert await system.north.entries(order) == ["cancelled"]


@pytest.mark.parametrize("fate", LOST, ids=["request", "answer"])
async def test_lost_abort_is_repeated(placet, proxy, system, order, fate):
    """The block's own exception leaves it, and what was held is let go."""
    proxy.lose("/abort", fate, times=2)
    with pytest.raises(ZeroDivisionError):
        async with placet.tcc("order") as tx:
            await tx.call("north/hold", {"order": order})
            raise ZeroDivisionError
    assert proxy.seen("/abort") == 3
    view = await placet.wait(tx.gid)
    assert (view.status, view.reason, view.reason_text) == ("aborted", "initiator", "ZeroDivisionError")
    assert await system.north.entries(order) == ["cancelled"]


async def test_rejected_try_cancels_what_the_others_hold(placet, direct, system, order):
    """The participant's words reach the initiator, and the coordinator's record."""
    with pytest.raises(Rejected, match="south says no"):
        async with placet.tcc("order") as tx:
            await tx.call("north/hold", {"order": order})
            await tx.call("south/hold", {"order": order, "reject": True})
    view = await direct.wait(tx.gid)
    assert view.status == "aborted"
    assert "south says no" in view.reason_text
    assert await system.north.entries(order) == ["cancelled"]
    assert await system.south.entries(order) == []


@pytest.mark.parametrize("fate", LOST, ids=["request", "answer"])
async def test_try_without_an_answer_is_never_sent_again_and_undone(placet, direct, system, order, fate):
    """Whether it ran or not, the transaction aborts, and the branch is cancelled."""
    async with Proxy(system.north.url) as between:
        between.lose("/try", fate)
        with pytest.raises(BranchOutcomeUnknown):
            async with placet.tcc("order") as tx:
                await tx.call(f"{between.url}/placet/hold", {"order": order})
        assert (await direct.wait(tx.gid)).status == "aborted"
        assert between.seen("/try") == 1
    assert await system.north.entries(order) == (["cancelled"] if fate is Fate.ANSWER_LOST else [])


async def test_saga_is_begun_once_through_lost_answers_and_waited_for(placet, proxy, system, order):
    """Submit and result are the same request; results come typed, by target."""
    proxy.lose("POST /v1/transactions", Fate.ANSWER_LOST, times=2)
    saga = placet.saga("trip", gid=order)
    saga.step("north/book", {"order": order})
    saga.step("south/book", {"order": order})
    result = await (await saga.submit()).result(timeout=20)
    assert result.of("south/book", dict[str, str | None]) == {"service": "south", "inner_gid": None}
    assert await system.north.entries(order) == ["booked"]
    assert await system.north.runs(order) == 1


async def test_saga_that_fails_is_taken_back_with_its_forward_results(placet, system, order):
    """The compensation gets what the action returned; the caller gets the rejection's words."""
    saga = placet.saga("trip", gid=order)
    saga.step("north/book", {"order": order})
    saga.step("south/book", {"order": order, "reject": True})
    with pytest.raises(Aborted, match="south says no") as caught:
        await (await saga.submit()).result(timeout=20)
    assert caught.value.reason == "rejected"
    assert await system.north.entries(order) == ["taken back from north"]


async def test_driven_tcc_through_lost_answers(placet, proxy, system, order):
    """One request, repeated: the tries run once."""
    proxy.lose("POST /v1/transactions", Fate.ANSWER_LOST, times=2)
    driven = placet.tcc_driven("order", gid=order)
    driven.branch("north/hold", {"order": order}).branch("south/hold", {"order": order})
    result = await driven.run()
    assert result.view.status == "committed"
    assert await system.north.entries(order) == await system.south.entries(order) == ["confirmed"]
    assert await system.north.runs(order) == 1


async def test_names_resolve_while_the_coordinator_answers_no_look_up(placet, proxy, system, order):
    """The last good answer serves: where participants are does not change because nobody says so."""
    async with placet.tcc("first") as tx:
        await tx.call("north/hold", {"order": f"{order}-1"})
    proxy.lose("GET /v1/services", Fate.REQUEST_LOST)
    placet._directory._services["north"].answered_at -= 60
    async with placet.tcc("second") as tx:
        await tx.call("north/hold", {"order": order})
    assert proxy.seen("/v1/services") >= 2
    assert await system.north.runs(order) == 1


async def test_refused_token_is_told_at_once(tmp_path, order):
    """A wrong token is no outage: nothing is repeated for half a minute."""
    server = Server(f"sqlite:///{tmp_path / 'placet.db'}", tmp_path, PLACET_SERVER_TOKENS="correct-horse-battery")
    try:
        server.run()
        async with Client(server.url, token="wrong") as placet:
            saga = placet.saga("trip", gid=order)
            saga.step("north/book")
            with pytest.raises(Exception, match="answers 401") as caught:
                await saga.submit()
        assert "wrong" not in str(caught.value)
    finally:
        server.stop()
