"""Every way a TCP call can fail, caused for real: one typed error, and the truth about the other side."""

import asyncio
from datetime import timedelta

import pytest

from placet_rpc import (
    CallCancelled,
    CallRefused,
    CallTimeout,
    ClientClosed,
    ConnectFailed,
    ConnectionLost,
    LimitReached,
    ReplyTooLarge,
    Safety,
    TargetRefused,
)
from placet_rpc.frames import Channel, Hello, Kind
from placet_rpc.frames.call import HttpCallTemplate
from placet_rpc.tcp import TcpClient, TcpLimits, TcpServerLimits
from unit.rpc.conftest import until
from unit.rpc.tcp.conftest import AT_ONCE

FAST = TcpLimits(
    ping_interval=timedelta(milliseconds=40),
    connect_timeout=timedelta(milliseconds=300),
    reconnect_first=timedelta(milliseconds=40),
)


async def free_port() -> int:
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    return port


async def test_nobody_listens_is_not_sent_and_backs_off(serve_tcp, make_tcp_client):
    """Calls fail at once, also without a connect while backing off, and reach the server once it is there."""
    client = make_tcp_client(limits=FAST)
    port = await free_port()
    target = client.target(f"tcp://127.0.0.1:{port}/echo")
    calls = [target.call(b"", timeout_ms=5000) for _ in range(3)]
    for call in calls:
        with pytest.raises(ConnectFailed) as failed:
            await call
        assert failed.value.safety is Safety.NOT_SENT
    with pytest.raises(ConnectFailed, match=r"next connect is tried in \d+ ms; the last one failed: Connection"):
        await target.call(b"", timeout_ms=5000)
    assert not target.link.is_available
    await serve_tcp(port=port)
    await until(lambda: target.link.is_available)
    assert (await target.call(b"x", timeout_ms=5000)).body == b"x"


async def test_an_endpoint_that_does_not_greet_is_soon_not_available(serve, make_tcp_client):
    """One call may wait for it; whoever asks goes elsewhere, long before the connect has failed."""

    async def say_nothing(peer):
        await peer.gone()

    server = await serve(say_nothing)
    client = make_tcp_client()
    target = client.target(f"tcp://127.0.0.1:{server.port}/echo")
    call = target.call(b"", timeout_ms=20_000)
    assert target.link.is_available
    await until(lambda: not target.link.is_available)
    assert not call.done()
    call.cancel()


async def test_a_connection_lost_during_a_call_is_unknown(hot, serve_tcp, tcp_client):
    """A server that dies with the request may have run it; the next call opens a new connection."""
    held = hot.hold("/held")
    server = await serve_tcp()
    call = tcp_client.target(f"{server.url}/held").call(b"", timeout_ms=5000)
    await until(lambda: held)
    for connection in server.connections:
        connection.transport.abort()
    with pytest.raises(ConnectionLost) as lost:
        await call
    assert lost.value.safety is Safety.UNKNOWN
    assert (await tcp_client.request("POST", f"{server.url}/echo", body=b"x")).body == b"x"


@pytest.mark.parametrize("how", ["timeout", "cancel"])
async def test_the_server_hears_that_nobody_waits(how, hot, serve_tcp, tcp_client):
    """A call past its time or given up is cancelled at the server; its late reply is dropped and counted."""
    held = hot.hold("/held")
    server = await serve_tcp()
    call = tcp_client.target(f"{server.url}/held").call(b"", timeout_ms=60 if how == "timeout" else 5000)
    await until(lambda: held)
    if how == "cancel":
        call.cancel()
    await until(lambda: held[0].disconnected)
    if how == "timeout":
        with pytest.raises(CallTimeout) as timeout:
            await call
        assert timeout.value.safety is Safety.UNKNOWN
    held[0].respond(200, b"late")
    await until(lambda: tcp_client.counters.late_replies == 1)
    assert (await tcp_client.request("POST", f"{server.url}/echo", body=b"x")).body == b"x"


async def test_an_application_hears_of_a_cancelled_call_as_a_disconnect(serve_tcp, tcp_client):
    """An ASGI application gets http.disconnect, as over HTTP, and may go on."""
    heard, ended = asyncio.Event(), asyncio.Event()

    async def app(_scope, receive, _send):
        while (await receive())["type"] != "http.disconnect":
            pass
        heard.set()
        await asyncio.sleep(0)
        ended.set()

    server = await serve_tcp(app=app, routes=None)
    call = tcp_client.target(server.url).call(b"", timeout_ms=5000)
    await until(lambda: server.counters.in_flight)
    call.cancel()
    await heard.wait()
    await ended.wait()


