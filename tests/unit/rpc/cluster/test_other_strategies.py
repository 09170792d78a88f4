"""Failfast, failsafe, available and broadcast."""

import asyncio

import pytest

from placet_rpc import BroadcastFailed, ConnectFailed, ConnectionLost, NoInstance, Safety
from placet_rpc.cluster import instance_results
from unit.rpc.cluster.network import Network, SoldOut, make_call


async def test_failfast_tries_once(network):
    """Not even what was not sent is repeated."""
    targets = network.targets()
    for route in network.routes.values():
        route.always = ConnectFailed("m")
    with pytest.raises(ConnectFailed):
        await network.strategy("failfast").invoke(make_call(), targets)
    assert sum(network.called.values()) == 1


async def test_failsafe_answers_none_and_says_so_now_and_then(network, caplog):
    """Each failure is counted, the 1st, 2nd, 4th, 8th … is logged; an exception of the contract is raised."""
    targets, failsafe = network.targets(), network.strategy("failsafe")
    for route in network.routes.values():
        route.always = ConnectionLost("m")
    assert [await failsafe.invoke(make_call(), targets) for _ in range(20)] == [None] * 20
    assert failsafe.failed == 20
    assert sum("answered with None" in record.message for record in caplog.records) == 5
    for route in network.routes.values():
        route.always = SoldOut()
    with pytest.raises(SoldOut):
        await failsafe.invoke(make_call(), targets)


async def test_failsafe_is_for_methods_that_may_return_none(network):
    """Refused for others when it is set up."""
    network.strategy("failsafe").check(make_call("peek").method)
    with pytest.raises(TypeError, match="count can't be degraded to None"):
        network.strategy("failsafe").check(make_call("count").method)


async def test_available_takes_the_first_that_can_be_reached(network):
    """In the order of the ids, until it is away; nobody else gets anything."""
    targets, available = network.targets(), network.strategy("available")
    assert {await available.invoke(make_call(), targets) for _ in range(5)} == {"m0"}
    network.routes["m0"].is_available = False
    assert {await available.invoke(make_call(), targets) for _ in range(5)} == {"m1"}
    assert await available.invoke(make_call(instance="m2"), targets) == "m2"
    for route in network.routes.values():
        route.is_available = False
    assert await available.invoke(make_call(), targets) in network.routes


async def test_a_broadcast_reaches_everybody_whatever_their_state(network):
    """Once each, with a result each; the caller gets one of them."""
    targets, broadcast = network.targets(), network.strategy("broadcast")
    network.routes["m1"].is_available = False
    with instance_results() as results:
        assert await broadcast.invoke(make_call("reserve"), targets) in network.routes
    assert network.called == {"m0": 1, "m1": 1, "m2": 1}
    assert {result.instance: result.result for result in results} == {"m0": "m0", "m1": "m1", "m2": "m2"}


@pytest.mark.parametrize(
    ("policy", "failing", "succeeds"),
    [
        ("all", 0, True),
        ("all", 1, False),
        ("quorum", 1, True),
        ("quorum", 2, False),
        ("any", 2, True),
        ("any", 3, False),
    ],
)
async def test_the_policy_says_how_many_have_to_succeed(policy, failing, succeeds, network):
    """Everybody is asked in any case, and the error has everybody's."""
    targets, broadcast = network.targets(), network.strategy(f"broadcast?policy={policy}")
    for place in range(failing):
        network.routes[f"m{place}"].always = SoldOut("here") if place else ConnectionLost("m")
    if succeeds:
        assert await broadcast.invoke(make_call(), targets) == f"m{failing}"
    else:
        with pytest.raises(BroadcastFailed) as error:
            await broadcast.invoke(make_call(), targets)
        assert set(error.value.failures) == {f"m{place}" for place in range(failing)}
        assert len(error.value.succeeded) == 3 - failing
        assert error.value.safety is Safety.EXECUTED
    assert sum(network.called.values()) == 3


async def test_a_broadcast_that_reached_nobody_may_be_repeated(network):
    """Its safety is that of its parts."""
    targets = network.targets()
    for route in network.routes.values():
        route.always = ConnectFailed("m")
    with pytest.raises(BroadcastFailed) as error:
        await network.strategy("broadcast").invoke(make_call(), targets)
    assert error.value.safety is Safety.NOT_SENT
    network.offer()
    with pytest.raises(NoInstance):
        await network.strategy("broadcast").invoke(make_call(), network.targets())


async def test_a_broadcast_asks_sixteen_at_a_time(clock):
    """And all of them within the call's time."""
    network = Network(clock, 40)
    targets = network.targets()
    most = 0

    async def answer(_call):
        nonlocal most
        most = max(most, sum(route.under_way for route in network.routes.values()))
        await asyncio.sleep(0.1)

    for route in network.routes.values():
        route.always = answer
    began_at = clock.monotonic()
    await network.strategy("broadcast").invoke(make_call(), targets)
    assert (most, clock.monotonic() - began_at) == (16, pytest.approx(0.3))


async def test_a_cancelled_broadcast_leaves_nothing_behind(network):
    """All requests under way are cancelled, the rest is not sent."""
    targets = network.targets()
    for route in network.routes.values():
        route.always = 60
    call = asyncio.ensure_future(
        network.strategy("broadcast?concurrency=2").invoke(make_call(timeout_ms=90_000), targets)
    )
    await asyncio.sleep(1)
    call.cancel()
    await asyncio.wait((call,))
    assert call.cancelled()
    assert [route.cancelled for route in network.routes.values()] == [1, 1, 0]
    assert network.called == {"m0": 1, "m1": 1}


@pytest.mark.parametrize("text", ["broadcast?policy=most", "broadcast?concurrency=0", "broadcast?speed=9"])
async def test_options_that_make_no_sense_are_refused(text, network):
    """The message says what to give."""
    with pytest.raises(ValueError, match=r"give|does not take"):
        network.strategy(text)
