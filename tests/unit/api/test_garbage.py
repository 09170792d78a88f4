"""What a transaction leaves behind in memory: nothing that only the cycle collector could free."""

import asyncio
import gc

import pytest

from placet_coordinator.api.entrance import HotLane
from placet_coordinator.bootstrap import Node
from placet_rpc import HttpClient
from placet_rpc.frames import CODEC_HTTP
from placet_rpc.tcp import HttpCalls, TcpClient, TcpServer

from .conftest import served

TRANSACTIONS = 40
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"
JSON = (("content-type", "application/json"),)


class Participant(asyncio.Protocol):
    """Says yes to everything."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, _data: bytes) -> None:
        assert isinstance(self.transport, asyncio.Transport)
        self.transport.write(ANSWER)


@pytest.mark.parametrize("way", ["http", "tcp"])
async def test_a_transaction_leaves_nothing_to_the_cycle_collector(node: Node, way: str) -> None:
    """Cycles on the hot path cost an eighth of it once, in collections: a begun and committed TCC must make none."""
    loop = asyncio.get_running_loop()
    participant = await loop.create_server(Participant, "127.0.0.1", 0)
    server = TcpServer({CODEC_HTTP: HttpCalls(node.app, routes=HotLane(node.app.lane).routes)})
    await server.start("127.0.0.1", 0)
    target = f"http://127.0.0.1:{participant.sockets[0].getsockname()[1]}/x"
    async with served(node) as url, HttpClient() as http, TcpClient() as tcp:
        client = tcp if way == "tcp" else http
        base = f"tcp://127.0.0.1:{server.port}" if way == "tcp" else url

        async def run(name: str, count: int) -> None:
            begin = client.target(f"{base}/v1/transactions", headers=JSON)
            for number in range(count):
                gid = f"{name}-{number}"
                body = b'{"pattern":"tcc","gid":"%b","branches":[{"branch_id":"a","target":"%b"}]}'
                reply = await begin.call(body % (gid.encode(), target.encode()), timeout_ms=5_000)
                assert reply.status == 201
                commit = client.target(f"{base}/v1/transactions/{gid}/commit", headers=JSON)
                assert (await commit.call(b"{}", timeout_ms=5_000)).status == 200
            while node.driver.held:  # noqa: ASYNC110 - the end has no event of its own
                await asyncio.sleep(0.005)

        await run("warm", 5)
        gc.collect()
        gc.disable()
        try:
            await run("cold", TRANSACTIONS)
            left = gc.collect()
        finally:
            gc.enable()
    await server.aclose()
    participant.close()
    assert left < TRANSACTIONS
