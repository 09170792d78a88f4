"""Servers and clients with a registry between them."""

import asyncio
from contextlib import aclosing
from datetime import timedelta
from typing import Protocol

import pytest

from placet_contract.service import method, service
from placet_rpc.client import Client
from placet_rpc.registry import Advertisement, Endpoint, RegistryRefused, RegistryUnavailable
from placet_rpc.registry.memory import MemoryRegistry
from placet_rpc.server import Server
from placet_rpc.transports import Transports
from unit.rpc.conftest import until

NOW = timedelta()


@service("echo")
class Echo(Protocol):
    """A service."""

    @method(idempotent=True)
    async def say(self, word: str) -> str: ...


class Echoing:
    """Says who it is."""

    def __init__(self, name: str = "") -> None:
        self.name = name

    async def say(self, word: str) -> str:
        return f"{word} {self.name}".strip()


def make_server(registry, name="a", **options):
    server = Server(tcp="127.0.0.1:0", registry=registry, instance_id=name, **options)
    server.expose(Echo)(Echoing(name))
    return server


async def listed(registry, name="echo/1"):
    async with aclosing(registry.watch(name)) as watch:
        return (await anext(watch)).endpoints


async def probed(url):
    transports = Transports()
    try:
        return await transports.probe(Endpoint(instance_id="a", urls=(url,)))
    finally:
        await transports.aclose()


async def test_a_started_server_is_announced_with_what_it_says_of_itself():
    """Its TCP address, codecs and age come by themselves, the rest from its advertisement."""
    registry = MemoryRegistry()
    advertisement = Advertisement(weight=7, zone="north", tags={"version": "2"})
    async with make_server(registry, advertisement=advertisement) as server:
        (endpoint,) = await listed(registry)
        assert endpoint == Endpoint(
            instance_id="a",
            urls=(server.endpoint,),
            weight=7,
            zone="north",
            tags={"version": "2"},
            codecs=("msgpack", "json"),
            up_since=endpoint.up_since,
        )
        assert await listed(registry, "placet.introspection/1") == ()
    assert await listed(registry) == ()


async def test_a_draining_server_withdraws_before_it_refuses_anything():
    """When callers are told to leave, the registry has told them where else to go."""
    registry = MemoryRegistry()
    server = make_server(registry)
    await server.start()
    async with Client(server.endpoint) as client:
        echo = client.reference(Echo)
        await echo.say("hello")
        closing = asyncio.create_task(server.aclose(linger=timedelta(seconds=5), grace=NOW))
        async with aclosing(registry.watch("echo/1")) as watch:
            while (await anext(watch)).endpoints:
                assert not server.tcp_server.is_draining
        assert await echo.say("still here") == "still here a"
    await closing


async def test_an_address_that_nobody_can_call_is_not_announced():
    """A server that listens on all addresses has to say by which it is reached; it stops instead of hiding."""
    registry = MemoryRegistry()
    server = Server(tcp="0.0.0.0:0", registry=registry, plain_text_beyond_loopback=True)
    server.expose(Echo)(Echoing())
    with pytest.raises(ValueError, match="not where callers reach it"):
        await server.start()
    assert server.tcp_server.connections == set()
    with pytest.raises(ValueError, match="give it some"):
        await Server(registry=registry).start()


async def test_a_mounted_server_is_announced_by_its_url():
    """Without a TCP port the advertisement says where the service is mounted."""
    registry = MemoryRegistry()
    server = Server(registry=registry, advertisement=Advertisement(urls=("http://127.0.0.1:8000/rpc",)))
    server.expose(Echo)(Echoing())
    async with server:
        (endpoint,) = await listed(registry)
        assert (endpoint.urls, endpoint.codecs) == (("http://127.0.0.1:8000/rpc",), ())


async def test_a_registry_that_refuses_keeps_a_server_from_starting():
    """Nothing listens after it."""
    server = make_server("static:tcp://127.0.0.1:1")
    with pytest.raises(RegistryRefused):
        await server.start()
    assert not await probed(server.endpoint)


class Down(MemoryRegistry):
    """A registry that is down."""

    async def register(self, service, endpoint):
        raise RegistryUnavailable("it is down")


async def test_a_server_starts_with_its_registry_down():
    """Who knows its address can call it."""
    async with make_server(Down()) as server, Client(server.endpoint) as client:
        assert not server.announcer.is_announced
        assert await client.reference(Echo).say("hello") == "hello a"


async def test_a_probe_asks_by_the_transport_that_calls_take():
    """A living server answers over TCP, a draining one does not; nor does nobody, nor an unknown transport."""
    server = make_server(MemoryRegistry())
    await server.start()
    endpoint = Endpoint(instance_id="a", urls=(server.endpoint,))
    transports = Transports()
    route = transports.connect(endpoint)  # as a client holds it
    assert await transports.probe(endpoint)
    closing = asyncio.create_task(server.aclose(linger=timedelta(seconds=5), grace=NOW))
    await until(lambda: not route.is_available)
    assert not await transports.probe(endpoint)
    await transports.aclose()
    await closing
    for url in (server.endpoint, "http://127.0.0.1:1/rpc", "carrier-pigeon://coop", "tcp://no-port"):
        assert not await probed(url)


@pytest.mark.parametrize(("status", "answers"), [(b"405 Method Not Allowed", True), (b"502 Bad Gateway", False)])
async def test_a_probe_over_http_tells_an_instance_from_a_gateway(status, answers, serve):
    """Any answer of the instance will do; a gateway in front of nobody is none."""

    async def script(peer):
        await peer.request()
        await peer.send(b"HTTP/1.1 %b\r\ncontent-length: 0\r\n\r\n" % status)

    server = await serve(script)
    assert await probed(f"{server.url}/rpc") is answers


async def test_a_client_finds_servers_by_their_registry():
    """Servers that come are called, servers that leave are not, and the client says how old its knowledge is."""
    registry = MemoryRegistry()
    async with Client(registry=registry) as client:
        echo = client.reference(Echo, balancer="round_robin")
        assert client.directory.age("echo/1") is None
        async with make_server(registry, "a"):
            assert await echo.say("hello") == "hello a"
            async with make_server(registry, "b"):
                answers = {await echo.say("hello") for _ in range(200)}
                assert answers == {"hello a", "hello b"}
            assert {await echo.say("hello") for _ in range(20)} == {"hello a"}
        assert client.directory.age("echo/1") < timedelta(seconds=10)
        assert client.directory.trouble("echo/1") == ""


async def test_a_client_calls_a_lost_server_until_it_is_gone():
    """A registry that has lost everything costs no call, while the servers answer."""
    lost = MemoryRegistry()
    async with make_server(lost, "a"), Client(registry=lost) as client:
        echo = client.reference(Echo)
        assert await echo.say("hello") == "hello a"
        await lost.unregister("echo/1", "a")
        await until(lambda: any(e.suspect for e in client.directory.snapshot("echo/1").endpoints))
        assert {await echo.say("hello") for _ in range(20)} == {"hello a"}
