"""One server per test, and a client to it over each transport."""

import asyncio
from datetime import timedelta

import pytest
import uvicorn
import uvloop
from fastapi import FastAPI

from conformance.rpc_transport.stock import Stock, StockInMemory
from placet_rpc.asgi import asgi_app
from placet_rpc.client import Client
from placet_rpc.fastapi_router import service_router
from placet_rpc.server import Server


def pytest_asyncio_loop_factories(config, item):
    """Both event loops, as for the transports alone."""
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@pytest.fixture
async def implementation() -> StockInMemory:
    """What the server runs."""
    return StockInMemory()


async def serve_http(app):
    """Starts an application under uvicorn and returns its URL and how to stop it."""
    config = uvicorn.Config(app, host="127.0.0.1", port=0, lifespan="off", log_config=None)
    http = uvicorn.Server(config)
    serving = asyncio.ensure_future(http.serve())
    while not http.started:  # noqa: ASYNC110 - uvicorn has no event for it
        await asyncio.sleep(0.001)

    async def stop():
        http.should_exit = True
        await serving

    return f"http://127.0.0.1:{http.servers[0].sockets[0].getsockname()[1]}", stop


@pytest.fixture(params=["tcp-msgpack", "tcp-json", "tcp-protobuf", "inproc", "http-asgi", "http-fastapi"])
async def client(request, implementation):
    """A client of the service over one transport."""
    kind = request.param
    server = Server(
        tcp="127.0.0.1:0" if kind.startswith("tcp") else None,
        codecs=("msgpack", "json", "protobuf"),
        max_threads=2,
        max_waiting_for_threads=2,
    )
    server.expose(Stock)(implementation)
    await server.start()
    stop = None
    to, options = server, {}
    if kind.startswith("tcp"):
        to, options = server.endpoint, {"codecs": [kind.removeprefix("tcp-")]}
    elif kind.startswith("http"):
        app = FastAPI()
        if kind == "http-fastapi":
            app.include_router(service_router(server), prefix="/rpc")
        else:
            app.mount("/rpc", asgi_app(server))
        url, stop = await serve_http(app)
        to = f"{url}/rpc"
    async with Client(to, app="order", **options) as client:
        client.kind = kind
        yield client
    if stop is not None:
        await stop()
    await server.aclose(linger=timedelta(), grace=timedelta(seconds=1))


@pytest.fixture
def stock(client) -> Stock:
    """A proxy."""
    return client.reference(Stock)
