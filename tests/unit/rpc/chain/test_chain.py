"""The order of the chain, and what calls of one client share."""

import asyncio
from datetime import timedelta

import pytest

from placet_rpc import BreakerOpen, ConnectFailed, ConnectionLost, LimitReached, NoInstance, RemoteFault
from placet_rpc.context import call_options
from placet_rpc.filters import Seams, chained
from placet_rpc.policies.breaker import BreakerLimits
from placet_rpc.policies.bulkhead import BulkheadLimits
from placet_rpc.policies.degradation import Null, Value
from placet_rpc.policies.rate_limit import Rate
from unit.rpc.cluster.network import SoldOut, Stock


class See:
    """A filter that notes when it is passed, and with what outcome."""

    def __init__(self, name, seen):
        self.name, self.seen = name, seen

    async def invoke(self, call, proceed):
        self.seen.append(f"{self.name}>")
        try:
            result = await proceed(call)
        except Exception as error:
            self.seen.append(f"<{self.name} {type(error).__name__}")
            raise
        self.seen.append(f"<{self.name}")
        return result


def seams_of(seen):
    """One filter in each named place."""
    return Seams(
        auth=(See("auth", seen),),
        statistics=(See("statistics", seen),),
        ordering=(See("ordering", seen),),
        attempts=(See("attempt", seen),),
    )


def all_do(network, does):
    """Lets every instance do the same, for ever."""
    for route in network.routes.values():
        route.always = does


async def test_filters_stand_in_their_named_places(network, make_client):
    """Auth outermost, attempts around each request."""
    seen = []
    client = make_client(seams=seams_of(seen))
    stock = client.reference(Stock)
    network.instances = client.chains.instances_of("stock/1")
    assert await stock.peek("A1") in network.routes
    assert seen == [
        *("auth>", "statistics>", "ordering>", "attempt>"),
        *("<attempt", "<ordering", "<statistics", "<auth"),
    ]


async def test_repeats_are_within_and_substitutes_outside_of_the_statistics(network, make_client):
    """Statistics see one failed call of two attempts, the caller a value."""
    seen = []
    client = make_client(seams=seams_of(seen))
    stock = client.reference(Stock, attempts=2, methods={"peek": {"degrade": Null()}})
    client.chains.instances_of("stock/1").latest()
    all_do(network, ConnectionLost("m"))
    assert await stock.peek("A1") is None
    assert seen == [
        *("auth>", "statistics>", "ordering>", "attempt>", "<attempt ConnectionLost"),
        *("attempt>", "<attempt ConnectionLost"),
        *("<ordering ConnectionLost", "<statistics ConnectionLost", "<auth"),
    ]


async def test_a_limited_call_takes_no_place_and_no_permit(network, make_client):
    """Rate before bulkhead before ordering before breaker: what is refused early touches nothing behind it."""
    seen = []
    client = make_client(seams=seams_of(seen))
    stock = client.reference(Stock, rate=Rate(per_second=1))
    await stock.peek("A1")
    seen.clear()
    with pytest.raises(LimitReached):
        await stock.peek("A1")
    assert seen == ["auth>", "statistics>", "<statistics LimitReached", "<auth LimitReached"]


async def test_a_waiting_call_owns_no_probe(network, make_client):
    """While calls wait for a place, the breaker's permits are free for those that have one."""
    client = make_client()
    breaker = BreakerLimits(calls_min=1, probes=1)
    stock = client.reference(Stock, bulkhead=BulkheadLimits(max_concurrent=1), breaker=breaker, attempts=1)
    client.chains.instances_of("stock/1").latest()
    all_do(network, RemoteFault("m"))
    with pytest.raises(RemoteFault):
        await stock.peek("A1")
    with pytest.raises(BreakerOpen):
        await stock.peek("A1")
    await asyncio.sleep(6.1)
    all_do(network, 0.04)
    calls = [asyncio.ensure_future(stock.peek("A1")) for _ in range(2)]
    assert all(answer in network.routes for answer in await asyncio.gather(*calls))


