"""A server that goes: warned callers leave, calls under way end, nothing fails that need not."""

import asyncio
from datetime import timedelta

import pytest

from placet_rpc import CallRefused, ConnectFailed, RpcError, Safety
from placet_rpc.frames import CODEC_HTTP
from placet_rpc.tcp import HttpCalls, TcpServer, TcpServerLimits
from unit.rpc.conftest import until
from unit.rpc.tcp.conftest import AT_ONCE, SOON


async def test_the_drain_keeps_its_order(hot, serve_tcp, tcp_client):
    """Warned, clients may still call; then new calls are not run, and those under way are answered to the last."""
    held = hot.hold("/held")
    server = await serve_tcp()
    target = tcp_client.target(f"{server.url}/held")
    echo = tcp_client.target(f"{server.url}/echo")
    under_way = target.call(b"", timeout_ms=5000)
    await until(lambda: held)
    closing = asyncio.ensure_future(server.aclose(linger=timedelta(milliseconds=200), grace=SOON))
    await until(lambda: not target.link.is_available)
    assert (await echo.call(b"still", timeout_ms=5000)).body == b"still"
    await until(lambda: not any(connection.is_taking for connection in server.connections))
    with pytest.raises((CallRefused, ConnectFailed)) as refused:
        await echo.call(b"", timeout_ms=5000)
    assert refused.value.safety.repeatable
    assert not closing.done()
    held[0].respond(200, b"done")
    assert (await under_way).body == b"done"
    await closing
    assert server.counters.connections_open == len(server.connections) == 0


async def test_a_request_that_crosses_the_last_goaway_is_not_executed(hot, serve_tcp, tcp_client):
    """What the client wrote before it read GOAWAY is refused by its id, never run, never left waiting."""
    held = hot.hold("/held")
    server = await serve_tcp()
    await tcp_client.request("POST", f"{server.url}/echo")
    connection = next(iter(server.connections))
    kept = tcp_client.target(f"{server.url}/held").call(b"", timeout_ms=5000)
    await until(lambda: held)
    crossing = tcp_client.target(f"{server.url}/held").call(b"", timeout_ms=5000)
    connection.stop_taking(0)
    with pytest.raises(CallRefused) as refused:
        await crossing
    assert (refused.value.safety, refused.value.reason) == (Safety.NOT_EXECUTED, "draining")
    held[0].respond(200, b"kept")
    assert (await kept).body == b"kept"
    assert len(held) == 1


async def test_an_old_connection_is_replaced_without_a_failure(hot, serve_tcp, tcp_client):
    """At max_age calls move to a new connection while those under way end on the old one."""
    held = hot.hold("/held")
    limits = TcpServerLimits(max_age=timedelta(milliseconds=100), age_grace=timedelta(milliseconds=100))
    server = await serve_tcp(limits=limits)
    target = tcp_client.target(f"{server.url}/held")
    old = target.call(b"", timeout_ms=20_000)
    echo = tcp_client.target(f"{server.url}/echo")
    while tcp_client.counters.connections_opened < 3:
        assert (await echo.call(b"x", timeout_ms=5000)).body == b"x"
        await asyncio.sleep(0.005)
    held[0].respond(200, b"old")
    assert (await old).body == b"old"


async def test_a_rolling_restart_under_load_fails_no_call(tcp_client):  # noqa: C901 - one scenario, told in order
    """Three servers go and come in turn under load; with repeats of what did not run, every call is answered once."""
    ran = []

    def answer(request):
        ran.append(request.body)
        request.respond(200, request.body)

    async def start(port=0):
        server = TcpServer({CODEC_HTTP: HttpCalls(routes=lambda _method, _target: answer)})
        await server.start("127.0.0.1", port)
        return server

    servers = [await start() for _ in range(3)]
    targets = [tcp_client.target(f"tcp://127.0.0.1:{server.port}/echo") for server in servers]
    stop, failed, made = asyncio.Event(), [], []

    async def caller(first):
        turn, number = first, 0
        while not stop.is_set():
            number += 1
            body = b"%d-%d" % (first, number)
            made.append(body)
            for _ in range(20):
                await until(lambda: any(target.link.is_available for target in targets))
                turn += 1
                while not targets[turn % 3].link.is_available:
                    turn += 1
                target = targets[turn % 3]
                try:
                    reply = await target.call(body, timeout_ms=5000)
                    assert reply.body == body
                    break
                except RpcError as error:
                    if not error.safety.repeatable:
                        failed.append(error)
                        break
            else:
                failed.append(body)

    callers = [asyncio.ensure_future(caller(number)) for number in range(16)]
    for index in range(3):
        before = len(made)
        await until(lambda: len(made) > before + 200)  # noqa: B023 - awaited within this turn
        port = servers[index].port
        await servers[index].aclose(linger=timedelta(milliseconds=30), grace=SOON)
        servers[index] = await start(port)
    before = len(made)
    await until(lambda: len(made) > before + 200)
    stop.set()
    await asyncio.gather(*callers)
    assert failed == []
    assert sorted(ran) == sorted(made)
    for server in servers:
        await server.aclose(linger=AT_ONCE, grace=SOON)
