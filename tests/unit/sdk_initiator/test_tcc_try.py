"""A try: sent once, with the wire's headers; only a clear yes or no counts."""

# ruff: noqa: PT012 - the block that raises when it is left is the claim

import asyncio
import time
from dataclasses import dataclass

import msgspec
import pydantic
import pytest

from placet.errors import BranchOutcomeUnknown, Rejected, ResultMismatch, TransactionClosed

from .conftest import HUNG, LOST, Answer, announce, done, problem, transaction


class Hold(pydantic.BaseModel):
    price: int


class HoldStruct(msgspec.Struct):
    price: int


@dataclass
class HoldData:
    price: int


async def test_try_carries_the_headers_of_the_wire(placet, shop):
    """A participant in any language can rely on them."""
    async with placet.tcc("order") as tx:
        await tx.call("shop/hold", Hold(price=1), branch_id="b", timeout=2, headers={"x-tenant": "t"})
    (request,) = shop.requests
    assert (request.method, request.path, request.body) == ("POST", "/hold/try", {"price": 1})
    sent = request.headers
    assert sent["placet-gid"] == tx.gid
    assert (sent["placet-branch"], sent["placet-op"], sent["placet-attempt"]) == ("b", "try", "1")
    assert sent["idempotency-key"] == f"{tx.gid}/b/try"
    assert 0 < int(sent["placet-deadline-ms"]) <= 2_000
    now_ms = time.time() * 1_000
    assert now_ms - 60_000 < int(sent["placet-begun-at-ms"]) <= int(sent["placet-time-ms"]) <= now_ms
    assert (sent["content-type"], sent["x-tenant"]) == ("application/json", "t")


@pytest.mark.parametrize("payload", [Hold(price=3), HoldStruct(3), HoldData(3), {"price": 3}])
async def test_payloads_of_every_kind_arrive_as_json(placet, shop, payload):
    """Pydantic, msgspec, dataclass and plain data are the same on the wire."""
    async with placet.tcc("order") as tx:
        await tx.call("shop/hold", payload)
    assert shop.requests[0].body == {"price": 3}


@pytest.mark.parametrize("wanted", [Hold, HoldStruct, HoldData])
async def test_results_come_in_the_type_asked_for(placet, wanted):
    """`returns=` types the result."""
    async with placet.tcc("order") as tx:
        held = await tx.call("shop/hold", returns=wanted)
    assert held == wanted(price=5)


@pytest.mark.parametrize("wanted", [Hold, HoldStruct])
async def test_result_of_another_shape_is_done_all_the_same(placet, coordinator, shop, wanted):
    """The branch counts as tried, so a handler that can do without the result may still commit."""
    shop.on("/try", done({"cost": 1}))
    async with placet.tcc("order") as tx:
        with pytest.raises(ResultMismatch):
            await tx.call("shop/hold", returns=wanted)
    assert len(coordinator.sent("/commit")) == 1


async def test_rejected_try_aborts_with_the_participants_words(placet, coordinator, shop):
    """A business no leaves the block as Rejected."""
    shop.on("/try", problem(409, "rejected", detail="out of stock"))
    with pytest.raises(Rejected, match="out of stock") as caught:
        async with placet.tcc("order") as tx:
            await tx.call("shop/hold")
    assert not caught.value.late
    assert "out of stock" in coordinator.sent("/abort")[0].body["reason_text"]
    assert coordinator.sent("/commit") == []


async def test_late_try_says_so(placet, coordinator, shop):
    """The participant has seen the end of this transaction."""
    shop.on("/try", problem(409, "late"))
    with pytest.raises(Rejected) as caught:
        async with placet.tcc("order") as tx:
            await tx.call("shop/hold")
    assert caught.value.late


@pytest.mark.parametrize(
    "answer",
    [
        LOST,
        Answer(200, {"price": 5}, half=True),
        Answer(500, b"oops"),
        Answer(503, b""),
        Answer(425, {}),
        Answer(302, b"", {"location": "/elsewhere"}),
        Answer(409, b"<html>"),
        Answer(404, b""),
        Answer(200, {"price": 5}, {"placet-outcome": "another/1/try"}),
    ],
    ids=["cut", "half", "500", "503", "425", "redirect", "409-page", "404", "another-call"],
)
async def test_unclear_answer_is_unknown_never_sent_again_and_aborts(placet, coordinator, shop, answer):
    """Whatever is not a clear yes or no may have run."""
    shop.on("/try", answer)
    with pytest.raises(BranchOutcomeUnknown):
        async with placet.tcc("order") as tx:
            await tx.call("shop/hold")
    assert len(shop.requests) == 1
    assert len(coordinator.sent("/abort")) == 1
    assert coordinator.sent("/commit") == []


