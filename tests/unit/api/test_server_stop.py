"""A server that is asked to stop drains both of its doors at once."""

import asyncio
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
            server.handle_exit(15, None)
            answer = await request
        async with asyncio.timeout(30):
            await serving
    assert answer.status_code == 204
