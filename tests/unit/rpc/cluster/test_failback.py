"""Failback: calls that are made again later."""

import asyncio
from datetime import timedelta
from itertools import pairwise

import pytest

from placet_rpc import CallTimeout, ConnectFailed, RemoteFault, Safety
from placet_rpc.cluster import FailbackFull, FailbackLimits, FailbackQueue, MemoryFailbackStore
from unit.rpc.cluster.network import STOCK, SoldOut, make_call


class Outbox:
    """A method under failback, with its queue."""

    def __init__(self, network, **limits):
        self.network = network
        if limits:
            network.queue = FailbackQueue(network.store, network.clock, network.chance, FailbackLimits(**limits))
        self.targets = network.targets(balancer="consistent_hash")
        self.failback = network.strategy("failback")
        self.queue = network.queue
        self.queue.know(STOCK, STOCK.methods["peek"], 1000, self.invoke)

    def invoke(self, call):
        return self.failback.invoke(call, self.targets)

    def all_do(self, *does, always=None):
        for route in self.network.routes.values():
            route.does, route.always = list(does), always

    def calls(self):
        calls = [call for route in self.network.routes.values() for call in route.calls]
        return sorted(calls, key=lambda call: call.attempt)


@pytest.fixture
async def outbox(network):
    """A method under failback."""
    return Outbox(network)


async def test_a_failed_call_is_made_again_until_it_succeeds(outbox, network):
    """The caller gets None at once; each attempt has the same arguments and idempotency key, and a number."""
    outbox.all_do(ConnectFailed("m"), CallTimeout("m", safety=Safety.UNKNOWN), ConnectFailed("m"))
    began_at = network.clock.monotonic()
    assert await outbox.invoke(make_call(caller="order", xid="g-1", traceparent="t")) is None
    assert network.clock.monotonic() == began_at
    await asyncio.sleep(60)
    calls = outbox.calls()
    assert [call.attempt for call in calls] == [1, 2, 3, 4]
    assert len({call.idempotency_key for call in calls}) == 1
    assert calls[0].idempotency_key
    assert {(call.arguments.sku, call.caller, call.xid, call.traceparent) for call in calls} == {
        ("A1", "order", "g-1", "t")
    }
    assert (outbox.queue.added, outbox.queue.succeeded, outbox.queue.buried) == (1, 1, 0)
    assert await network.store.take(frozenset({"stock/1.peek"}), 10**15, 0, 10) == []


async def test_the_callers_own_idempotency_key_is_kept(outbox):
    """It names the entry too."""
    outbox.all_do(ConnectFailed("m"))
    await outbox.invoke(make_call(idempotency_key="mine"))
    await asyncio.sleep(10)
    assert {call.idempotency_key for call in outbox.calls()} == {"mine"}


async def test_delays_grow_to_a_minute(outbox, network):
    """From at most a second, doubling, with jitter; the store is asked once a second."""
    outbox.all_do(always=ConnectFailed("m"))
    times = []

    async def fail(_call):
        times.append(network.clock.monotonic())
        raise ConnectFailed("m")

    outbox.all_do(always=fail)
    await outbox.invoke(make_call())
    await asyncio.sleep(1800)
    delays = [after - before for before, after in pairwise(times)]
    assert len(delays) > 30
    for number, delay in enumerate(delays):
        assert delay <= min(2**number, 60) + 1.01


async def test_what_succeeds_or_is_answered_is_not_kept(outbox, network):
    """A result is the caller's, and so are an exception of the contract and a fault of what ran."""
    assert await outbox.invoke(make_call()) in network.routes
    for error in (SoldOut(), RemoteFault("m")):
        outbox.all_do(error)
        with pytest.raises(type(error)):
            await outbox.invoke(make_call())
    assert outbox.queue.added == 0


