"""The client's half: who waits, who is numbered how, and where calls go."""

import asyncio
from datetime import timedelta

import pytest

from placet_rpc.client import Client
from placet_rpc.context import call_options
from placet_rpc.errors import CallRefused, CallTimeout, ConnectFailed, LimitReached, OutOfOrder, Safety
from placet_rpc.filters import chained
from placet_rpc.ordering.calling import OrderedCalls
from placet_rpc.ordering.owner import Owners
from placet_rpc.ordering.stamp import MEMBER, Stamp
from placet_rpc.registry.endpoint import Endpoint
from placet_rpc.registry.snapshot import Snapshot
from unit.rpc.ordering.world import Till


class Wire:
    """What a client sends, and what it is answered."""

    def __init__(self, clock, **options):
        self.sent = []
        self.answers = {}
        self.ordered = OrderedCalls(clock=clock, **options)
        self.proceed = chained([self.ordered], self._send)
        self.till = Client(self, app="order").reference(Till)

    async def invoke(self, call):
        return await self.proceed(call)

    async def _send(self, call):
        stamp = Stamp.parse(call.extra.get(MEMBER, ""))
        self.sent.append((call.instance, stamp and stamp[1:], call.timeout_ms))
        number = call.arguments.number
        answer = self.answers.get(number)
        if isinstance(answer, list):
            answer = answer.pop(0) if answer else None
        if isinstance(answer, asyncio.Event):
            await answer.wait()
        elif isinstance(answer, Exception):
            raise answer
        return number

    def snapshot(self, _service):
        return self.instances

    def know(self, *names):
        """The instances are these from now on."""
        endpoints = tuple(Endpoint(instance_id=name, urls=(f"tcp://{name}:1",)) for name in names)
        self.instances = Snapshot(service="till/1", revision=1, endpoints=endpoints)
        self.ordered.attach(self)

    @property
    def stamps(self):
        return [stamp for _, stamp, _ in self.sent]


@pytest.fixture
async def wire(clock):
    """A client with one call under way per key."""
    return Wire(clock)


async def pay(wire, number, account="a", seconds=60.0):
    with call_options(timeout=timedelta(seconds=seconds)):
        return await wire.till.pay(account, number)


def start(*calls):
    return [asyncio.ensure_future(call) for call in calls]


async def settle():
    for _ in range(10):
        await asyncio.sleep(0)


async def test_calls_with_one_key_go_one_after_the_other_and_others_do_not_wait(wire):
    """Each has the next number, and nothing below it is open."""
    wire.answers[1] = held = asyncio.Event()
    calls = start(pay(wire, 1), pay(wire, 2), pay(wire, 3, "b"))
    await settle()
    assert wire.stamps == [(1, 1), (1, 1)]
    held.set()
    await asyncio.gather(*calls)
    assert wire.stamps == [(1, 1), (1, 1), (2, 2)]


async def test_a_call_without_a_key_passes(wire):
    """It has no number and waits for nobody."""
    with call_options(key=""):
        await wire.till.pay("a", 1)
    assert wire.stamps == [None]


async def test_several_under_way_say_which_of_them_are_open(clock):
    """The server learns from a number which earlier ones it may still wait for."""
    wire = Wire(clock, max_in_flight=3)
    for number in (1, 2, 3):
        wire.answers[number] = asyncio.Event()
    calls = start(*(pay(wire, number) for number in range(1, 6)))
    await settle()
    assert wire.stamps == [(1, 1), (2, 1), (3, 1)]
    wire.answers[2].set()
    await settle()
    assert wire.stamps[3:] == [(4, 1), (5, 1)]  # the fourth ended at once
    wire.answers[1].set()
    wire.answers[3].set()
    await asyncio.gather(*calls)
    await pay(wire, 6)
    assert wire.stamps[-1] == (6, 6)


async def test_a_failed_call_gives_its_number_up(wire):
    """The next one says that nothing before it is open, so the server never runs the failed one after it."""
    wire.answers[1] = ConnectFailed("down")
    with pytest.raises(ConnectFailed):
        await pay(wire, 1)
    await pay(wire, 2)
    assert wire.stamps == [(1, 1), (2, 2)]


async def test_waiting_comes_off_a_calls_time(wire):
    """A call that waited has less left; one whose time is up was never sent."""
    wire.answers[1] = asyncio.Event()
    calls = start(pay(wire, 1), pay(wire, 2, seconds=10), pay(wire, 3, seconds=2))
    await asyncio.sleep(5)
    with pytest.raises(CallTimeout, match="took all the time") as caught:
        await calls[2]
    assert caught.value.safety is Safety.NOT_SENT
    wire.answers[1].set()
    await asyncio.gather(*calls[:2])
    assert wire.sent[1][2] == 5_000


