"""Whom the RPC is measured against and in which of its own forms: servers, clients, one call of each.

All clients of HTTP speak to the same server, the least that there is: a protocol with a constant answer. grpcio speaks
to its own aio server, with bytes in and out and nothing to encode.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any, Protocol

import rpc_http
from rpc_http import BODY, FIELDS, RESULT

from placet_contract.service import method, service
from placet_rpc import HttpClient
from placet_rpc.client import Client
from placet_rpc.filters import Seams
from placet_rpc.frames import CODEC_HTTP
from placet_rpc.governance.counting import CallStatistics
from placet_rpc.governance.statistics import Statistics
from placet_rpc.policies.rate_limit import Rate
from placet_rpc.server import Server
from placet_rpc.tcp import HttpCalls, TcpClient, TcpServer

Call = Callable[[], Awaitable[Any]]


def fields() -> bytes:
    return FIELDS.fill("t-0123456789", "a", "confirm", 1, 10_000, 1_790_000_000_000, 1_790_000_000_123)


@service("debit")
class Debit(Protocol):
    """The typed contenders' service."""

    @method(idempotent=True)
    async def confirm(self, gid: str, amount: int, note: str) -> str:
        """Answers with a constant."""


@service("debit")
class DebitOverHttp(Protocol):
    """The same with the answer that the server of HTTP contenders gives."""

    @method(idempotent=True)
    async def confirm(self, gid: str, amount: int, note: str) -> dict[str, str]:
        """Answers with a constant."""


class DebitAtOnce:
    """Its implementation."""

    async def confirm(self, gid: str, amount: int, note: str) -> str:  # noqa: ARG002 - a no-op
        """Answers with a constant."""
        return NOTE


NOTE = "y" * 109

# -- servers ---------------------------------------------------------------------------------------------------


