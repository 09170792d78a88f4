"""A server that is asked to stop drains both of its doors at once."""

import asyncio
import signal
import socket
from contextlib import closing
from types import SimpleNamespace

import httpx2
import uvicorn

from placet_coordinator.cli.server import _Server


async def test_http_and_tcp_drain_at_the_same_time():
    """An HTTP request that ends only once TCP is being drained holds the stop up no longer than that."""
    tcp_is_drained, has_arrived = asyncio.Event(), asyncio.Event()

    async def app(_scope, _receive, send):
        has_arrived.set()
        await tcp_is_drained.wait()
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def stop_tcp():
        tcp_is_drained.set()

    config = uvicorn.Config(app, lifespan="off", log_config=None, timeout_graceful_shutdown=60)
    server = _Server(config, SimpleNamespace(drain=lambda: None), stop_tcp)
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        async with httpx2.AsyncClient() as client:
            request = asyncio.create_task(client.get(f"http://127.0.0.1:{listener.getsockname()[1]}/"))
            await has_arrived.wait()
            server.handle_exit(signal.SIGTERM, None)
            answer = await request
        async with asyncio.timeout(30):
            await serving
    assert answer.status_code == 204


async def test_second_interrupt_waits_for_neither_door():
    """Who asks twice is not kept waiting by TCP either, which may drain for as long as PLACET_DRAIN."""
    has_begun, was_cancelled = asyncio.Event(), asyncio.Event()

    async def stop_tcp():
        has_begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            was_cancelled.set()
            raise

    config = uvicorn.Config(lambda *_: None, lifespan="off", log_config=None)
    server = _Server(config, SimpleNamespace(drain=lambda: None), stop_tcp)
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        while not server.started:  # noqa: ASYNC110 - uvicorn tells it by this flag alone
            await asyncio.sleep(0)
        server.handle_exit(signal.SIGINT, None)
        server.handle_exit(signal.SIGINT, None)
        async with asyncio.timeout(30):
            await serving
    assert has_begun.is_set() is was_cancelled.is_set()
