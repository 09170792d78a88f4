"""HTTP requests over TCP: the same routes, the same answers, any number at a time."""

import asyncio

import httpx2
import pytest
from fastapi import FastAPI, Request, Response

from placet_rpc import HeaderTemplate, Reply, header_block
from placet_rpc.tcp import TcpLimits
from unit.rpc.conftest import until


def make_app() -> FastAPI:
    app = FastAPI()

    @app.post("/debit/{op}")
    async def debit(op: str, request: Request) -> Response:
        body = await request.json()
        if op == "fail":
            raise RuntimeError
        answer = {
            "op": op,
            "amount": body["amount"],
            "gid": request.headers["placet-gid"],
            "query": dict(request.query_params),
            "path": request.url.path,
        }
        return Response(str(answer), 409 if op == "try" else 200, {"Placet-Outcome": f"t/a/{op}"})

    return app


@pytest.mark.parametrize(
    "path", ["/debit/try?x=1&y=%20", "/debit/confirm", "/debit/c%C3%A4", "/nowhere", "/debit/fail"]
)
async def test_a_route_answers_over_tcp_as_over_http(path, serve_tcp, tcp_client):
    """Status, body and fields of a FastAPI route are what the same request gets by HTTP."""
    app = make_app()
    server = await serve_tcp(app=app, routes=None)
    fields = {"placet-gid": "t-1", "content-type": "application/json"}
    transport = httpx2.ASGITransport(app, raise_app_exceptions=False)
    async with httpx2.AsyncClient(transport=transport, base_url=f"http://127.0.0.1:{server.port}") as http:
        expected = await http.post(path, json={"amount": 3}, headers=fields)
    reply = await tcp_client.request("POST", server.url + path, headers=fields.items(), body=b'{"amount": 3}')
    assert reply.status == expected.status_code
    assert reply.body == expected.content
    assert reply.header("placet-outcome") == expected.headers.get("placet-outcome")
    assert reply.header("content-type") == expected.headers.get("content-type")


async def test_a_hot_handler_answers_without_the_application(hot, serve_tcp, tcp_client):
    """A hot handler sees method, target, fields and body, and its answer arrives whole."""
    seen = []

    def handler(request):
        seen.append((request.method, request.target, request.header(b"placet-gid"), request.headers, request.body))
        request.respond(201, b"{}", b"content-type: application/problem+json\r\nplacet-outcome: a/b\r\n")

    hot.handlers["/v1/transactions?wait_ms=3"] = handler
    server = await serve_tcp()
    fields = [("Placet-Gid", "t-1"), ("x-colon", "a: b")]
    reply = await tcp_client.request("POST", f"{server.url}/v1/transactions?wait_ms=3", headers=fields, body=b"[]")
    pairs = [(b"placet-gid", b"t-1"), (b"x-colon", b"a: b")]
    assert seen == [(b"POST", b"/v1/transactions?wait_ms=3", b"t-1", pairs, b"[]")]
    assert reply == Reply(201, {b"content-type": b"application/problem+json", b"placet-outcome": b"a/b"}, b"{}")


async def test_fields_of_target_and_call_arrive_in_order(hot, serve_tcp, tcp_client):
    """The target's constant fields and the template's come as one block."""
    seen = []
    hot.handlers["/"] = lambda request: (seen.append(request.headers), request.respond(200, b""))
    server = await serve_tcp()
    target = tcp_client.target(server.url, headers=[("authorization", "Bearer x")])
    await target.call(b"", HeaderTemplate("placet-gid", "placet-attempt").fill("t", 2), timeout_ms=1000)
    assert seen == [[(b"authorization", b"Bearer x"), (b"placet-gid", b"t"), (b"placet-attempt", b"2")]]


async def test_replies_come_in_any_order_on_one_connection(hot, serve_tcp, tcp_client):
    """A slow call delays none behind it, and each reply finds its own call."""
    held = hot.hold("/slow")
    server = await serve_tcp()
    slow = tcp_client.target(f"{server.url}/slow").call(b"first", timeout_ms=5000)
    echo = tcp_client.target(f"{server.url}/echo")
    replies = await asyncio.gather(*(echo.call(b"%d" % number, timeout_ms=5000) for number in range(500)))
    assert [reply.body for reply in replies] == [b"%d" % number for number in range(500)]
    assert not slow.done()
    held[0].respond(200, b"last")
    assert (await slow).body == b"last"
    assert tcp_client.counters.connections_opened == 1


@pytest.mark.parametrize("size", [0, 1, 65_536, 262_144, 262_145, 3_000_000, 8 * 1024 * 1024])
async def test_bodies_of_any_length_arrive_whole(size, serve_tcp, tcp_client):
    """Bodies up to the limit arrive as they were, in both directions, fragmented where they are long."""
    server = await serve_tcp()
    body = bytes(range(256)) * (size // 256 + 1)
    reply = await tcp_client.request("POST", f"{server.url}/echo", body=body[:size])
    assert reply.body == body[:size]


async def test_long_bodies_do_not_hold_up_short_ones(hot, serve_tcp, tcp_client):
    """While megabytes travel both ways, a short call is answered before them."""
    server = await serve_tcp()
    echo = tcp_client.target(f"{server.url}/echo")
    await echo.call(b"", timeout_ms=1000)
    order = []
    longs = [echo.call(b"x" * 8_000_000, timeout_ms=20_000) for _ in range(4)]
    short = echo.call(b"short", timeout_ms=20_000)
    for call in (*longs, short):
        call.add_done_callback(lambda call: order.append(len(call.result().body)))
    await asyncio.gather(*longs, short)
    assert order[0] == len(b"short")


async def test_more_calls_than_fit_wait_their_turn(hot, serve_tcp, make_tcp_client):
    """Calls beyond max_in_flight wait in the client, in order, and are all answered."""
    held = hot.hold("/held")
    server = await serve_tcp()
    client = make_tcp_client(limits=TcpLimits(max_in_flight=2))
    target = client.target(f"{server.url}/held")
    calls = [target.call(b"%d" % number, timeout_ms=5000) for number in range(6)]
    await until(lambda: len(held) == 2)
    for number in range(6):
        await until(lambda: len(held) > number)  # noqa: B023 - awaited within this turn
        assert client.in_flight <= 2
        held[number].respond(200, held[number].body)
    assert [(await call).body for call in calls] == [b"%d" % number for number in range(6)]


async def test_a_hot_handler_that_raises_is_a_500(hot, serve_tcp, tcp_client, caplog):
    """The fault is logged, the caller gets a bare 500, and the connection goes on."""

    def broken(_request):
        raise LookupError("cause")

    hot.handlers["/broken"] = broken
    server = await serve_tcp()
    assert (await tcp_client.request("POST", f"{server.url}/broken")).status == 500
    assert "cause" in caplog.text
    assert (await tcp_client.request("POST", f"{server.url}/echo", body=b"on")).body == b"on"
    assert tcp_client.counters.connections_opened == 1


async def test_a_target_is_refused_if_it_can_not_be_sent(tcp_client):
    """What can't be sent as it is raises before anything is sent."""
    for url in ("http://127.0.0.1:1/", "tcp://127.0.0.1/", "tcp://u@127.0.0.1:1/", "tcp://127.0.0.1:1/#f"):
        with pytest.raises(ValueError, match=r"is not|has user|has a frag"):
            tcp_client.target(url)
    with pytest.raises(ValueError, match="method"):
        tcp_client.target("tcp://127.0.0.1:1/", method="post")
    with pytest.raises(ValueError, match="control character"):
        header_block([("a", "b\r\nc: d")])