async def test_an_oversize_request_is_not_sent(serve_tcp, tcp_client):
    """The server announces what it takes; a longer request fails here, whether or not there is a connection yet."""
    server = await serve_tcp(limits=TcpServerLimits(max_message_bytes=1000))
    for _ in range(2):
        with pytest.raises(LimitReached, match="max_message_bytes") as reached:
            await tcp_client.request("POST", f"{server.url}/echo", body=b"x" * 1001)
        assert reached.value.safety is Safety.NOT_SENT
    assert (await tcp_client.request("POST", f"{server.url}/echo", body=b"x" * 1000)).status == 200


async def test_too_many_header_bytes_are_not_sent(serve_tcp, tcp_client):
    """The map of a request has a limit of its own."""
    server = await serve_tcp()
    for size in (17_000, 70_000):
        with pytest.raises(LimitReached, match="header_bytes") as reached:
            await tcp_client.request("POST", server.url, headers=[("x-long", "y" * size)])
        assert reached.value.safety is Safety.NOT_SENT


@pytest.mark.parametrize("side", ["server", "client"])
async def test_an_oversize_reply_is_a_typed_error_at_once(side, hot, serve_tcp, make_tcp_client):
    """A reply over either side's limit fails its own call as EXECUTED, without waiting, and no other."""
    hot.handlers["/long"] = lambda request: request.respond(200, b"x" * 2000)
    server = await serve_tcp(limits=TcpServerLimits(max_message_bytes=1000) if side == "server" else None)
    client = make_tcp_client(limits=TcpLimits(max_message_bytes=1000) if side == "client" else None)
    long = client.target(f"{server.url}/long").call(b"", timeout_ms=60_000)
    short = client.target(f"{server.url}/echo").call(b"x", timeout_ms=60_000)
    with pytest.raises(ReplyTooLarge) as large:
        await long
    assert large.value.safety is Safety.EXECUTED
    assert (await short).body == b"x"
    assert client.counters.connections_opened == 1


async def test_a_reply_with_too_many_fields_is_a_typed_error(hot, serve_tcp, tcp_client):
    """The map of a reply has a limit too."""
    fields = b"x-long: %b\r\n" % (b"y" * 17_000)
    hot.handlers["/fields"] = lambda request: request.respond(200, b"", fields)
    server = await serve_tcp()
    with pytest.raises(ReplyTooLarge):
        await tcp_client.request("POST", f"{server.url}/fields")


async def test_an_overloaded_server_refuses_with_a_push_back(hot, serve_tcp, tcp_client):
    """Beyond max_in_flight_total requests are refused undecoded: NOT_EXECUTED, and when to come again."""
    held = hot.hold("/held")
    server = await serve_tcp(limits=TcpServerLimits(max_in_flight_total=1, push_back=timedelta(milliseconds=123)))
    target = tcp_client.target(f"{server.url}/held")
    first = target.call(b"", timeout_ms=5000)
    with pytest.raises(CallRefused) as refused:
        await target.call(b"", timeout_ms=5000)
    assert (refused.value.safety, refused.value.reason) == (Safety.NOT_EXECUTED, "overloaded")
    assert refused.value.push_back_ms == 123
    held[0].respond(200, b"")
    assert (await first).status == 200
    assert server.counters.refused == {"overloaded": 1}


async def test_waiting_calls_are_bounded_in_number_and_time(hot, serve_tcp, make_tcp_client):
    """Who waits for room beyond its time, or beyond max_waiting_calls, fails as NOT_SENT."""
    held = hot.hold("/held")
    server = await serve_tcp()
    client = make_tcp_client(limits=TcpLimits(max_in_flight=1, max_waiting_calls=1))
    target = client.target(f"{server.url}/held")
    first = target.call(b"", timeout_ms=5000)
    await until(lambda: held)
    second = target.call(b"", timeout_ms=50)
    with pytest.raises(LimitReached) as reached:
        await target.call(b"", timeout_ms=5000)
    assert (reached.value.safety, reached.value.limit) == (Safety.NOT_SENT, "max_waiting_calls")
    with pytest.raises(CallTimeout) as timeout:
        await second
    assert timeout.value.safety is Safety.NOT_SENT
    with pytest.raises(CallTimeout):
        await target.call(b"", timeout_ms=0)
    held[0].respond(200, b"")
    await first
    assert len(held) == 1


