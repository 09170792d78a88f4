"""Policies of callers without an event loop: the same settings, the same chain."""

import asyncio
from datetime import timedelta
from typing import Protocol

import pytest

from placet_contract.service import method, service
from placet_rpc import CallTimeout
from placet_rpc.context import call_options
from placet_rpc.policies.degradation import Null, Value
from placet_rpc.server import Server
from placet_rpc.sync_client import SyncClient


@service("stock")
class Stock(Protocol):
    """As blocking callers declare it."""

    @method(idempotent=True, timeout=timedelta(seconds=5))
    def peek(self, sku: str) -> str | None: ...

    @method(timeout=timedelta(seconds=5))
    def stall(self) -> str | None: ...


class Here:
    """One server's answer."""

    def __init__(self, name):
        self.name = name

    async def peek(self, sku: str) -> str | None:
        return f"{sku} of {self.name}"

    async def stall(self) -> str | None:
        await asyncio.Event().wait()


@pytest.fixture
async def servers():
    """Two servers."""
    servers = []
    for name in "ab":
        server = Server(tcp="127.0.0.1:0", instance_id=name)
        server.expose(Stock)(Here(name))
        await server.start()
        servers.append(server)
    yield servers
    for server in servers:
        await server.aclose(linger=timedelta(), grace=timedelta())


@pytest.fixture
async def client(servers):
    """A blocking client of both, and of one that is not there."""
    client = SyncClient([*(server.endpoint for server in servers), "tcp://127.0.0.1:9"], app="batch")
    yield client
    await asyncio.to_thread(client.close)


async def test_a_dead_instance_is_passed_over(client):
    """Each call is answered by one of the two that are there."""
    stock = client.reference(Stock, balancer="round_robin")
    answers = await asyncio.to_thread(lambda: {stock.peek("A1") for _ in range(12)})
    assert answers == {"A1 of a", "A1 of b"}


async def test_levels_hold_for_blocking_callers_too(client):
    """The method's time, the call's before it; what the reference answers instead."""
    stock = client.reference(Stock, methods={"stall": {"degrade": Null()}})

    def call():
        with call_options(timeout=timedelta(milliseconds=50)):
            return stock.stall()

    assert await asyncio.to_thread(call) is None
    plain = client.reference(Stock, methods={"stall": {"timeout": timedelta(milliseconds=50)}})
    with pytest.raises(CallTimeout):
        await asyncio.to_thread(plain.stall)


async def test_an_override_holds_from_the_next_call_on(client):
    """Set from any thread."""
    stock = client.reference(Stock)
    await asyncio.to_thread(client.override, "stock/1", "peek", degrade=Value("closed", always=True))
    assert await asyncio.to_thread(stock.peek, "A1") == "closed"
    await asyncio.to_thread(client.override, "stock/1", "peek")
    assert (await asyncio.to_thread(stock.peek, "A1")).startswith("A1 of ")


async def test_mistakes_are_errors(client):
    """An unknown setting at once, one that does not suit the method at its first call."""
    with pytest.raises(TypeError, match="there is no setting attempt"):
        client.reference(Stock, attempt=3)
    stock = client.reference(Stock, methods={"stall": {"cluster": "forking"}})
    with pytest.raises(TypeError, match="stall is sent to several instances"):
        await asyncio.to_thread(stock.stall)
