"""A coordinator in this process, and the three doors by which a hot call can come in."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import httpx2
import pytest
import uvicorn

from placet_coordinator.api.entrance import HotLane
from placet_coordinator.bootstrap import Node, running
from placet_coordinator.config import load_settings
from placet_rpc.http.fast_lane import fast_lane

Start = Callable[..., Awaitable[Node]]
DOORS = ("connection", "asgi", "fastapi")


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Start]:
    """Starts a coordinator on a SQLite file of this test: `node = await start(server_tokens="…")`."""
    async with AsyncExitStack() as stack:

        async def begin(**settings: str) -> Node:
            url = f"sqlite:///{tmp_path / 'placet.db'}"
            return await stack.enter_async_context(running(load_settings(database_url=url, **settings)))

        yield begin


@pytest.fixture
async def node(start: Start) -> Node:
    """A coordinator without tokens."""
    return await start()


@asynccontextmanager
async def door(name: str, node: Node) -> AsyncIterator[httpx2.AsyncClient]:
    """Opens one of the doors.

    `connection`: the fast lane inside uvicorn's own connection, as `placet server` has it. `asgi`: the same lane in
    front of FastAPI, which takes what the connection leaves, such as chunked requests. `fastapi`: the declared calls.
    """
    if name == "connection":
        async with served(node) as url, httpx2.AsyncClient(base_url=url) as client:
            yield client
        return
    app = node.app if name == "asgi" else node.app.fastapi
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url="http://127.0.0.1:8470") as client:
        yield client


@asynccontextmanager
async def served(node: Node) -> AsyncIterator[str]:
    lane = fast_lane(HotLane(node.app.lane).routes)
    config = uvicorn.Config(node.app, port=0, http=lane, lifespan="off", log_config=None, access_log=False)
    server = uvicorn.Server(config)
    config.load()
    server.lifespan = config.lifespan_class(config)
    await server.startup()
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        await server.shutdown()
