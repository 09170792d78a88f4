"""What callers of requests with a key are told, in virtual time."""

import asyncio
from datetime import timedelta
from typing import Protocol

import pytest

from placet_contract.service import method, service
from placet_rpc.client import Client
from placet_rpc.codecs import JSON, MSGPACK
from placet_rpc.context import CallContext, call_options
from placet_rpc.errors import (
    CallOngoing,
    CallRefused,
    CallRepeated,
    CallTimeout,
    KeyReused,
    OutcomeLost,
    RemoteFault,
    Safety,
)
from placet_rpc.idempotency.memory import MemoryRequests
from placet_rpc.idempotency.serving import Idempotency
from placet_rpc.outcome import OK, RAISED, UNFIT
from placet_rpc.server import Server


class Broke(Exception):
    """Part of the contract."""


@service("till", raises=(Broke,))
class Till(Protocol):
    """A service whose calls have effects."""

    async def pay(self, cents: int, *, to: str = "shop") -> int: ...

    async def refund(self, cents: int) -> int: ...

    @method(idempotent=True)
    async def audit(self, cents: int) -> int: ...

    async def receipt(self, length: int) -> str: ...


class TillHere:
    """The implementation; what it does waits until a test lets it."""

    def __init__(self):
        self.paid = []
        self.may_end = asyncio.Event()
        self.may_end.set()
        self.error = None

    async def pay(self, cents, *, to="shop"):
        self.paid.append(cents)
        await self.may_end.wait()
        if self.error is not None:
            raise self.error
        return len(self.paid)

    async def refund(self, cents):
        return await self.pay(-cents)

    async def audit(self, cents):
        return await self.pay(cents)

    async def receipt(self, length):
        return "x" * length


@pytest.fixture
async def till():
    """The implementation."""
    return TillHere()


@pytest.fixture
async def make_server(till, store, clock):
    """Makes servers on one store; they are closed after the test."""
    servers = []

    def make(**options):
        server = Server(filters=[Idempotency(store, clock=clock, **options)])
        server.expose(Till)(till)
        servers.append(server)
        return server

    yield make
    for server in servers:
        await server.aclose()


@pytest.fixture
async def server(make_server):
    """A server."""
    return make_server()


@pytest.fixture
async def proxy(server):
    """A caller."""
    return Client(server, app="order").reference(Till)


async def pay(proxy, cents=5, key="k1", call="pay"):
    with call_options(idempotency_key=key):
        return await getattr(proxy, call)(cents)


async def test_a_repeat_gets_the_first_answer_and_has_no_effect(proxy, till):
    """However often it comes."""
    assert [await pay(proxy) for _ in range(3)] == [1, 1, 1]
    assert till.paid == [5]
    assert await pay(proxy, key="k2") == 2


async def test_calls_without_a_key_pass(proxy, till):
    """Each of them has its effect."""
    assert [await proxy.pay(5) for _ in range(2)] == [1, 2]


@pytest.mark.parametrize(("cents", "call"), [(6, "pay"), (5, "refund")])
async def test_a_key_with_other_arguments_or_another_method_is_refused(proxy, till, cents, call):
    """The mistake is named, nothing runs, and the first answer is still there."""
    await pay(proxy)
    with pytest.raises(KeyReused, match="take a new one") as caught:
        await pay(proxy, cents, call=call)
    assert (caught.value.safety, caught.value.push_back_ms) == (Safety.NOT_EXECUTED, -1)
    assert await pay(proxy) == 1
    assert till.paid == [5]


async def test_a_repeat_is_told_that_the_first_still_runs(proxy, till):
    """It says nothing of the outcome, and asking again brings the answer in the end."""
    till.may_end.clear()
    first = asyncio.ensure_future(pay(proxy))
    await asyncio.sleep(1)
    with pytest.raises(CallOngoing) as caught:
        await pay(proxy)
    assert (caught.value.safety, caught.value.retry_after_ms) == (Safety.UNKNOWN, 200)
    till.may_end.set()
    assert await first == await pay(proxy) == 1


async def test_an_exception_of_the_contract_is_an_answer(proxy, till):
    """The repeat is told the same, without another try."""
    till.error = Broke("no money", 3)
    for _ in range(2):
        with pytest.raises(Broke) as caught:
            await pay(proxy)
        assert caught.value.args == ("no money", 3)
    assert till.paid == [5]


async def test_a_fault_is_an_answer(proxy, till, caplog):
    """It ran; what it did before it failed would be done twice."""
    till.error = RuntimeError("a defect")
    for _ in range(2):
        with pytest.raises(RemoteFault):
            await pay(proxy)
    assert till.paid == [5]


async def test_a_request_goes_on_when_its_caller_has_left(proxy, till):
    """The repeat finds its answer."""
    till.may_end.clear()
    with call_options(idempotency_key="k1", timeout=timedelta(seconds=1)), pytest.raises(CallTimeout):
        await proxy.pay(5)
    till.may_end.set()
    await asyncio.sleep(0.1)
    assert await pay(proxy) == 1
    assert till.paid == [5]


async def test_a_long_request_is_never_taken_for_lost(proxy, till):
    """Its process says that it lives, for as long as that takes."""
    till.may_end.clear()
    with call_options(idempotency_key="k1", timeout=timedelta(minutes=10)):
        first = asyncio.ensure_future(proxy.pay(5))
    for _ in range(5):
        await asyncio.sleep(100)
        with pytest.raises(CallOngoing):
            await pay(proxy)
    till.may_end.set()
    assert await first == 1


