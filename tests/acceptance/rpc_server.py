"""A server of the built-in RPC as a process: `stock/1` over TCP and HTTP, called once by CALLER.

python -m acceptance.rpc_server APP CALLER REGISTRY SECRET

REGISTRY and SECRET may be empty. It prints where it listens, as JSON, and serves until it is asked to stop.
"""

import asyncio
import json
import signal
import sys
from datetime import timedelta
from typing import Protocol

import uvicorn

from placet_contract.service import method, service
from placet_rpc.asgi import asgi_app
from placet_rpc.client import Client
from placet_rpc.governance.authentication import Authentication, TokenProver
from placet_rpc.governance.tokens import TokenVerifier
from placet_rpc.server import Server


class OutOfStock(Exception):
    """Part of the contract."""


@service("stock", raises=(OutOfStock,))
class Stock(Protocol):
    """A service to be called by hand."""

    @method(idempotent=True)
    async def peek(self, sku: str) -> int: ...

    async def reserve(self, sku: str, count: int = 1) -> dict[str, int]: ...

    async def stall(self) -> None: ...

    async def fail(self) -> None: ...


class StockHere:
    """The implementation."""

    async def peek(self, sku: str) -> int:
        return len(sku)

    async def reserve(self, sku: str, count: int = 1) -> dict[str, int]:
        if count > 10:
            raise OutOfStock(sku, 10)
        return {sku: count}

    async def stall(self) -> None:
        await asyncio.sleep(60)

    async def fail(self) -> None:
        raise RuntimeError("a fault")


async def serve(app, caller, registry, secret):
    """Serves until SIGTERM."""
    filters = [Authentication([TokenProver(TokenVerifier({"k1": secret}))])] if secret else []
    server = Server(tcp="127.0.0.1:0", app=app, instance_id=f"{app}-1", registry=registry or None, filters=filters)
    server.expose(Stock)(StockHere())
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with server:
        http = uvicorn.Server(
            uvicorn.Config(asgi_app(server), host="127.0.0.1", port=0, lifespan="off", log_config=None)
        )
        serving = asyncio.ensure_future(http._serve())  # `serve` would take the signals
        while not http.started:  # noqa: ASYNC110 - uvicorn has no event for it
            await asyncio.sleep(0.005)
        if not secret:
            async with Client(server.endpoint, app=caller, timeout=timedelta(seconds=5)) as client:
                await client.reference(Stock).peek("A1")
        port = http.servers[0].sockets[0].getsockname()[1]
        sys.stdout.write(json.dumps({"tcp": server.endpoint, "http": f"http://127.0.0.1:{port}"}) + "\n")
        sys.stdout.flush()
        await stop.wait()
        http.should_exit = True
        await serving


if __name__ == "__main__":
    asyncio.run(serve(*sys.argv[1:]))
