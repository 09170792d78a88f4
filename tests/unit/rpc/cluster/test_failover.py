"""Failover: what is repeated, where, how often and when."""

import asyncio
from datetime import timedelta

import pytest

from placet_rpc import (
    CallRefused,
    CallTimeout,
    ConnectFailed,
    ConnectionLost,
    LimitReached,
    NoInstance,
    RemoteFault,
    Safety,
)
from placet_rpc.policies.retry import FREE_HOPS_MAX, Retry
from unit.rpc.cluster.network import Network, SoldOut, make_call

LOST, REFUSED = ConnectionLost("m"), ConnectFailed("m")


def all_do(network, *does):
    """Lets every instance do the same."""
    for route in network.routes.values():
        route.does = list(does)


async def test_an_idempotent_call_is_repeated_on_another_instance(network):
    """The number of the attempt travels."""
    targets = network.targets()
    network.routes["m0"].does = [LOST]
    assert await network.strategy("failover").invoke(make_call(), targets) == "m1"
    assert [[call.attempt for call in network.routes[name].calls] for name in ("m0", "m1")] == [[1], [2]]


async def test_after_three_attempts_the_last_error_is_the_calls(network):
    """It says how often it was tried."""
    targets = network.targets()
    all_do(network, LOST, LOST)
    with pytest.raises(ConnectionLost) as error:
        await network.strategy("failover").invoke(make_call(), targets)
    assert network.called == {"m0": 1, "m1": 1, "m2": 1}
    assert error.value.attempts == 3


async def test_an_attempt_that_may_have_run_is_not_hidden_by_one_that_was_not_sent(network):
    """The call fails with the gravest of its errors: its caller must know what may have happened."""
    targets = network.targets()
    all_do(network, REFUSED, REFUSED, REFUSED)
    network.routes["m0"].does = [LOST]
    with pytest.raises(ConnectionLost) as error:
        await network.strategy("failover").invoke(make_call(), targets)
    assert error.value.attempts > 1


async def test_what_is_not_idempotent_is_not_repeated_after_an_unknown_outcome(network):
    """It may have run."""
    targets = network.targets()
    all_do(network, LOST)
    with pytest.raises(ConnectionLost) as error:
        await network.strategy("failover").invoke(make_call("reserve"), targets)
    assert sum(network.called.values()) == 1
    assert error.value.attempts == 1


@pytest.mark.parametrize(
    "error", [REFUSED, CallRefused("m", reason="draining"), CallRefused("m", reason="overloaded", push_back_ms=50)]
)
async def test_what_was_not_executed_is_repeated_for_any_method(error, network):
    """Not sent, or refused by an instance that goes away or is full."""
    targets = network.targets()
    all_do(network, error)
    network.routes["m1"].does = []
    assert await network.strategy("failover").invoke(make_call("reserve"), targets) == "m1"


@pytest.mark.parametrize("error", [RemoteFault("m"), SoldOut("of the contract")])
async def test_what_ran_is_never_repeated(error, network):
    """Neither a fault nor an exception of the contract, idempotent or not."""
    targets = network.targets()
    all_do(network, error)
    with pytest.raises(type(error)):
        await network.strategy("failover").invoke(make_call(), targets)
    assert sum(network.called.values()) == 1


async def test_dead_instances_are_passed_over_at_once(clock):
    """What was not sent costs neither time, nor an attempt, nor the budget."""
    network = Network(clock, 8)
    targets = network.targets(retry=Retry(attempts=1))
    for name in ("m0", "m1", "m2", "m3", "m4", "m5", "m6"):
        network.routes[name].always = REFUSED
    began_at = clock.monotonic()
    for _ in range(8):
        assert await network.strategy("failover").invoke(make_call("reserve"), targets) == "m7"
    assert clock.monotonic() == began_at
    assert network.budget._window.totals[1] == 0


async def test_so_many_dead_instances_are_passed_over_and_no_more(clock):
    """Then it is an attempt like any other, with its delay."""
    network = Network(clock, 40)
    targets = network.targets(retry=Retry(attempts=1))
    for route in network.routes.values():
        route.always = REFUSED
    with pytest.raises(ConnectFailed) as error:
        await network.strategy("failover").invoke(make_call(timeout_ms=60_000), targets)
    assert sum(network.called.values()) == error.value.attempts == FREE_HOPS_MAX + 1


async def test_a_call_to_one_instance_is_repeated_there(network):
    """What has to go to an instance has nowhere else to go; it waits before it is sent again."""
    targets = network.targets()
    network.routes["m1"].does = [REFUSED, LOST]
    began_at = network.clock.monotonic()
    assert await network.strategy("failover").invoke(make_call(instance="m1"), targets) == "m1"
    assert network.called == {"m1": 3}
    assert network.clock.monotonic() > began_at