async def test_a_silent_server_is_found_dead(serve_tcp, make_tcp_client):
    """A peer that accepts, greets and then says nothing is given up after three ping intervals."""
    pings = []

    async def greet_only(reader, writer):
        channel = Channel(Hello())
        channel.open()
        writer.write(channel.take())
        while data := await reader.read(1000):
            pings.append(data)
        writer.close()

    server = await asyncio.start_server(greet_only, "127.0.0.1", 0)
    client = make_tcp_client(limits=FAST)
    with pytest.raises(ConnectionLost, match="no sign of life"):
        await client.request("POST", f"tcp://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    assert any(Kind.PING in (data[3], data[-17]) for data in pings)
    server.close()


async def test_pings_keep_an_idle_connection(serve_tcp, make_tcp_client):
    """A connection without calls is asked for signs of life, gets them, and stays on both sides."""
    server = await serve_tcp()
    client = make_tcp_client(limits=FAST)
    await client.request("POST", server.url)
    connection = next(iter(server.connections))
    last = connection.read_at
    for _ in range(5):  # well beyond the three intervals after which either side would give up
        await until(lambda: connection.read_at > last)  # noqa: B023 - awaited within this turn
        last = connection.read_at
    await client.request("POST", server.url)
    assert client.counters.connections_opened == 1


@pytest.mark.parametrize("says", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"close"])
async def test_something_else_at_the_port_is_a_failed_connect(says, make_tcp_client):
    """A peer that does not greet, or not in this protocol, fails calls as NOT_SENT within connect_timeout."""

    async def answer(reader, writer):
        if says != b"close":
            writer.write(says)
            await reader.read()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    client = make_tcp_client(limits=FAST)
    with pytest.raises(ConnectFailed) as failed:
        await client.request("POST", f"tcp://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    assert failed.value.safety is Safety.NOT_SENT
    server.close()


async def test_a_client_that_says_nothing_is_closed(serve_tcp):
    """Whoever has not said HELLO within hello_timeout loses its connection."""
    server = await serve_tcp(limits=TcpServerLimits(hello_timeout=timedelta(milliseconds=50)))
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
        await reader.readexactly(1)
    writer.close()


async def test_noise_is_cut_off(serve_tcp):
    """A peer that speaks another protocol is closed without an answer."""
    server = await serve_tcp()
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n")
    with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
        await reader.readexactly(1)
    writer.close()


async def test_a_client_may_be_refused_in_words(serve_tcp, make_tcp_client):
    """The server looks at HELLO's token; a refused client learns why, as NOT_SENT."""
    server = await serve_tcp(admit=lambda hello, _uris: "" if hello.token == "right" else "wrong token")
    with pytest.raises(ConnectFailed, match="wrong token"):
        await make_tcp_client(token="wrong").request("POST", server.url)
    assert (await make_tcp_client(token="right").request("POST", server.url)).status == 200
    assert "right" not in repr(Hello(token="right"))


async def test_connections_are_bounded(serve_tcp, make_tcp_client):
    """Beyond max_connections a client is told so."""
    server = await serve_tcp(limits=TcpServerLimits(max_connections=1))
    first = make_tcp_client()
    await first.request("POST", server.url)
    with pytest.raises(ConnectFailed, match="max_connections"):
        await make_tcp_client().request("POST", server.url)
    assert (await first.request("POST", server.url)).status == 200


async def test_a_client_that_reads_nothing_can_not_fill_the_server(hot, serve_tcp):
    """The server stops reading requests of a client that leaves megabytes of replies unread."""
    hot.handlers["/long"] = lambda request: request.respond(200, b"x" * 1_000_000)
    server = await serve_tcp()
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port, limit=1024)
    channel = Channel(Hello())
    channel.open()
    template = HttpCallTemplate("POST", "/long", b"")
    writer.write(channel.take())
    await reader.readexactly(20)  # the server's HELLO: there is a connection now
    connection = next(iter(server.connections))
    for number in range(1, 1000):
        channel.send(Kind.REQUEST, number, 0, 1, template.fill(b""), b"x" * 1000)
        writer.write(channel.take())
        await asyncio.sleep(0)
    await until(lambda: connection.reading_paused)
    assert server.counters.requests < 500
    assert connection.transport.get_write_buffer_size() < 4 * 1024 * 1024
    writer.transport.abort()
    await until(lambda: not server.connections)


