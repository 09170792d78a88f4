"""TCP servers and clients on loopback, closed at the end; by then no connection and no call may be left."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Self

import pytest

from placet_rpc.frames import CODEC_HTTP
from placet_rpc.tcp import HttpCalls, TcpClient, TcpServer

AT_ONCE = timedelta()
SOON = timedelta(seconds=1)


class Hot:
    """Routes of hot handlers by path; the answer of any path not named is the body that came."""

    def __init__(self):
        self.handlers = {}
        self.bodies = []

    def routes(self, _method, target):
        return self.handlers.get(target.decode(), self.echo)

    def echo(self, request):
        self.bodies.append(request.body)
        request.respond(200, request.body)

    def hold(self, path):
        """Makes a path whose requests are answered by the test."""
        held = []
        self.handlers[path] = held.append
        return held


@pytest.fixture
def hot() -> Hot:
    """What the server of this test answers."""
    return Hot()


@pytest.fixture
async def serve_tcp(hot) -> AsyncIterator[Callable]:
    """Starts servers: `server = await serve_tcp()`; `server.url` ends with the port."""
    async with AsyncExitStack() as stack:

        async def start(*, app=None, port=0, routes=hot.routes, **options) -> TcpServer:
            server = TcpServer({CODEC_HTTP: HttpCalls(app, routes=routes)}, **options)
            await server.start("127.0.0.1", port)
            server.url = f"{'tcps' if options.get('tls') else 'tcp'}://127.0.0.1:{server.port}"
            stack.push_async_callback(server.aclose, linger=AT_ONCE, grace=AT_ONCE)
            return server

        yield start


@pytest.fixture
async def make_tcp_client() -> AsyncIterator[Callable[..., TcpClient]]:
    """Makes clients, and looks at their books when the test is over."""
    clients: list[TcpClient] = []

    def make(**options) -> TcpClient:
        clients.append(TcpClient(**options))
        return clients[-1]

    yield make
    for client in clients:
        await client.aclose()
        counters = client.counters
        assert counters.connections_open == 0
        assert client.in_flight == 0
        assert counters.calls == counters.replies + counters.cancelled + sum(counters.failures.values())


@pytest.fixture
async def tcp_client(make_tcp_client) -> TcpClient:
    """A client with default settings."""
    return make_tcp_client()


class CuttingProxy:
    """Stands between clients and a server, and cuts connections in the middle of what they say, by a seeded chance."""

    def __init__(self, port: int, chance: random.Random, cut_every_bytes: int) -> None:
        self.port, self.chance, self.cut_every_bytes = port, chance, cut_every_bytes
        self.cuts = 0
        self.url = ""
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.url = f"tcp://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_exc) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _connected(self, reader, writer) -> None:
        task = asyncio.current_task()
        self._tasks.add(task)
        try:
            server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self.port)
            both = (writer, server_writer)
            ways = [
                asyncio.ensure_future(self._forward(reader, server_writer, both)),
                asyncio.ensure_future(self._forward(server_reader, writer, both)),
            ]
            try:
                await asyncio.gather(*ways)
            finally:
                for way in ways:
                    way.cancel()
                for side in both:
                    side.transport.abort()
        except (OSError, asyncio.CancelledError):
            writer.transport.abort()
        finally:
            self._tasks.discard(task)

    async def _forward(self, reader, writer, both) -> None:
        left = int(self.chance.expovariate(1 / self.cut_every_bytes))
        while data := await reader.read(65_536):
            if len(data) > left:
                self.cuts += 1
                writer.write(data[:left])
                for side in both:
                    side.close()  # what was written before the cut still arrives
                return
            left -= len(data)
            writer.write(data)
        for side in both:
            side.close()
