"""A server on loopback that behaves as badly as a test wants, and every async test on both event loops."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack

import pytest
import uvloop

from placet_rpc import HttpClient


def pytest_asyncio_loop_factories(config, item):
    """The client must hold on plain asyncio as on uvloop: their transports differ in when they write and close."""
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


class Peer:
    """The server's end of one connection, `number` counted from 0 over the server's life."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        self.reader, self.writer, self.number = reader, writer, number

    async def request(self) -> bytes:
        """Reads one request with its body; raises IncompleteReadError when the client has closed."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        length = [
            int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")
        ]
        return head + (await self.reader.readexactly(length[0]) if length else b"")

    async def send(self, data: bytes) -> None:
        """Writes what a test wants the client to read."""
        self.writer.write(data)
        await self.writer.drain()

    async def gone(self) -> bytes:
        """Waits until the client has closed, and returns what it still sent."""
        return await self.reader.read()


Script = Callable[[Peer], Awaitable[None]]


class ScriptedServer:
    """Runs a script for each connection and closes it when the script ends."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.connections = 0
        self.requests: list[bytes] = []
        self.tasks: set[asyncio.Task[None]] = set()
        self.url = ""
        self.port = 0

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = Peer(reader, writer, self.connections)
        self.connections += 1
        task = asyncio.current_task()
        self.tasks.add(task)
        try:
            await self.script(peer)
        except (asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError):
            pass  # the client left, or the test is over: what the client saw is the test's business
        finally:
            self.tasks.discard(task)
            writer.close()


@pytest.fixture
async def serve() -> AsyncIterator[Callable[..., Awaitable[ScriptedServer]]]:
    """Starts scripted servers: `server = await serve(script)`; `server.url` ends with the port."""
    async with AsyncExitStack() as stack:

        async def start(script: Script, *, host: str = "127.0.0.1", **options) -> ScriptedServer:
            scripted = ScriptedServer(script)
            server = await asyncio.start_server(scripted.connected, host, 0, **options)

            async def stop() -> None:
                server.close()
                for task in tuple(scripted.tasks):
                    task.cancel()
                await asyncio.gather(*scripted.tasks, return_exceptions=True)

            stack.push_async_callback(stop)
            scripted.port = server.sockets[0].getsockname()[1]
            scripted.url = f"http://[{host}]:{scripted.port}" if ":" in host else f"http://{host}:{scripted.port}"
            return scripted

        yield start


@pytest.fixture
async def make_client() -> AsyncIterator[Callable[..., HttpClient]]:
    """Makes clients and closes them at the end; by then none may hold a connection."""
    clients: list[HttpClient] = []

    def make(**options) -> HttpClient:
        clients.append(HttpClient(**options))
        return clients[-1]

    yield make
    for client in clients:
        await client.aclose()
        assert client.counters.connections_open == 0


@pytest.fixture
async def client(make_client) -> HttpClient:
    """A client with default settings."""
    return make_client()


async def until(condition: Callable[[], object]) -> None:
    """Waits for what the event loop is about to bring about; the test's own timeout bounds it."""
    while not condition():  # noqa: ASYNC110 - what is waited for has no event: it is a count inside the client
        await asyncio.sleep(0.001)


def reply(body: bytes = b"{}", status: str = "200 OK", *fields: bytes) -> bytes:
    """A well-formed reply with content-length."""
    lines = b"".join(field + b"\r\n" for field in fields)
    return b"HTTP/1.1 %b\r\n%bcontent-length: %d\r\n\r\n%b" % (status.encode(), lines, len(body), body)