async def test_a_caller_that_leaves_while_it_waits_leaves_no_hole(wire):
    """Neither while it waits nor as its turn comes."""
    wire.answers[1] = asyncio.Event()
    calls = start(*(pay(wire, number) for number in range(1, 5)))
    await settle()
    calls[1].cancel()
    await settle()
    wire.answers[1].set()
    await asyncio.wait((calls[0],))
    calls[2].cancel()
    assert await calls[3] == 4
    assert wire.stamps[-1][0] == wire.stamps[-1][1]


async def test_waiting_calls_and_keys_have_a_limit(clock):
    """Beyond it a call is refused before it is sent."""
    wire = Wire(clock, max_waiting=1, max_lanes=2)
    wire.answers[1] = asyncio.Event()
    calls = start(pay(wire, 1), pay(wire, 2), pay(wire, 1, "b"))
    await settle()
    for account, limit in (("a", "max_waiting"), ("c", "max_lanes")):
        with pytest.raises(LimitReached, match=limit) as caught:
            await pay(wire, 3, account)
        assert caught.value.limit == limit
    wire.answers[1].set()
    await asyncio.gather(*calls)
    await pay(wire, 3, "c")  # an idle key made room


async def test_a_key_that_was_forgotten_begins_anew_as_another_client(clock):
    """Its low numbers are no repeats to a server that remembers it."""
    wire = Wire(clock, max_lanes=1)
    clients = set()

    async def note(call):
        clients.add(Stamp.parse(call.extra[MEMBER]).client)

    wire.proceed = chained([wire.ordered], note)
    for account in ("a", "b", "a"):
        await pay(wire, 1, account)
    assert len(clients) == 3


async def test_a_call_goes_to_the_keys_owner_as_it_is_when_its_turn_comes(wire):
    """Not to the one of when it was made."""
    wire.know("x", "y")
    wire.answers[1] = asyncio.Event()
    calls = start(pay(wire, 1), pay(wire, 2))
    await settle()
    first = wire.sent[0][0]
    other = "y" if first == "x" else "x"
    wire.know(other)
    wire.answers[1].set()
    await asyncio.gather(*calls)
    assert [instance for instance, *_ in wire.sent] == [first, other]


async def test_where_a_caller_names_the_instance_it_goes_there(wire):
    """The order of the key holds all the same."""
    wire.know("x", "y")
    with call_options(instance="z"):
        await wire.till.pay("a", 1)
    assert wire.sent[0][:2] == ("z", (1, 1))


@pytest.mark.parametrize("reason", ["moved", "handing_over"])
async def test_a_server_that_does_not_own_the_key_is_asked_again_until_one_does(wire, clock, reason):
    """Soon at first, rarely later, as long as the call has time."""
    wire.know("x")
    refusal = CallRefused("no", reason=reason, push_back_ms=-1)
    wire.answers[1] = [refusal] * 5
    began_at = clock.monotonic()
    assert await pay(wire, 1) == 1
    assert clock.monotonic() - began_at == pytest.approx(0.02 + 0.04 + 0.08 + 0.16 + 0.32)
    wire.answers[2] = refusal
    with pytest.raises(CallRefused):
        await pay(wire, 2, seconds=3)


async def test_a_call_that_came_before_an_earlier_one_is_sent_again(wire):
    """With what is open by then."""
    wire.answers[1] = [OutOfOrder("early")]
    assert await pay(wire, 1) == 1
    assert wire.stamps == [(1, 1), (1, 1)]


async def test_a_call_that_reached_nobody_follows_its_key_to_another_owner(wire):
    """Only if nothing ran, and only if the owner is another by now."""
    wire.know("x", "y")
    key = next(key for key in map(str, range(100)) if Owners.of(wire.instances).owner(key) == "x")

    class Died(ConnectFailed):
        def __init__(self):
            super().__init__("down")
            wire.know("y")

    async def send(call):
        wire.sent.append((call.instance, None, 0))
        if call.instance == "x":
            raise Died

    wire.proceed = chained([wire.ordered], send)
    await pay(wire, 1, key)
    assert [instance for instance, *_ in wire.sent] == ["x", "y"]


def test_limits_below_one_are_refused():
    """A client that could never call anything is a mistake."""
    with pytest.raises(ValueError, match="at least 1"):
        OrderedCalls(max_in_flight=0)