async def test_answer_without_echo_from_one_that_echoes_is_unknown(placet, shop):
    """A proxy's 200 in front of an SDK participant is not its answer."""
    shop.on("/page/try", Answer(200, b"<html>"))
    with pytest.raises(BranchOutcomeUnknown, match="placet-outcome"):
        async with placet.tcc("order") as tx:
            await tx.call("shop/hold")
            await tx.call("shop/page")


async def test_silent_try_ends_at_the_calls_timeout(placet, shop):
    """The call's own timeout holds."""
    shop.on("/try", HUNG)
    with pytest.raises(BranchOutcomeUnknown):
        async with placet.tcc("order") as tx:
            await tx.call("shop/hold", timeout=0.2)


async def test_refused_connection_moves_on_to_the_next_instance(placet, coordinator, serve, shop, unused_tcp_port):
    """Not a byte was sent, so another instance may be asked, under the same branch."""
    gone = type(shop)()
    gone.url = f"http://127.0.0.1:{unused_tcp_port}"
    announce(coordinator, twins=[gone, shop, gone])
    async with placet.tcc("order") as tx:
        for _ in range(3):
            await tx.call("twins/hold")
    assert len(shop.requests) == 3


async def test_service_without_an_instance_is_unknown_and_named(placet, coordinator):
    """The branch is registered, so it is aborted like any other."""
    announce(coordinator, ghost=[])
    with pytest.raises(BranchOutcomeUnknown, match="no live instance of service 'ghost'"):
        async with placet.tcc("order") as tx:
            await tx.call("ghost/hold")
    assert len(coordinator.sent("/abort")) == 1


async def test_the_blocks_own_exception_stays_even_if_the_abort_is_lost(placet, coordinator):
    """What went wrong while aborting is a note of it, never in its place."""
    coordinator.on("/abort", LOST)
    with pytest.raises(ZeroDivisionError) as caught:
        async with placet.tcc("order", timeout=0.5) as tx:
            await tx.call("shop/hold")
            1 / 0  # noqa: B018 - raises
    assert "the coordinator aborts it at its timeout" in caught.value.__notes__[0]
    assert len(coordinator.sent("/abort")) > 1


async def test_foreign_exceptions_words_are_not_stored(placet, coordinator):
    """An exception's text may hold what the user would not want at the coordinator: only its type travels."""
    with pytest.raises(RuntimeError):
        async with placet.tcc("order") as tx:
            await tx.call("shop/hold")
            raise RuntimeError("password=hunter2")
    assert coordinator.sent("/abort")[0].body == {"reason_text": "RuntimeError"}


async def test_cancelled_block_aborts_without_holding_the_cancellation_up(placet, coordinator, shop):
    """The abort goes out in the background."""
    shop.on("/try", HUNG)
    hold = asyncio.Event()
    coordinator.on("/abort", Answer(cut=True, after=hold), lambda request: transaction(request, "aborting"))

    async def order():
        async with placet.tcc("order") as tx:
            await tx.call("shop/hold")

    task = asyncio.create_task(order())
    await shop.has("/hold/try")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await coordinator.has("/abort")
    hold.set()
    await coordinator.has("/abort", 2)


async def test_call_after_the_block_is_refused(placet, shop):
    """Nothing is sent for a transaction that is decided."""
    async with placet.tcc("order") as tx:
        await tx.call("shop/hold")
    with pytest.raises(TransactionClosed):
        await tx.call("shop/hold")
    assert len(shop.requests) == 1


async def test_a_branch_id_serves_once(placet):
    """A second branch of the same name would be taken for a repeat."""
    with pytest.raises(ValueError, match="already used"):
        async with placet.tcc("order") as tx:
            await tx.call("shop/hold", branch_id="a")
            await tx.call("shop/hold", branch_id="a")


async def test_a_payload_without_json_form_sends_nothing(placet, coordinator):
    """The mistake is the caller's, before anything is planned."""
    with pytest.raises(TypeError, match="a payload can't hold object"):
        async with placet.tcc("order") as tx:
            await tx.call("shop/hold", object())
    assert coordinator.requests == []