@pytest.mark.parametrize("answer", [SoldOut("of the contract"), RemoteFault("m")])
async def test_an_answer_that_nobody_hears_is_a_dead_letter(answer, outbox, network, caplog):
    """It ran, and it is too late to tell the caller: people can see it, and send it again."""
    outbox.all_do(ConnectFailed("m"), answer)
    await outbox.invoke(make_call())
    await asyncio.sleep(10)
    (dead,) = await network.store.dead(10)
    assert type(answer).__name__ in dead.last_error
    assert "given up after 2 attempts" in caplog.text
    assert await network.store.revive(dead.entry_id, 0)
    await asyncio.sleep(2)
    assert outbox.queue.succeeded == 1
    assert not await network.store.revive(dead.entry_id, 0)


async def test_what_is_too_old_is_a_dead_letter(network):
    """After a day, unless told otherwise."""
    outbox = Outbox(network, max_age=timedelta(minutes=10))
    outbox.all_do(always=ConnectFailed("m"))
    await outbox.invoke(make_call())
    await asyncio.sleep(590)
    assert await network.store.dead(10) == []
    await asyncio.sleep(120)
    (dead,) = await network.store.dead(10)
    assert dead.attempts > 5
    assert outbox.queue.buried == 1


async def test_a_call_that_no_store_keeps_fails(network):
    """None means that it will be made; so the caller gets the error."""
    network.store = MemoryFailbackStore(max_entries=1)
    network.queue = FailbackQueue(network.store, network.clock, network.chance)
    outbox = Outbox(network)
    outbox.all_do(always=ConnectFailed("m"))
    assert await outbox.invoke(make_call()) is None
    with pytest.raises(ConnectFailed) as error:
        await outbox.invoke(make_call())
    assert isinstance(error.value.__cause__, FailbackFull)


async def test_a_store_that_fails_for_a_while_loses_nothing(outbox, network, monkeypatch, caplog):
    """The queue goes on asking."""
    outbox.all_do(ConnectFailed("m"))
    await outbox.invoke(make_call())
    take = network.store.take
    failures = 0

    async def fail(*arguments):
        nonlocal failures
        failures += 1
        if failures <= 3:
            raise OSError("disk")
        return await take(*arguments)

    monkeypatch.setattr(network.store, "take", fail)
    await asyncio.sleep(30)
    assert outbox.queue.succeeded == 1
    assert "failback store failed" in caplog.text


async def test_another_queue_goes_on_where_one_was_stopped(outbox, network):
    """With a store that outlives it, so do its calls; methods that a process does not know stay for one that does."""
    outbox.all_do(ConnectFailed("m"))
    await outbox.invoke(make_call())
    await outbox.queue.aclose()
    await asyncio.sleep(100)
    assert len(outbox.calls()) == 1
    stranger = FailbackQueue(network.store, network.clock, network.chance)
    stranger.know(STOCK, STOCK.methods["count"], 1000, outbox.invoke)
    await asyncio.sleep(5)
    assert stranger.succeeded == 0
    heir = FailbackQueue(network.store, network.clock, network.chance)
    heir.know(STOCK, STOCK.methods["peek"], 1000, outbox.invoke)
    await asyncio.sleep(5)
    assert heir.succeeded == 1
    await heir.aclose()
    await stranger.aclose()


async def test_only_what_may_run_again_and_return_none_can_be_kept(network):
    """Refused for others when it is set up."""
    failback = network.strategy("failback")
    failback.check(make_call("peek").method)
    with pytest.raises(TypeError, match=r"@method\(idempotent=True\)"):
        failback.check(make_call("reserve").method)
    with pytest.raises(TypeError, match="count can't be degraded to None"):
        failback.check(make_call("count").method)


@pytest.mark.parametrize("limits", [{"batch": 0}, {"poll": timedelta()}, {"backoff_first": timedelta(hours=1)}])
def test_limits_that_make_no_sense_are_refused(limits):
    """The message names the rule."""
    with pytest.raises(ValueError, match="failback"):
        FailbackLimits(**limits)