async def test_an_open_breaker_is_not_tried_and_may_be_degraded(network, make_client):
    """Nothing is sent; the substitute answers."""
    client = make_client()
    stock = client.reference(Stock, attempts=1, breaker=BreakerLimits(calls_min=1))
    degraded = client.reference(Stock, methods={"peek": {"breaker": BreakerLimits(calls_min=1), "degrade": Null()}})
    client.chains.instances_of("stock/1").latest()
    all_do(network, ConnectionLost("m"))
    with pytest.raises(ConnectionLost):
        await stock.peek("A1")
    sent = sum(network.called.values())
    with pytest.raises(BreakerOpen):
        await stock.peek("A1")
    assert await degraded.peek("A1") is None
    assert sum(network.called.values()) == sent


async def test_references_share_what_counts(network, make_client):
    """One breaker per method, one bulkhead per service, one view of the instances, however many references."""
    client = make_client()
    one, other = client.reference(Stock), client.reference(Stock, cluster="failfast")
    client.chains.instances_of("stock/1").latest()
    all_do(network, ConnectionLost("m"))
    for stock in (one, other) * 10:
        with pytest.raises(ConnectionLost):
            await stock.peek("A1")
    for stock in (one, other):
        with pytest.raises(BreakerOpen):
            await stock.peek("A1")
    all_do(network, None)
    assert await other.reserve("A1") in network.routes  # another method has another breaker


async def test_a_single_failing_instance_trips_no_breaker(network, make_client):
    """Repeats hide it from the caller, and it is left out."""
    client = make_client()
    stock = client.reference(Stock, balancer="round_robin")
    client.chains.instances_of("stock/1").latest()
    network.routes["m1"].always = ConnectionLost("m")
    for _ in range(100):
        assert await stock.peek("A1") in {"m0", "m2"}
    assert len(network.routes["m1"].calls) == 5


async def test_the_first_call_waits_for_the_registry(network, make_client):
    """For a part of its time; a registry that says nothing leaves a clear error."""
    network.is_known = False
    client = make_client()
    stock = client.reference(Stock)
    assert await stock.peek("A1") in network.routes
    network.is_known = False
    other = make_client().reference(Stock)
    with call_options(timeout=timedelta(milliseconds=100)), pytest.raises(NoInstance, match="nothing is known"):
        await other.peek("A1")


async def test_substitutes_are_counted_and_shown(network, make_client):
    """By method, failed and forced apart."""
    seen = []
    client = make_client(degraded=lambda call, error: seen.append((call.method.name, type(error).__name__)))
    failing = client.reference(Stock, methods={"peek": {"degrade": Value("x")}})
    forced = client.reference(Stock, methods={"peek": {"degrade": Value("y", always=True)}})
    client.chains.instances_of("stock/1").latest()
    all_do(network, ConnectFailed("m"))
    assert [await failing.peek("A1"), await forced.peek("A1")] == ["x", "y"]
    counts = client.chains.degradations["stock/1.peek"]
    assert (counts.failed, counts.forced, seen) == (1, 1, [("peek", "ConnectFailed"), ("peek", "NoneType")])


async def test_an_exception_of_the_contract_passes_through_everything(network, make_client):
    """No substitute, no repeat, no breaker."""
    client = make_client()
    stock = client.reference(Stock, methods={"peek": {"degrade": Null()}})
    client.chains.instances_of("stock/1").latest()
    all_do(network, SoldOut("A1"))
    for _ in range(40):
        with pytest.raises(SoldOut):
            await stock.peek("A1")
    assert sum(network.called.values()) == 40


async def test_a_call_made_again_later_is_not_answered_by_a_substitute(network, make_client):
    """Its failure has to be seen, or it would count as done."""
    client = make_client()
    stock = client.reference(Stock, methods={"peek": {"cluster": "failback", "degrade": Value("x")}})
    client.chains.instances_of("stock/1").latest()
    all_do(network, ConnectFailed("m"))
    assert await stock.peek("A1") is None
    await asyncio.sleep(30)
    assert network.queue.succeeded == 0
    all_do(network, None)
    await asyncio.sleep(120)
    assert network.queue.succeeded == 1


async def test_the_first_filter_is_the_outermost():
    """Whatever their number."""

    async def last(call):
        return [call]

    class Add:
        def __init__(self, name):
            self.name = name

        async def invoke(self, call, proceed):
            return [self.name, *await proceed(call)]

    assert await chained([Add("a"), Add("b")], last)("call") == ["a", "b", "call"]
    assert await chained([], last)("call") == ["call"]