async def test_the_delay_is_jitter_or_what_the_server_asks(network):
    """At most 50 ms before the second attempt, unless the server says how long."""
    clock = network.clock
    targets = network.targets()
    all_do(network, LOST)
    network.routes["m1"].does = []
    began_at = clock.monotonic()
    for _ in range(2):
        await network.strategy("failover").invoke(make_call(), targets)
    assert 0.01 <= clock.monotonic() - began_at <= 0.1
    targets = network.targets()
    all_do(network, CallRefused("m", reason="overloaded", push_back_ms=300))
    network.routes["m1"].does = []
    began_at = clock.monotonic()
    await network.strategy("failover").invoke(make_call(), targets)
    assert clock.monotonic() - began_at == pytest.approx(0.3)


async def test_a_server_that_says_never_is_not_asked_again(network):
    """Nor is another one."""
    targets = network.targets()
    all_do(network, CallRefused("m", reason="no_such_method", push_back_ms=-1))
    with pytest.raises(CallRefused):
        await network.strategy("failover").invoke(make_call(), targets)
    assert sum(network.called.values()) == 1


async def test_no_delay_goes_past_the_deadline(network):
    """The error comes at once instead."""
    targets = network.targets()
    all_do(network, CallRefused("m", reason="overloaded", push_back_ms=300))
    began_at = network.clock.monotonic()
    with pytest.raises(CallRefused):
        await network.strategy("failover").invoke(make_call(timeout_ms=250), targets)
    assert network.clock.monotonic() == began_at


async def test_all_attempts_share_one_deadline(network):
    """Each has what is left, and no more than its own share where there is one."""
    targets = network.targets(retry=Retry(attempt_timeout=timedelta(milliseconds=400)))
    all_do(network, 60, 60)
    began_at = network.clock.monotonic()
    with pytest.raises(CallTimeout) as error:
        await network.strategy("failover").invoke(make_call(timeout_ms=1000), targets)
    assert network.clock.monotonic() - began_at <= 1.001
    lengths = [call.timeout_ms for route in network.routes.values() for call in route.calls]
    assert lengths[:2] == [400, 400]
    assert lengths[2] < 250
    assert error.value.safety is Safety.UNKNOWN


async def test_a_spent_budget_ends_the_repeats(network):
    """When everything fails, a fifth is repeated and the reserve, and the rest fails with its first error."""
    targets = network.targets()
    for route in network.routes.values():
        route.always = LOST
    failover = network.strategy("failover")
    for _ in range(500):
        with pytest.raises(ConnectionLost):
            await failover.invoke(make_call(), targets)
    extra = sum(network.called.values()) - 500
    seconds = network.clock.monotonic() - 1000
    assert extra <= 500 * 0.2 + 100 + 10 * seconds
    assert network.budget.refused > 0


async def test_what_no_instance_would_take_is_not_repeated(network):
    """A request over a limit of the client fails at once."""
    targets = network.targets()
    all_do(network, LimitReached("m", limit="max_message_bytes"))
    with pytest.raises(LimitReached):
        await network.strategy("failover").invoke(make_call(), targets)
    assert sum(network.called.values()) == 1


async def test_the_directory_is_read_anew_for_each_attempt(network):
    """An instance that appears while the call is delayed can take it."""
    network.offer("m0")
    targets = network.targets()

    async def go_away(_call):
        network.offer("m9")
        raise LOST

    network.routes["m0"].does = [go_away]
    assert await network.strategy("failover").invoke(make_call(), targets) == "m9"


async def test_without_instances_it_fails_at_once(network):
    """There is nothing to wait for."""
    network.offer()
    with pytest.raises(NoInstance):
        await network.strategy("failover").invoke(make_call(), network.targets())


async def test_a_cancelled_caller_ends_it(network):
    """In an attempt, and in a delay."""
    targets = network.targets()
    all_do(network, 60)
    call = asyncio.ensure_future(network.strategy("failover").invoke(make_call(timeout_ms=90_000), targets))
    await asyncio.sleep(1)
    call.cancel()
    await asyncio.wait((call,))
    assert call.cancelled()
    assert sum(route.cancelled for route in network.routes.values()) == 1
    all_do(network, CallRefused("m", reason="overloaded", push_back_ms=9000))
    before = sum(network.called.values())
    call = asyncio.ensure_future(network.strategy("failover").invoke(make_call(timeout_ms=90_000), targets))
    await asyncio.sleep(1)
    call.cancel()
    await asyncio.wait((call,))
    assert sum(network.called.values()) == before + 1
