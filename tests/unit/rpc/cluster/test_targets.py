"""Which instance an attempt goes to, and what is learned from it."""

import asyncio
from collections import Counter

import pytest

from placet_rpc import ConnectFailed, ConnectionLost, LimitReached, NoInstance, RemoteFault
from unit.rpc.cluster.network import Network, SoldOut, make_call


def picked(targets, *, tried=(), times=60):
    """Chooses some times, and returns the ids of all that came up."""
    return {targets.choose(make_call(), tried).instance_id for _ in range(times)}


def members(network, *ids):
    """Returns members by id."""
    return {network.instances.named(each) for each in ids}


async def test_all_instances_are_chosen(network):
    """While all are well."""
    assert picked(network.targets()) == {"m0", "m1", "m2"}


async def test_tried_instances_come_last(network):
    """In no state of the others is one tried again while there is another."""
    targets = network.targets()
    assert picked(targets, tried=members(network, "m0")) == {"m1", "m2"}
    assert picked(targets, tried=members(network, "m0", "m2")) == {"m1"}
    assert picked(targets, tried=members(network, "m0", "m1", "m2")) == {"m0", "m1", "m2"}
    network.routes["m1"].is_available = False
    assert picked(targets, tried=members(network, "m0", "m2")) == {"m0", "m2"}


async def test_with_many_instances_a_tried_one_does_not_slip_back(clock):
    """Each of 40 is tried once before any comes again, whatever the balancer."""
    for balancer in ("weighted_random", "round_robin", "least_active", "consistent_hash", "p2c_ewma"):
        network = Network(clock, 40)
        targets = network.targets(balancer=balancer)
        tried = set()
        for _ in range(40):
            tried.add(targets.choose(make_call(key="k"), tried))
        assert len(tried) == 40


async def test_what_can_not_be_reached_is_left_out_while_there_is_another(network):
    """And if nobody can be reached, somebody is tried all the same: the call is the judge."""
    targets = network.targets()
    network.routes["m0"].is_available = False
    assert picked(targets) == {"m1", "m2"}
    for route in network.routes.values():
        route.is_available = False
    assert picked(targets) == {"m0", "m1", "m2"}


async def test_a_misbehaving_instance_is_left_out_for_a_while(network):
    """Five failures in a row; half a minute later it is back."""
    targets = network.targets()
    network.routes["m0"].always = RemoteFault("m")
    for _ in range(5):
        with pytest.raises(RemoteFault):
            await targets.attempt(make_call(), network.instances.named("m0"), 1, 1000)
    assert picked(targets) == {"m1", "m2"}
    await asyncio.sleep(30.1)
    assert picked(targets) == {"m0", "m1", "m2"}


async def test_calls_that_are_lost_together_count_once(network):
    """Ten of them, with one connection; a server that loses one connection after another is left out."""
    targets = network.targets()
    member = network.instances.named("m0")

    async def lose(_call):
        await asyncio.sleep(0.1)
        raise ConnectionLost("m")

    network.routes["m0"].always = lose
    for generation in range(5):
        assert picked(targets) == {"m0", "m1", "m2"}, generation
        calls = (targets.attempt(make_call(), member, 1, 1000) for _ in range(10))
        await asyncio.gather(*calls, return_exceptions=True)
    assert picked(targets) == {"m1", "m2"}


async def test_what_can_not_be_connected_is_its_routes_affair(network):
    """It is not ejected, so that it is back as soon as it can be reached."""
    targets = network.targets()
    network.routes["m0"].always = ConnectFailed("m")
    network.routes["m0"].is_available = False
    for _ in range(10):
        with pytest.raises(ConnectFailed):
            await targets.attempt(make_call(), network.instances.named("m0"), 1, 1000)
    network.routes["m0"].is_available = True
    assert picked(targets) == {"m0", "m1", "m2"}


async def test_an_ejection_is_ignored_when_it_would_leave_a_minority(network):
    """One ejected and one that can't be reached, of three: both guesses can't be right, the ejected one is used."""
    targets = network.targets()
    network.routes["m0"].always = RemoteFault("m")
    for _ in range(5):
        with pytest.raises(RemoteFault):
            await targets.attempt(make_call(), network.instances.named("m0"), 1, 1000)
    network.routes["m1"].is_available = False
    assert picked(targets) == {"m0", "m2"}


async def test_a_call_that_has_to_go_somewhere_goes_there(network):
    """Whatever its state; if it is gone there is no other."""
    targets = network.targets()
    network.routes["m1"].is_available = False
    assert {targets.choose(make_call(instance="m1")).instance_id for _ in range(9)} == {"m1"}
    with pytest.raises(NoInstance, match="no instance m9"):
        targets.choose(make_call(instance="m9"))


async def test_a_new_snapshot_holds_from_the_next_turn_on(network):
    """Whoever stays keeps its route and its history; whoever left is not chosen, and its route is not closed."""
    targets = network.targets()
    stays = network.instances.named("m2")
    route = network.routes["m2"]
    network.offer("m2", "m3")
    targets.choose(make_call())
    await asyncio.sleep(0)
    assert picked(targets) == {"m2", "m3"}
    assert network.instances.named("m2") is stays
    assert network.routes["m2"] is route


async def test_an_instance_at_another_address_is_called_there(network):
    """The same id with other URLs has another route."""
    targets = network.targets()
    before = network.instances.named("m0")
    network.offer("m0", m0={"urls": ("test://elsewhere",)})
    targets.choose(make_call())
    await asyncio.sleep(0)
    assert network.instances.named("m0") is not before


async def test_an_instance_without_a_transport_of_ours_is_passed_over(network, caplog):
    """The log says so once per snapshot; the others work."""
    network.offer("a", "b", a={"urls": ("pigeon://x",)})
    assert picked(network.targets()) == {"b"}
    assert "has no transport of ours: pigeon://x" in caplog.text


