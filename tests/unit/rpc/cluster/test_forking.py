"""Forking and hedging: copies, their losers, and what they may cost."""

import asyncio
from collections import Counter

import pytest

from placet_rpc import CallRefused, ConnectFailed, ConnectionLost, RemoteFault
from placet_rpc.cluster.hedge_delay import HedgeDelay
from unit.rpc.cluster.network import Network, SoldOut, make_call


def under_way(network):
    """Returns how many requests run, and how many were cancelled."""
    routes = network.routes.values()
    return sum(route.under_way for route in routes), sum(route.cancelled for route in routes)


async def seconds_of(network, call):
    """Awaits a call, and returns its result and the seconds that it took."""
    began_at = network.clock.monotonic()
    result = await call
    return result, pytest.approx(network.clock.monotonic() - began_at, abs=0.002)


async def test_the_first_answer_wins_and_the_loser_is_cancelled(network):
    """Two copies at once, on two instances."""
    targets, forking = network.targets(), network.strategy("forking")
    network.routes["m0"].does, network.routes["m1"].does = [0.5], [0.1]
    assert await seconds_of(network, forking.invoke(make_call(), targets)) == ("m1", 0.1)
    await asyncio.sleep(0)
    assert (network.called, under_way(network)) == ({"m0": 1, "m1": 1}, (0, 1))
    assert (forking.extra, forking.cancelled) == (1, 1)
    assert all(network.instances.named(name).active == 0 for name in network.routes)


async def test_a_failed_copy_is_replaced_while_there_may_be_more(network):
    """Three copies: all at once; whichever is left answers."""
    targets = network.targets()
    network.routes["m0"].does, network.routes["m1"].does = [ConnectionLost("m")], [ConnectFailed("m")]
    network.routes["m2"].does = [0.2]
    assert await network.strategy("forking?copies=3").invoke(make_call(), targets) == "m2"


async def test_it_fails_when_all_copies_have(network):
    """With the last error, which says how many they were."""
    targets = network.targets()
    for route in network.routes.values():
        route.always = ConnectionLost("m")
    with pytest.raises(ConnectionLost) as error:
        await network.strategy("forking").invoke(make_call(), targets)
    assert error.value.attempts == sum(network.called.values()) == 2


@pytest.mark.parametrize("error", [SoldOut("of the contract"), RemoteFault("m")])
async def test_an_outcome_that_no_copy_betters_ends_all(error, network):
    """An exception of the contract is an answer, a fault says that it ran: the other copy is cancelled."""
    targets = network.targets()

    async def fail(_call):
        await asyncio.sleep(0.1)
        raise error

    network.routes["m0"].does, network.routes["m1"].does = [fail], [5]
    with pytest.raises(type(error)):
        await network.strategy("forking").invoke(make_call(), targets)
    await asyncio.sleep(0)
    assert under_way(network) == (0, 1)


async def test_a_cancelled_caller_cancels_all_copies(network):
    """None is left behind."""
    targets = network.targets()
    for route in network.routes.values():
        route.always = 60
    call = asyncio.ensure_future(network.strategy("forking?copies=3").invoke(make_call(timeout_ms=90_000), targets))
    await asyncio.sleep(1)
    call.cancel()
    await asyncio.wait((call,))
    await asyncio.sleep(0)
    assert under_way(network) == (0, 3)


async def test_one_instance_gets_one_copy(clock):
    """Copies go to different instances, or are not sent."""
    network = Network(clock, 1)
    targets = network.targets()
    assert await network.strategy("forking").invoke(make_call(), targets) == "m0"
    assert network.called == {"m0": 1}


async def test_only_idempotent_methods_may_be_copied(network):
    """Refused when it is set up, not when it is called."""
    for text in ("forking", "hedging"):
        network.strategy(text).check(make_call("peek").method)
        with pytest.raises(TypeError, match=r"@method\(idempotent=True\)"):
            network.strategy(text).check(make_call("reserve").method)


@pytest.mark.parametrize("text", ["forking?copies=1", "forking?copies=x", "hedging?copies=6", "hedging?delay_ms=0"])
async def test_options_that_make_no_sense_are_refused(text, network):
    """The message says what to give."""
    with pytest.raises(ValueError, match="give"):
        network.strategy(text)


