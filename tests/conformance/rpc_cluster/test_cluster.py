"""What holds for every cluster strategy, whatever it makes of a call. A package that brings one runs this suite."""

import asyncio
from contextlib import suppress
from copy import copy

import pytest

from placet_rpc import (
    BroadcastFailed,
    CallRefused,
    ConnectFailed,
    ConnectionLost,
    NoInstance,
    RemoteFault,
    RpcError,
    Safety,
)
from unit.rpc.cluster.network import SoldOut, make_call


def all_do(network, does):
    """Lets every instance do the same, for ever."""
    for route in network.routes.values():
        route.always = does


def suits(strategy, method):
    """True if the strategy takes the method."""
    try:
        strategy.check(method)
    except TypeError:
        return False
    return True


async def outcome_of(strategy, call, targets):
    """Returns the result, or the error."""
    try:
        return await strategy.invoke(call, targets)
    except RpcError as error:
        return error


async def test_a_result_comes_back(strategy, network):
    """From one of the instances."""
    assert await strategy.invoke(make_call(), network.targets()) in network.routes


async def test_an_exception_of_the_contract_is_an_answer(strategy, network):
    """It reaches the caller, and no instance sees the call again; told to everybody, it is everybody's."""
    targets = network.targets()
    all_do(network, SoldOut("A1"))
    with pytest.raises((SoldOut, BroadcastFailed)):
        await strategy.invoke(make_call(), targets)
    await asyncio.sleep(600)
    assert max(network.called.values()) == 1


@pytest.mark.parametrize("error", [ConnectionLost("m"), RemoteFault("m")])
async def test_what_is_not_idempotent_is_seen_once_by_each_instance_that_may_have_run_it(error, strategy, network):
    """Never twice; a strategy for which that can't be refuses the method."""
    call = make_call("reserve")
    if not suits(strategy, call.method):
        return
    targets = network.targets()
    all_do(network, error)
    outcome = await outcome_of(strategy, call, targets)
    assert not isinstance(outcome, RpcError) or not outcome.safety.repeatable
    await asyncio.sleep(600)
    assert max(network.called.values()) == 1


async def test_no_error_claims_that_nothing_ran_when_something_may_have(strategy, network):
    """One instance loses the call after it was sent, the others can't be reached."""
    targets = network.targets()
    all_do(network, ConnectFailed("m"))
    network.routes["m0"].always = ConnectionLost("m")
    for _ in range(3):
        before = len(network.routes["m0"].calls)
        outcome = await outcome_of(strategy, make_call(), targets)
        was_sent = len(network.routes["m0"].calls) > before
        assert not (was_sent and isinstance(outcome, RpcError) and outcome.safety.repeatable)


@pytest.mark.parametrize("does", [60, CallRefused("m", reason="overloaded", push_back_ms=120)])
async def test_the_calls_time_is_kept(does, strategy, network):
    """All requests and delays together, give or take a tick."""
    targets = network.targets()
    all_do(network, does)
    began_at = network.clock.monotonic()
    with suppress(RpcError):
        await strategy.invoke(make_call(timeout_ms=500), targets)
    assert network.clock.monotonic() - began_at <= 0.52


async def test_a_cancelled_caller_leaves_no_request_behind(strategy, network):
    """All that were under way are cancelled too, and counted as ended."""
    targets = network.targets()
    all_do(network, 60)
    call = asyncio.ensure_future(strategy.invoke(make_call(timeout_ms=90_000), targets))
    await asyncio.sleep(0.3)
    call.cancel()
    await asyncio.wait((call,))
    assert call.cancelled()
    await asyncio.sleep(0)
    assert sum(route.under_way for route in network.routes.values()) == 0
    assert all(network.instances.named(name).active == 0 for name in network.routes)


async def test_a_call_that_has_to_go_somewhere_goes_nowhere_else(strategy, network):
    """Whatever comes of it."""
    targets = network.targets()
    for does in (None, ConnectFailed("m"), ConnectionLost("m")):
        all_do(network, does)
        with suppress(RpcError):
            await strategy.invoke(make_call(instance="m1"), targets)
    assert set(network.called) == {"m1"}
    assert {call.instance for call in network.routes["m1"].calls} == {"m1"}


async def test_a_strategy_without_instances_says_so(strategy, network):
    """NoInstance is NOT_SENT; who answers for failures answers here too."""
    network.offer()
    outcome = await outcome_of(strategy, make_call(), network.targets())
    assert outcome is None or (type(outcome), outcome.safety) == (NoInstance, Safety.NOT_SENT)


async def test_attempts_are_numbered(strategy, network):
    """From one, growing; an instance can tell a repeat."""
    targets = network.targets()
    all_do(network, ConnectionLost("m"))
    with suppress(RpcError):
        await strategy.invoke(make_call(), targets)
    numbers = [call.attempt for route in network.routes.values() for call in route.calls]
    assert min(numbers) == 1
    assert max(numbers) <= len(numbers)


async def test_the_callers_own_call_is_not_changed_for_others(strategy, network):
    """Arguments, time and place are as they were."""
    targets = network.targets()
    call = make_call()
    before = copy(call)
    await strategy.invoke(call, targets)
    assert (call.arguments, call.timeout_ms, call.instance, call.attempt) == (
        before.arguments,
        before.timeout_ms,
        before.instance,
        before.attempt,
    )


async def test_many_calls_at_once_keep_apart(strategy, network):
    """Each has its own attempts and its own outcome."""
    targets = network.targets()
    all_do(network, 0.01)
    results = await asyncio.gather(*(strategy.invoke(make_call(), targets) for _ in range(50)))
    assert set(results) <= set(network.routes)


@pytest.mark.parametrize("text", ["?unknown=1", "?x"])
async def test_options_that_are_not_known_are_an_error(text, name, network):
    """When it is set up."""
    with pytest.raises(ValueError, match=r"does not take|no choice"):
        network.strategy(f"{name}{text}")
