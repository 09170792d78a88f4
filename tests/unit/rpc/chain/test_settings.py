"""Which level's word holds."""

from datetime import timedelta
from typing import Protocol

import pytest

from placet_contract.service import method, service
from placet_rpc import CallTimeout, ConnectionLost
from placet_rpc.client import Client
from placet_rpc.context import call_options
from placet_rpc.policies.breaker import BreakerLimits
from placet_rpc.policies.degradation import Null, Value
from placet_rpc.settings import Settings
from unit.rpc.cluster.network import Stock


@service("stock")
class Choosy(Protocol):
    """A service whose methods say more."""

    @method(timeout=timedelta(milliseconds=200), idempotent=True, cluster="failfast", balancer="round_robin")
    async def peek(self, sku: str) -> str | None: ...

    @method(idempotent=True, order_by="sku", degrade=Value("sold out"))
    async def look(self, sku: str) -> str: ...


def all_do(client, network, does):
    """Lets every instance do the same, for ever."""
    client.chains.instances_of("stock/1").latest()
    for route in network.routes.values():
        route.always = does


async def attempts_of(network, call):
    """Awaits a call that fails, and returns how many requests it made."""
    before = sum(network.called.values())
    with pytest.raises(ConnectionLost):
        await call
    return sum(network.called.values()) - before


async def test_call_before_method_before_service_before_client_before_default(network, make_client):
    """Each level is heard where the higher ones are silent."""
    client = make_client()
    by_default = client.reference(Stock)
    all_do(client, network, ConnectionLost("m"))
    assert await attempts_of(network, by_default.peek("A1")) == 3
    client = make_client(settings={"attempts": 2})
    by_client = client.reference(Stock)
    by_service = client.reference(Stock, attempts=4)
    by_method = client.reference(Stock, attempts=4, methods={"peek": {"attempts": 5}})
    all_do(client, network, ConnectionLost("m"))
    assert await attempts_of(network, by_client.peek("A1")) == 2
    assert await attempts_of(network, by_service.peek("A1")) == 4
    assert await attempts_of(network, by_method.peek("A1")) == 5
    with call_options(attempts=1):
        assert await attempts_of(network, by_method.peek("A1")) == 1


async def test_what_the_interface_says_of_a_method_goes_before_its_reference(network, make_client):
    """The author of a method knows it best; only a caller who names the method goes before."""
    client = make_client()
    stock = client.reference(Choosy, cluster="failover", timeout=timedelta(seconds=9))
    named = client.reference(Choosy, methods={"peek": {"cluster": "failover"}})
    all_do(client, network, ConnectionLost("m"))
    assert await attempts_of(network, stock.peek("A1")) == 1
    assert await attempts_of(network, named.peek("A1")) == 3


async def test_the_time_of_a_call_follows_the_levels(network, make_client):
    """200 ms by the method; less or more by the call; the reference's where the method says nothing."""
    client = make_client(settings={"timeout": timedelta(seconds=7)})
    stock = client.reference(Choosy, timeout=timedelta(seconds=5), degrade=None)
    all_do(client, network, None)
    await stock.peek("A1")
    await stock.look("A1")
    with call_options(timeout=timedelta(milliseconds=900)):
        await stock.peek("A1")
    await client.reference(Stock).peek("A1")
    times = sorted(call.timeout_ms for route in network.routes.values() for call in route.calls)
    assert times == [200, 900, 5000, 7000]


async def test_a_method_with_a_key_goes_to_the_keys_instance(network, make_client):
    """Without a word about the balancer."""
    client = make_client()
    stock = client.reference(Choosy)
    all_do(client, network, None)
    homes = {sku: {await stock.look(sku) for _ in range(5)} for sku in map(str, range(30))}
    assert all(len(instances) == 1 for instances in homes.values())
    assert {instance for instances in homes.values() for instance in instances} == set(network.routes)


async def test_what_is_set_to_none_is_without(network, make_client):
    """A reference can take back what its client has set."""
    client = make_client(settings={"degrade": Null(), "breaker": BreakerLimits(calls_min=1)})
    stock = client.reference(
        Stock,
        methods={"peek": {"degrade": None, "breaker": None}, "count": {"degrade": None}, "reserve": {"degrade": None}},
    )
    all_do(client, network, ConnectionLost("m"))
    for _ in range(3):
        with pytest.raises(ConnectionLost):
            await stock.peek("A1")


async def test_a_call_can_be_sent_to_one_instance(network, make_client):
    """By its id."""
    client = make_client()
    stock = client.reference(Stock)
    all_do(client, network, None)
    with call_options(instance="m1"):
        assert {await stock.peek("A1") for _ in range(5)} == {"m1"}


