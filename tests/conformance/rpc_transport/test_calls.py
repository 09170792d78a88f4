"""What a call of a method is, whatever carries it."""

import asyncio
from datetime import timedelta

import pytest

from conformance.rpc_transport.messages import Quote
from conformance.rpc_transport.stock import Label, OtherStock, OutOfStock, Price, Reservation, Stock
from placet_rpc import CallRefused, CallTimeout, RemoteFault, ReplyUnreadable, Safety
from placet_rpc.context import call_options


async def test_arguments_and_results_keep_their_types(stock):
    """Positional, named and default arguments arrive; dataclasses, Structs, models and None come back as such."""
    assert await stock.reserve("A1", 2) == Reservation("A1", 2)
    assert await stock.reserve(sku="A1", tags=["x"]) == Reservation("A1", 1, ["x"])
    assert await stock.price("abc") == Price(3)
    assert await stock.price("") is None
    assert await stock.label(Label(text="ä")) == Label(text="Ä")


async def test_protobuf_messages_travel_whatever_the_codec(stock):
    """Alone, in a list beside plain data, and as a result that may be missing; 64-bit numbers and bytes are exact."""
    quote = Quote(sku="A1", count=2**62, seal=b"\x00\xff", price=0.5)
    quote.valid_for.FromMilliseconds(90_500)
    assert await stock.quote(quote) == Quote(sku="A1", count=2**62 + 1, parts=[quote])
    assert await stock.quote(Quote()) == Quote(count=1, parts=[Quote()])
    assert await stock.cheapest([Quote(price=2.5), quote], at_most=2) == quote
    assert await stock.cheapest([quote], 0.25) is None


@pytest.mark.parametrize("size", [0, 1, 700_000])
async def test_bytes_travel_whole(size, stock):
    """Bytes of any length come back as they were."""
    data = bytes(range(256)) * (size // 256 + 1)
    assert await stock.echo(data[:size]) == data[:size]


async def test_a_wrong_call_never_leaves(stock, implementation):
    """Arguments that don't fit the signature are a TypeError here, as of any function."""
    for args, kwargs in (((), {}), (("A1", 2, ["x"]), {}), (("A1",), {"sku": "A1"}), (("A1",), {"colour": "red"})):
        with pytest.raises(TypeError):
            await stock.reserve(*args, **kwargs)
    assert implementation.calls == []


async def test_an_exception_of_the_contract_is_raised_as_it_was(stock):
    """Its type and args cross the wire."""
    with pytest.raises(OutOfStock) as out:
        await stock.lose(listed=True)
    assert out.value.args == ("A1", 2)


async def test_any_other_exception_is_a_fault_without_its_words(stock, caplog):
    """The caller learns the class, the log has the rest; it ran."""
    with pytest.raises(RemoteFault) as fault:
        await stock.lose(listed=False)
    assert (fault.value.safety, fault.value.kind) == (Safety.EXECUTED, "Unlisted")
    assert "secret" not in str(fault.value)
    assert "a secret" in caplog.text


async def test_a_method_has_its_time(stock, implementation):
    """Past the method's timeout the call is UNKNOWN."""
    with pytest.raises(CallTimeout) as timeout:
        await stock.stall()
    assert timeout.value.safety is Safety.UNKNOWN
    assert implementation.stalled.is_set()


async def test_a_caller_that_leaves_stops_the_method(stock, implementation):
    """A cancelled call is cancelled at the server too."""
    call = asyncio.ensure_future(stock.stall())
    await implementation.stalled.wait()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await implementation.cancelled.wait()


async def test_a_detached_method_goes_on_without_its_caller(stock, implementation):
    """What is detached is not stopped by its caller's leaving."""
    call = asyncio.ensure_future(stock.finish())
    await implementation.stalled.wait()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await asyncio.sleep(0.05)  # for a wrong CANCEL to do its harm; the claim does not rest on it
    implementation.may_finish.set()
    await implementation.finished.wait()


async def test_circumstances_travel(stock):
    """Caller, ordering key, idempotency key and the time left are known to the method."""
    with call_options(timeout=timedelta(seconds=2), key="k-1", idempotency_key="i-1"):
        seen = await stock.circumstances()
    assert (seen["caller"], seen["key"], seen["id"]) == ("order", "k-1", "i-1")
    assert 0 < seen["left_ms"] <= 2000


async def test_a_nested_call_has_less_time_than_its_caller(stock, implementation):
    """The deadline goes with the call, less a reserve for the answer."""
    implementation.inner = stock
    with call_options(timeout=timedelta(milliseconds=900)):
        assert 0 < await stock.nested() <= 895


async def test_calls_within_a_detached_method_have_their_own_time(stock, implementation):
    """It goes on without its caller, and so must what it calls."""
    implementation.inner = stock
    with call_options(timeout=timedelta(milliseconds=900)):
        assert 2000 < await stock.nested_detached() <= 3000


async def test_options_of_a_call_stay_with_it(stock, implementation):
    """What the method calls in turn is a call of its own, with another key and no idempotency key."""
    implementation.inner = stock
    with call_options(key="k-1", idempotency_key="i-1"):
        seen = await stock.relay()
    assert (seen["key"], seen["id"]) == ("", "")


async def test_plain_implementations_run_in_bounded_threads(stock, implementation):
    """A plain def runs outside of the loop; beyond the pool and its queue calls are refused, not executed."""
    assert (await stock.where()).startswith("placet-rpc")
    outcomes = await asyncio.gather(*(stock.where() for _ in range(50)), return_exceptions=True)
    refused = [outcome for outcome in outcomes if not isinstance(outcome, str)]
    assert all(isinstance(error, CallRefused) and error.safety is Safety.NOT_EXECUTED for error in refused)
    assert len(refused) < 50


async def test_another_version_is_refused_where_it_matters(client, stock, implementation):
    """A parameter that the server does not know, one that is missing, a missing method: NOT_EXECUTED. Else it goes."""
    other = client.reference(OtherStock)
    assert await other.reserve("A1", 2) == Reservation("A1", 2)
    for call in (other.reserve("A1", 2, warehouse="north"), other.price(), other.gone()):
        with pytest.raises(CallRefused) as refused:
            await call
        assert refused.value.safety is Safety.NOT_EXECUTED
    assert len(implementation.calls) == 1


async def test_an_unreadable_result_says_that_it_ran(client):
    """A result that is not what the caller's contract says is EXECUTED."""
    with pytest.raises(ReplyUnreadable) as unreadable:
        await client.reference(OtherStock).echo(b"no number")
    assert unreadable.value.safety is Safety.EXECUTED


async def test_many_calls_at_once_keep_apart(stock):
    """Each of many concurrent calls gets its own result."""
    results = await asyncio.gather(*(stock.reserve("A1", number) for number in range(200)))
    assert [result.count for result in results] == list(range(200))


async def test_the_proxy_is_typed_as_the_interface(client):
    """A proxy has the interface's methods, and no others."""
    proxy = client.reference(Stock)
    assert callable(proxy.reserve)
    assert not hasattr(proxy, "restock")