async def test_without_instances_the_error_says_why(network):
    """Nothing known, nothing registered, all drained, none admitted."""
    network.offer("m0", m0={"weight": 0})
    with pytest.raises(NoInstance, match="all have weight 0"):
        network.targets().choose(make_call())
    network.is_known = False
    with pytest.raises(NoInstance, match="nothing is known"):
        network.targets().choose(make_call())


async def test_routers_bar_instances_for_good(network):
    """Not even where nobody else is left."""

    class Only:
        def __init__(self, *ids):
            self.ids = ids

        def admits(self, call, endpoint):
            return endpoint.instance_id in self.ids

    targets = network.targets(routers=(Only("m0", "m1"), Only("m1", "m2")))
    assert picked(targets) == {"m1"}
    network.routes["m1"].is_available = False
    assert picked(targets) == {"m1"}
    with pytest.raises(NoInstance, match="admitted by the routers"):
        network.targets(routers=(Only(),)).choose(make_call())


async def test_calls_stay_in_the_zone_while_enough_of_it_is_well(network):
    """At least 70 % of its weight; below that they go anywhere."""
    here = {f"m{n}": {"zone": "a" if n < 4 else "b"} for n in range(8)}
    network.offer(*here, **here)
    targets = network.targets(zone="a")
    assert picked(targets) == {"m0", "m1", "m2", "m3"}
    network.routes["m0"].is_available = False
    assert picked(targets) == {"m1", "m2", "m3"}
    assert picked(targets, tried=members(network, "m1", "m2", "m3")) == {"m4", "m5", "m6", "m7"}
    network.routes["m1"].is_available = False
    assert picked(targets) == {"m2", "m3", "m4", "m5", "m6", "m7"}
    assert picked(network.targets(zone="nowhere")) == set(here)


async def test_requests_under_way_are_always_counted(network):
    """Whatever the balancer, and however they end."""
    targets = network.targets(balancer="weighted_random")
    member = network.instances.named("m0")
    network.routes["m0"].does = [1.0, ConnectFailed("m"), SoldOut()]
    first = asyncio.ensure_future(targets.attempt(make_call(), member, 1, 5000))
    await asyncio.sleep(0.5)
    assert member.active == 1
    first.cancel()
    outcomes = await asyncio.gather(
        first, *(targets.attempt(make_call(), member, 1, 1000) for _ in range(3)), return_exceptions=True
    )
    assert [type(outcome) for outcome in outcomes] == [asyncio.CancelledError, ConnectFailed, SoldOut, str]
    assert member.active == 0


async def test_latency_is_learned_from_answers_failures_and_calls_given_up(network):
    """Failing fast makes an instance dearer, not cheaper; a call given up took at least as long as it did."""
    targets = network.targets()
    member, now = network.instances.named("m0"), network.clock.monotonic
    network.routes["m0"].does = [0.1]
    await targets.attempt(make_call(), member, 1, 1000)
    assert member.latency.cost(now()) == pytest.approx(0.1)
    network.routes["m0"].does = [RemoteFault("m")]
    with pytest.raises(RemoteFault):
        await targets.attempt(make_call(), member, 1, 1000)
    assert member.latency.cost(now()) == pytest.approx(0.2)
    network.routes["m0"].does = [LimitReached("m", limit="max_waiting_calls"), 60]
    with pytest.raises(LimitReached):
        await targets.attempt(make_call(), member, 1, 1000)
    assert member.latency.cost(now()) == pytest.approx(0.2)
    waiting = asyncio.ensure_future(targets.attempt(make_call(), member, 1, 90_000))
    await asyncio.sleep(5)
    waiting.cancel()
    await asyncio.wait((waiting,))
    assert member.latency.cost(now()) == pytest.approx(5)


async def test_an_instance_that_failed_for_long_is_not_shunned_for_ever(network):
    """However often it failed, a minute later it costs what others may cost."""
    targets = network.targets()
    member = network.instances.named("m0")
    network.routes["m0"].always = RemoteFault("m")
    for _ in range(2000):
        with pytest.raises(RemoteFault):
            await targets.attempt(make_call(), member, 1, 1000)
    await asyncio.sleep(60)
    assert member.latency.cost(network.clock.monotonic()) < 0.003


async def test_the_original_call_stays_as_it_is(network):
    """Each attempt is a copy that says where it goes, which one it is and how long it has."""
    targets = network.targets()
    call = make_call(timeout_ms=900)
    await targets.attempt(call, network.instances.named("m1"), 2, 300)
    (sent,) = network.routes["m1"].calls
    assert (sent.instance, sent.attempt, sent.timeout_ms) == ("m1", 2, 300)
    assert (call.instance, call.attempt, call.timeout_ms) == ("", 1, 900)


async def test_filters_stand_around_each_attempt(network):
    """The first one outermost; they see the instance."""
    seen = []

    class See:
        def __init__(self, name):
            self.name = name

        async def invoke(self, call, proceed):
            seen.append((self.name, call.instance))
            return await proceed(call)

    targets = network.targets(attempts=(See("outer"), See("inner")))
    assert await targets.attempt(make_call(), network.instances.named("m1"), 1, 1000) == "m1"
    assert seen == [("outer", "m1"), ("inner", "m1")]


async def test_shares_follow_weights_through_the_whole_choice(network):
    """A drained instance gets nothing, the others what they should."""
    network.offer("m0", "m1", "m2", m0={"weight": 0}, m1={"weight": 50}, m2={"weight": 100})
    targets = network.targets()
    had = Counter(targets.choose(make_call()).instance_id for _ in range(300))
    assert had == {"m1": 100, "m2": 200}