async def test_a_server_with_enough_to_do_reads_no_more_and_its_client_keeps_the_rest(hot, serve_tcp, make_tcp_client):
    """Bodies of unanswered requests are bounded; beyond it the client's calls wait, and go when answers come."""
    held = hot.hold("/held")
    server = await serve_tcp(limits=TcpServerLimits(max_unanswered_bytes=1_000_000))
    client = make_tcp_client(limits=TcpLimits(max_waiting_calls=10_000))
    target = client.target(f"{server.url}/held")
    await client.request("POST", f"{server.url}/echo")
    body = b"x" * 200_000
    calls = []
    while not target.link.waiting:  # until the socket's buffers and the client's own are full
        calls.append(target.call(body, timeout_ms=60_000))
        await asyncio.sleep(0)
    assert next(iter(server.connections)).reading_paused
    assert len(held) * len(body) < 4_000_000
    with pytest.raises(CallTimeout) as late:
        await target.call(body, timeout_ms=50)
    assert late.value.safety is Safety.NOT_SENT
    answered = 0
    while answered < len(calls):
        await until(lambda: len(held) > answered)  # noqa: B023 - awaited within this turn
        held[answered].respond(200, b"")
        answered += 1
    assert [(await call).status for call in calls] == [200] * len(calls)


async def test_closing_the_client_ends_its_calls(hot, serve_tcp):
    """Calls under way get their time; then they end as UNKNOWN, and what waits as NOT_SENT."""
    held = hot.hold("/held")
    server = await serve_tcp()
    client = TcpClient(limits=TcpLimits(max_in_flight=2))
    target = client.target(f"{server.url}/held")
    first, second, third = (target.call(b"", timeout_ms=5000) for _ in range(3))
    await until(lambda: len(held) == 2)
    asyncio.get_running_loop().call_later(0.02, held[0].respond, 200, b"")
    await client.aclose(timedelta(milliseconds=100))
    assert (await first).status == 200
    for call, safety in ((second, Safety.UNKNOWN), (third, Safety.NOT_SENT)):
        with pytest.raises(ClientClosed) as closed:
            await call
        assert closed.value.safety is safety
    with pytest.raises(ClientClosed):
        await client.request("POST", server.url)
    assert client.counters.connections_open == 0


async def test_a_server_that_must_go_cancels_what_is_left(hot, serve_tcp, tcp_client):
    """After the grace what is still running is answered as UNKNOWN."""
    held = hot.hold("/held")
    server = await serve_tcp()
    call = tcp_client.target(f"{server.url}/held").call(b"", timeout_ms=5000)
    await until(lambda: held)
    await server.aclose(linger=AT_ONCE, grace=timedelta(milliseconds=20))
    with pytest.raises(CallCancelled) as cancelled:
        await call
    assert cancelled.value.safety is Safety.UNKNOWN


async def test_plain_text_stays_on_this_machine(serve_tcp, tcp_client, make_tcp_client):
    """Without TLS neither side leaves loopback, unless told to."""
    with pytest.raises(TargetRefused):
        await tcp_client.request("POST", "tcp://192.0.2.1:1/")
    with pytest.raises(TargetRefused):  # while no other connect is tried, too
        await tcp_client.link("tcp://192.0.2.1:1").meet(1_000)
    server = await serve_tcp()
    with pytest.raises(ValueError, match="not a loopback address"):
        await server.start("0.0.0.0")
    bold = make_tcp_client(plain_text_beyond_loopback=True, limits=FAST)
    with pytest.raises(ConnectFailed) as failed:
        await bold.request("POST", "tcp://192.0.2.1:1/")
    assert not isinstance(failed.value, TargetRefused)


async def test_an_idle_connection_is_closed(serve_tcp, make_tcp_client):
    """Without calls for idle_timeout the connection goes; the next call opens another."""
    server = await serve_tcp()
    limits = TcpLimits(idle_timeout=timedelta(milliseconds=30), ping_interval=timedelta(milliseconds=20))
    client = make_tcp_client(limits=limits)
    await client.request("POST", server.url)
    await until(lambda: client.counters.connections_open == 0)
    assert (await client.request("POST", server.url)).status == 200