async def serve_tcp() -> int:
    def answer(request: Any) -> None:
        request.respond(200, RESULT)

    async def app(_scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
        await send({"type": "http.response.body", "body": RESULT})

    calls = HttpCalls(app, routes=lambda _method, target: answer if target == b"/hot" else None)
    server = TcpServer({CODEC_HTTP: calls})
    await server.start()
    return server.port


async def serve_typed() -> int:
    server = Server(tcp="127.0.0.1:0")
    server.expose(Debit)(DebitAtOnce())
    await server.start()
    assert server.tcp_server is not None
    return server.tcp_server.port


async def serve_http() -> int:
    server = await asyncio.get_running_loop().create_server(rpc_http.NoOpServer, "127.0.0.1", 0, backlog=2048)
    KEPT.append(server)
    return int(server.sockets[0].getsockname()[1])


async def serve_grpcio() -> int:
    import grpc.aio  # noqa: PLC0415 - only where it is installed

    class Generic(grpc.GenericRpcHandler):  # type: ignore[misc]  # grpcio ships no types
        def service(self, _details: Any) -> Any:
            async def echo(_request: bytes, _context: Any) -> bytes:
                return RESULT

            return grpc.unary_unary_rpc_method_handler(echo)

    server = grpc.aio.server()
    server.add_generic_rpc_handlers((Generic(),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    KEPT.append(server)
    return int(port)


KEPT: list[object] = []


async def serve(kind: str) -> None:
    starts = {"tcp": serve_tcp, "typed": serve_typed, "http": serve_http, "grpcio": serve_grpcio}
    print(await starts[kind](), flush=True)
    await asyncio.get_running_loop().create_future()


# -- clients ---------------------------------------------------------------------------------------------------


async def tcp_call(port: int, stack: AsyncExitStack, path: str = "/hot") -> Call:
    client = await stack.enter_async_context(TcpClient())
    target = client.target(f"tcp://127.0.0.1:{port}{path}")
    return lambda: target.call(BODY, fields(), timeout_ms=10_000)


async def tcp_bare_call(port: int, stack: AsyncExitStack) -> Call:
    client = await stack.enter_async_context(TcpClient())
    target = client.target(f"tcp://127.0.0.1:{port}/hot")
    return lambda: target.call(BODY, timeout_ms=10_000)


async def tcp_asgi_call(port: int, stack: AsyncExitStack) -> Call:
    return await tcp_call(port, stack, "/asgi")


async def typed_call(port: int, stack: AsyncExitStack) -> Call:
    client = await stack.enter_async_context(Client(f"tcp://127.0.0.1:{port}", app="bench"))
    debit = client.reference(Debit)
    return lambda: debit.confirm("t-0123456789", 30, NOTE)


def full_chain(to: str) -> Client:
    """A client with every policy on: statistics of calls and of attempts, rate limit, bulkhead, breaker, repeats."""
    counted = CallStatistics(Statistics())
    seams = Seams(statistics=(counted,), attempts=(counted,))
    return Client(to, app="bench", seams=seams, settings={"rate": Rate(per_second=1e9)})


async def chain_call(port: int, stack: AsyncExitStack) -> Call:
    client = await stack.enter_async_context(full_chain(f"tcp://127.0.0.1:{port}"))
    debit = client.reference(Debit)
    return lambda: debit.confirm("t-0123456789", 30, NOTE)


async def http_chain_call(port: int, stack: AsyncExitStack) -> Call:
    client = await stack.enter_async_context(full_chain(f"http://127.0.0.1:{port}/rpc"))
    debit = client.reference(DebitOverHttp)
    return lambda: debit.confirm("t-0123456789", 30, NOTE)


async def http_call(port: int, stack: AsyncExitStack) -> Call:
    client = await stack.enter_async_context(HttpClient())
    target = client.target(f"http://127.0.0.1:{port}/debit/confirm")
    return lambda: target.call(BODY, fields(), timeout_ms=10_000)


async def aiohttp_call(port: int, stack: AsyncExitStack) -> Call:
    import aiohttp  # noqa: PLC0415 - only where it is installed

    session = await stack.enter_async_context(aiohttp.ClientSession())
    url = f"http://127.0.0.1:{port}/debit/confirm"

    async def call() -> bytes:
        async with session.post(url, data=BODY, headers={"placet-gid": "t-0123456789"}) as reply:
            return await reply.read()

    return call


async def httpx2_call(port: int, stack: AsyncExitStack) -> Call:
    import httpx2  # noqa: PLC0415 - only where it is installed

    client = await stack.enter_async_context(httpx2.AsyncClient())
    url = f"http://127.0.0.1:{port}/debit/confirm"
    return lambda: client.post(url, content=BODY, headers={"placet-gid": "t-0123456789"})


async def grpcio_call(port: int, stack: AsyncExitStack) -> Call:
    import grpc.aio  # noqa: PLC0415 - only where it is installed

    channel = await stack.enter_async_context(grpc.aio.insecure_channel(f"127.0.0.1:{port}"))
    method = channel.unary_unary("/debit/confirm")
    return lambda: method(BODY)


KINDS: dict[str, tuple[str, str, Callable[[int, AsyncExitStack], Awaitable[Call]], float]] = {
    # name: server, library, client, share of the calls (the slow ones need not make them all)
    "tcp": ("tcp", "msgspec", tcp_call, 1),
    "tcp-bare": ("tcp", "msgspec", tcp_bare_call, 1),
    "tcp-asgi": ("tcp", "msgspec", tcp_asgi_call, 1),
    "tcp-typed": ("typed", "msgspec", typed_call, 1),
    "tcp-chain": ("typed", "msgspec", chain_call, 1),
    "http": ("http", "httptools", http_call, 1),
    "http-chain": ("http", "httptools", http_chain_call, 0.5),
    "aiohttp": ("http", "aiohttp", aiohttp_call, 0.3),
    "httpx2": ("http", "httpx2", httpx2_call, 0.05),
    "grpcio": ("grpcio", "grpc", grpcio_call, 0.2),
}
