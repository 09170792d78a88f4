"""Calls to the coordinator go over TCP once it has said where, and over HTTP whenever that way can't be gone."""

import asyncio
from typing import Any

import pytest

from placet.client import Client
from placet.errors import CoordinatorUnavailable
from placet.settings import Settings
from placet_contract.transactions import BeginRequest
from placet_contract.vocabulary import Pattern
from placet_rpc.frames import CODEC_HTTP
from placet_rpc.tcp import HttpCalls, TcpServer

from .conftest import Answer, transaction


class OverTcp:
    """An ASGI application that answers every call as the coordinator's begin, or never."""

    def __init__(self) -> None:
        self.gids: list[str] = []
        self.is_silent = False

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        body = (await receive())["body"]
        gid = body.decode().split('"gid":"')[1].split('"')[0]
        self.gids.append(gid)
        if self.is_silent:
            await asyncio.get_running_loop().create_future()
        await send({"type": "http.response.start", "status": 201, "headers": [(b"content-type", b"application/json")]})
        told = f'{{"gid":"{gid}","pattern":"tcc","status":"active","reason":null,"version":1,"node":"n1"}}'
        await send({"type": "http.response.body", "body": told.encode()})


@pytest.fixture
async def over_tcp(coordinator):
    """The coordinator's TCP side, which its `healthz` names."""
    app = OverTcp()
    server = TcpServer({CODEC_HTTP: HttpCalls(app)})
    await server.start()
    app.url = f"tcp://127.0.0.1:{server.port}"
    app.server = server
    coordinator.on("GET /healthz", Answer(200, {"status": "ok", "node": "n1", "version": "1", "tcp_url": app.url}))
    coordinator.on("/v1/transactions", lambda request: transaction(request, "active", 201))
    yield app
    await server.aclose()


def plan(gid: str) -> BeginRequest:
    return BeginRequest(pattern=Pattern.TCC, gid=gid)


async def begun_over_tcp(placet, over_tcp) -> None:
    """Begin until one goes over TCP: the way is looked up beside the first call, which does not wait for it."""
    number = 0
    while not over_tcp.gids:
        await placet.coordinator.begin(plan(f"w-{number}"))
        number += 1


async def test_calls_go_over_tcp_once_the_coordinator_has_named_it(placet, coordinator, over_tcp):
    """The first call goes over HTTP and waits for nothing; those after the look-up go over TCP."""
    await begun_over_tcp(placet, over_tcp)
    over_http = len(coordinator.sent("/v1/transactions"))
    assert over_http >= 1
    reply = await placet.coordinator.begin(plan("t-1"))
    assert reply.gid == "t-1"
    assert over_tcp.gids[-1] == "t-1"
    assert len(coordinator.sent("/v1/transactions")) == over_http


async def test_call_that_could_not_be_sent_over_tcp_goes_over_http(placet, coordinator, over_tcp):
    """When the TCP side is gone, nothing was sent, so the very same call goes over HTTP."""
    await begun_over_tcp(placet, over_tcp)
    await over_tcp.server.aclose()
    await placet.coordinator.begin(plan("t-1"))
    assert coordinator.sent("/v1/transactions")[-1].body["gid"] == "t-1"


async def test_call_without_an_answer_over_tcp_is_not_sent_again(placet, coordinator, over_tcp):
    """An answer that never came is unknown: the client itself repeats nothing."""
    await begun_over_tcp(placet, over_tcp)
    over_http = len(coordinator.sent("/v1/transactions"))
    over_tcp.is_silent = True
    with pytest.raises(CoordinatorUnavailable) as caught:
        await placet.coordinator.begin(plan("t-1"), timeout=0.2)
    assert caught.value.maybe_written
    assert over_tcp.gids.count("t-1") == 1
    assert len(coordinator.sent("/v1/transactions")) == over_http


async def test_tcp_is_never_used_where_the_settings_say_http(coordinator, over_tcp):
    """`PLACET_TRANSPORT=http` asks for no other way."""
    async with Client(settings=Settings(url=coordinator.url, transport="http")) as placet:
        for number in range(5):
            await placet.coordinator.begin(plan(f"t-{number}"))
    assert over_tcp.gids == []
    assert coordinator.sent("/healthz") == []