async def test_what_a_server_was_stopped_in_is_lost(make_server, till):
    """Its repeat at another server is told so at once; only what is declared idempotent is run again."""
    dying = make_server()
    first = Client(dying, app="order").reference(Till)
    till.may_end.clear()
    calls = [asyncio.ensure_future(pay(first)), asyncio.ensure_future(pay(first, key="k2", call="audit"))]
    await asyncio.sleep(1)
    await dying.aclose()
    await asyncio.wait(calls)
    till.may_end.set()
    other = Client(make_server(), app="order").reference(Till)
    with pytest.raises(OutcomeLost) as caught:
        await pay(other)
    assert caught.value.safety is Safety.UNKNOWN
    assert await pay(other, key="k2", call="audit") == 3
    assert till.paid == [5, 5, 5]


async def test_arguments_that_do_not_fit_leave_the_key_free(server, till):
    """What can't run has no key."""
    operation = server.operations.find("till/1", "pay")
    context = CallContext(caller="order", idempotency_key="k1")
    assert (await operation.answer(JSON, b'{"cents":"x"}', context)).status == UNFIT
    assert (await operation.answer(JSON, b'{"cents":5}', context)).status == OK


async def test_a_repeat_over_another_transport_is_the_same_request(server, till):
    """Another codec, another order of members, a default that is spelt out: the answer is the first one, translated."""
    operation = server.operations.find("till/1", "pay")
    context = CallContext(caller="order", idempotency_key="k1")
    first = await operation.answer(JSON, b'{"to":"bar","cents":5}', context)
    again = await operation.answer(MSGPACK, MSGPACK.encoder(dict)({"cents": 5, "to": "bar"}), context)
    assert (JSON.decoder(int)(first.body), MSGPACK.decoder(int)(again.body)) == (1, 1)
    till.error = Broke("no")
    context = CallContext(caller="order", idempotency_key="k2")
    await operation.answer(JSON, b'{"cents":5}', context)
    again = await operation.answer(MSGPACK, MSGPACK.encoder(dict)({"cents": 5, "to": "shop"}), context)
    assert again.status == RAISED
    assert MSGPACK.decoder(dict)(again.body)["kind"] == "Broke"
    assert till.paid == [5, 5]


async def test_an_answer_too_long_to_keep_is_not_given_twice(make_server):
    """The repeat learns that it ran, which is the truth."""
    proxy = Client(make_server(max_answer_bytes=100), app="order").reference(Till)
    assert await pay(proxy, 90, call="receipt") == "x" * 90
    assert await pay(proxy, 90, call="receipt") == "x" * 90
    assert len(await pay(proxy, 200, key="k2", call="receipt")) == 200
    with pytest.raises(CallRepeated, match="max_answer_bytes") as caught:
        await pay(proxy, 200, key="k2", call="receipt")
    assert caught.value.safety is Safety.EXECUTED


async def test_without_its_store_nothing_with_a_key_is_begun(proxy, till, store):
    """A request that can't be looked up is refused, with a time to come again; others pass."""
    store.is_down = True
    with pytest.raises(CallRefused) as caught:
        await pay(proxy)
    assert (caught.value.reason, caught.value.push_back_ms) == ("unavailable", 200)
    assert await proxy.pay(5) == 1
    store.is_down = False
    assert await pay(proxy) == 2


async def test_an_answer_is_kept_as_soon_as_the_store_is_back(proxy, till, store):
    """The caller has it at once; a repeat waits until it can be known, and never runs."""
    till.may_end.clear()
    first = asyncio.ensure_future(pay(proxy))
    await asyncio.sleep(0.1)
    store.is_down = True
    till.may_end.set()
    assert await first == 1
    await asyncio.sleep(2)
    store.is_down = False
    with pytest.raises(CallOngoing):
        await pay(proxy)
    await asyncio.sleep(10)
    assert await pay(proxy) == 1
    assert till.paid == [5]


async def test_a_store_that_stays_away_leaves_the_request_lost(proxy, till, store, caplog):
    """Its answer is not made up; the log says what repeats will hear."""
    till.may_end.clear()
    first = asyncio.ensure_future(pay(proxy))
    await asyncio.sleep(0.1)
    store.is_down = True
    till.may_end.set()
    assert await first == 1
    await asyncio.sleep(120)
    store.is_down = False
    assert "could not be kept" in caplog.text
    with pytest.raises(OutcomeLost):
        await pay(proxy)


async def test_a_key_is_known_for_its_time(proxy, till):
    """A day later the same key is a new request."""
    await pay(proxy)
    await asyncio.sleep(86_000)
    assert await pay(proxy) == 1
    await asyncio.sleep(500)
    assert await pay(proxy) == 2


@pytest.mark.parametrize("key", ["k" * 257, "ключ", "a\nb", "k "])
async def test_keys_that_not_all_stores_can_keep_are_refused(proxy, till, key):
    """A key is the same on every database, or it is none."""
    with pytest.raises(CallRefused, match="printable ASCII") as caught:
        await pay(proxy, key=key)
    assert (caught.value.reason, till.paid) == ("idempotency_key", [])


async def test_memory_forgets_nothing_before_its_time(clock, till):
    """When it is full of keys that are still known, further ones are refused; old ones make room."""
    server = Server(filters=[Idempotency(MemoryRequests(clock, max_requests=3), clock=clock)])
    server.expose(Till)(till)
    proxy = Client(server, app="order").reference(Till)
    for number in range(3):
        await pay(proxy, key=f"k{number}")
    with pytest.raises(CallRefused, match="max_requests"):
        await pay(proxy, key="k3")
    assert await pay(proxy, key="k0") == 1
    await asyncio.sleep(86_500)
    assert await pay(proxy, key="k3") == 4
    await server.aclose()


def test_a_key_must_be_known_for_longer_than_a_request_may_run(store):
    """Settings that contradict each other are refused."""
    with pytest.raises(ValueError, match="known for longer"):
        Idempotency(store, known=timedelta(seconds=30))