# -- hedging ---------------------------------------------------------------------------------------------------


def rich(hedging):
    """Gives a hedging strategy a budget."""
    for _ in range(1000):
        hedging.budget.deposit()
    return hedging


async def test_a_hedge_is_sent_after_the_delay_and_not_before(network):
    """A call that answers in time has no copy; a late one has, and the faster of the two wins."""
    targets, hedging = network.targets(), rich(network.strategy("hedging?delay_ms=100"))
    assert await seconds_of(network, hedging.invoke(make_call(), targets)) == ("m0", 0)
    assert network.called == {"m0": 1}
    network.routes["m1"].does, network.routes["m2"].does = [0.5], [0.05]
    assert await seconds_of(network, hedging.invoke(make_call(), targets)) == ("m2", 0.15)
    await asyncio.sleep(0)
    assert (network.called, under_way(network)) == ({"m0": 1, "m1": 1, "m2": 1}, (0, 1))


async def test_the_first_copy_may_still_win(network):
    """Then the hedge is the loser."""
    targets, hedging = network.targets(), rich(network.strategy("hedging?delay_ms=100"))
    network.routes["m0"].does, network.routes["m1"].does = [0.2], [5]
    assert await seconds_of(network, hedging.invoke(make_call(), targets)) == ("m0", 0.2)
    await asyncio.sleep(0)
    assert network.routes["m1"].cancelled == 1


async def test_a_failure_sends_the_next_at_once(network):
    """There is nothing to wait for any more."""
    targets, hedging = network.targets(), rich(network.strategy("hedging?delay_ms=100"))
    network.routes["m0"].does = [ConnectionLost("m")]
    assert await seconds_of(network, hedging.invoke(make_call(), targets)) == ("m1", 0)


async def test_a_pushed_back_call_is_not_copied_further(network):
    """The server asks for less load, not for more."""
    targets, hedging = network.targets(), rich(network.strategy("hedging?delay_ms=100"))
    for route in network.routes.values():
        route.always = CallRefused("m", reason="overloaded", push_back_ms=50)
    with pytest.raises(CallRefused):
        await hedging.invoke(make_call(), targets)
    assert sum(network.called.values()) == 1


async def test_hedges_are_a_tenth_of_all_calls_at_most(network):
    """When the whole service is slow, nine of ten calls are sent once, and wait."""
    targets, hedging = network.targets(), network.strategy("hedging?delay_ms=100")
    for route in network.routes.values():
        route.always = 0.5
    await asyncio.gather(*(hedging.invoke(make_call(), targets) for _ in range(200)))
    assert hedging.extra <= 20
    assert sum(network.called.values()) == 200 + hedging.extra


async def test_the_delay_is_learned(clock):
    """What 95 % of calls have not passed, at least a millisecond; nothing until twenty calls are known."""
    delay = HedgeDelay(clock)
    for _ in range(19):
        delay.observe(0.010)
    assert delay.seconds() is None
    for number in range(181):
        delay.observe(0.010 if number < 165 else 0.400)
    assert delay.seconds() == pytest.approx(0.4, rel=0.1)
    await asyncio.sleep(61)
    delay.seconds()
    await asyncio.sleep(61)
    for _ in range(100):
        delay.observe(0.0001)
    await asyncio.sleep(2)
    assert delay.seconds() == pytest.approx(0.4, rel=0.1)  # of this minute and the one before
    await asyncio.sleep(61)
    assert delay.seconds() == 0.001
    await asyncio.sleep(200)
    assert delay.seconds() is None  # nobody has called for long


async def test_with_a_learned_delay_a_tail_is_cut(network):
    """One call of twenty hangs; hedged, none takes long."""
    targets, hedging = network.targets(), network.strategy("hedging")
    turn = 0

    async def sometimes(_call):
        nonlocal turn
        turn += 1
        await asyncio.sleep(0.9 if turn % 25 == 0 else 0.01)
        return "answer"

    for route in network.routes.values():
        route.always = sometimes
    times = Counter()
    for _ in range(400):
        began_at = network.clock.monotonic()
        await hedging.invoke(make_call(), targets)
        times[network.clock.monotonic() - began_at > 0.1] += 1
    assert times[True] <= 3  # before anything was known
