"""What a server tells of itself, to whom, over each transport."""

import asyncio

import pytest
import uvicorn
from fastapi import FastAPI

from placet_rpc.asgi import asgi_app
from placet_rpc.client import Client
from placet_rpc.errors import CallRefused, CallTimeout
from placet_rpc.fastapi_router import service_router
from placet_rpc.governance.access import Access, AccessList, AccessRule
from placet_rpc.governance.call_graph import Edge
from placet_rpc.governance.counting import CallStatistics
from placet_rpc.governance.introspection import Introspection
from placet_rpc.governance.statistics import Statistics
from placet_rpc.inproc import InprocRoute
from placet_rpc.server import Server
from unit.rpc.governance.echo import Echo, EchoHere, Filtered, Refused


def echo_server(**options):
    server = Server(app="echo-app", instance_id="echo-1", **options)
    server.expose(Echo)(EchoHere())
    return server


async def say(client, times=3):
    echo = client.reference(Echo)
    for _ in range(times):
        await echo.say("x")
    with pytest.raises(Refused):
        await echo.refuse()


@pytest.fixture
async def http_url():
    """Serves an application."""
    servers = []

    async def serve(app):
        server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, lifespan="off", log_config=None))
        servers.append((server, asyncio.ensure_future(server.serve())))
        while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
            await asyncio.sleep(0.001)
        return f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/rpc"

    yield serve
    for server, serving in servers:
        server.should_exit = True
        await serving


@pytest.mark.parametrize("transport", ["tcp", "inproc"])
async def test_a_server_tells_its_own_machine_what_it_offers_and_counts(transport):
    """Services, statistics and the graph are there without a line of set-up."""
    server = echo_server(tcp="127.0.0.1:0")
    async with server, Client(server.endpoint if transport == "tcp" else server, app="order") as client:
        await say(client)
        introspection = client.reference(Introspection)
        described = await introspection.services()
        assert (described.app, described.instance_id) == ("echo-app", "echo-1")
        assert [one.key for one in described.services] == ["echo/1", "placet.introspection/1"]
        assert [(one.name, one.parameters) for one in described.services[0].methods] == [
            *(("say", ("text",)), ("who", ()), ("refuse", ())),
        ]
        rows = {(row.service, row.method): row for row in await introspection.stats()}
        said, refused = rows["echo/1", "say"], rows["echo/1", "refuse"]
        assert (said.caller, said.instance, said.calls, said.failed) == ("order", "echo-1", 3, 0)
        assert said.latency.p50 is not None
        assert (refused.errors, refused.failed) == ({"raised": 1}, 0)
        assert rows["placet.introspection/1", "stats"].in_flight == 1
        assert await introspection.graph() == [
            Edge(caller="order", callee="echo-app", service="echo/1", calls=4, failed=0)
        ]


@pytest.mark.parametrize("kind", ["asgi", "fastapi"])
async def test_over_http_a_rule_has_to_allow_it(http_url, kind):
    """A proxy may stand before HTTP, so where a request seems to come from opens nothing."""
    for rules, allowed in (((), False), ((AccessRule("placet.introspection/*", ("*",)),), True)):
        server = echo_server(filters=[Access(AccessList(rules))] if rules else [])
        app = FastAPI()
        if kind == "asgi":
            app.mount("/rpc", asgi_app(server))
        else:
            app.include_router(service_router(server), prefix="/rpc")
            assert not [path for path in app.openapi()["paths"] if "introspection" in path]
        async with Client(await http_url(app), app="order") as client:
            await say(client)
            if allowed:
                assert (await client.reference(Introspection).services()).app == "echo-app"
                continue
            with pytest.raises(CallRefused, match="not for a caller without proof"):
                await client.reference(Introspection).services()


async def test_an_access_list_that_forgets_introspection_keeps_it_for_the_machine():
    """A server with rules of its own is as careful as one without."""
    server = echo_server(tcp="127.0.0.1:0", filters=[Access(AccessList([AccessRule("echo/*", ("*",))]))])
    async with server, Client(server.endpoint) as client:
        assert (await client.reference(Introspection).services()).app == "echo-app"


async def test_a_call_that_its_caller_gave_up_is_neither_lost_nor_held_against_the_service():
    """A cancelled call ends its count in flight, and availability stays as it was."""

    class Stalled(EchoHere):
        async def say(self, text):
            began.set()
            await asyncio.Event().wait()

    began = asyncio.Event()
    server = Server(instance_id="i")
    server.expose(Echo)(Stalled())
    call = asyncio.ensure_future(Client(server, app="order").reference(Echo).say("x"))
    await began.wait()
    assert server.statistics.row("order", "echo/1", "say", "i").in_flight == 1
    call.cancel()
    await asyncio.wait((call,))
    await asyncio.sleep(0)
    state = server.statistics.row("order", "echo/1", "say", "i").state()
    assert (state.in_flight, state.failed, state.errors) == (0, 0, {"cancelled": 1})


async def test_a_client_counts_its_calls_by_outcome():
    """Results, exceptions of the contract and failures are told apart."""
    server = echo_server()
    statistics = Statistics()
    client = Client(Filtered(InprocRoute(server), CallStatistics(statistics)), app="order")
    await say(client)
    call = Filtered(InprocRoute(server), CallStatistics(statistics), _OutOfTime())
    with pytest.raises(CallTimeout):
        await Client(call, app="order").reference(Echo).say("x")
    rows = {row.method: row for row in statistics.states()}
    assert (rows["say"].calls, rows["say"].failed, rows["say"].errors) == (4, 1, {"timeout": 1})
    assert (rows["refuse"].failed, rows["refuse"].errors) == (0, {"raised": 1})


class _OutOfTime:
    async def invoke(self, call, proceed):
        call.timeout_ms = 0
        return await proceed(call)