async def test_options_of_a_block_within_a_block_add_up(network, make_client):
    """What the inner one does not say is as the outer one says."""
    client = make_client()
    stock = client.reference(Stock)
    all_do(client, network, None)
    with call_options(instance="m2", idempotency_key="i"), call_options(timeout=timedelta(milliseconds=50), attempts=1):
        await stock.peek("A1")
    (call,) = network.routes["m2"].calls
    assert (call.idempotency_key, call.timeout_ms) == ("i", 50)


async def test_settings_of_single_calls_are_kept_a_few_at_a_time(network, make_client):
    """However many different ones come."""
    client = make_client()
    stock = client.reference(Stock)
    all_do(client, network, None)
    for attempts in range(1, 200):
        with call_options(attempts=attempts):
            await stock.peek("A1")
    (reference,) = client._references.values()
    assert len(reference._overridden) <= 64


# -- while running ---------------------------------------------------------------------------------------------


async def test_an_override_holds_from_the_next_call_on(network, make_client):
    """For references that exist, and on top of what they say; taken back it is as before."""
    client = make_client()
    stock = client.reference(Stock, attempts=2)
    all_do(client, network, ConnectionLost("m"))
    assert await attempts_of(network, stock.peek("A1")) == 2
    client.override("stock/1", "peek", degrade=Value("closed", always=True))
    assert await stock.peek("A1") == "closed"
    client.override("stock/1", "peek", attempts=1)
    assert await attempts_of(network, stock.peek("A1")) == 1
    client.override("stock/1", "peek")
    assert await attempts_of(network, stock.peek("A1")) == 2


async def test_an_override_of_a_service_holds_for_all_its_methods(network, make_client):
    """One of a method goes before; references made later follow too."""
    client = make_client()
    client.override("stock/1", attempts=1)
    client.override("stock/1", "peek", attempts=2)
    stock = client.reference(Stock)
    all_do(client, network, ConnectionLost("m"))
    assert await attempts_of(network, stock.peek("A1")) == 2
    assert await attempts_of(network, stock.count()) == 1


async def test_a_timeout_can_be_changed_while_running(network, make_client):
    """From the next call on."""
    client = make_client()
    stock = client.reference(Stock)
    all_do(client, network, 0.5)
    await stock.peek("A1")
    client.override("stock/1", timeout=timedelta(milliseconds=100))
    with pytest.raises(CallTimeout):
        await stock.peek("A1")


async def test_an_override_that_does_not_fit_changes_nothing(network, make_client):
    """Neither the method that it does not suit, nor the others."""
    client = make_client()
    stock = client.reference(Stock)
    all_do(client, network, None)
    for settings in ({"degrade": Null()}, {"cluster": "forking"}, {"balancer": "nobody"}):
        with pytest.raises((TypeError, ValueError)):
            client.override("stock/1", **settings)
    with pytest.raises(TypeError, match="no method peak; it has peek"):
        client.override("stock/1", "peak", attempts=1)
    client.override("stock/1")
    assert await stock.count() in network.routes
    assert len(network.called) == 1


# -- mistakes --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "rule"),
    [
        ({"attempt": 3}, "there is no setting attempt; there are timeout"),
        ({"timeout": timedelta()}, "at least a millisecond"),
        ({"degrade": None, "cluster": "failsave"}, "nothing offers 'failsave'"),
        ({"balancer": "round_robin?speed=2"}, "does not take"),
        ({"attempts": 0}, "at least one attempt"),
        ({"degrade": "null"}, r"is none of Null\(\)"),
        ({"degrade": Null()}, "can't be degraded to None"),
        ({"methods": {"peak": {}}}, "has no method peak"),
    ],
)
async def test_a_wrong_setting_is_an_error_of_the_reference(settings, rule, make_client):
    """Where it is written, and not where it is used."""
    with pytest.raises((TypeError, ValueError), match=rule):
        make_client().reference(Stock, **settings)


async def test_a_client_needs_one_place_to_find_services():
    """An address or a registry."""
    for arguments in ({}, {"to": "tcp://127.0.0.1:1", "registry": "memory:"}):
        with pytest.raises(ValueError, match="by an address, or by a registry"):
            Client(**arguments)


async def test_references_with_the_same_settings_are_made_once(make_client):
    """So one may be asked for in each request."""
    client = make_client()
    for _ in range(5):
        client.reference(Stock, attempts=2)
        client.reference(Stock, attempts=2, methods={"peek": Settings(attempts=1)})
    assert len(client._references) == 2
    for attempts in range(1, 200):
        client.reference(Stock, attempts=attempts)
    assert len(client._references) <= 64
