"""Bad replies and cut connections, caused for real: each ends as one error that says whether the call may have run."""

import asyncio
import socket
import struct
from datetime import timedelta

import pytest

from placet_rpc import (
    CallTimeout,
    ConnectFailed,
    ConnectionLost,
    HttpLimits,
    ProtocolViolation,
    ReplyTooLarge,
    RpcError,
    Safety,
)
from unit.rpc.conftest import reply, until

HEAD = b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"


async def failure(client, url, **options) -> RpcError:
    """Makes a call that must fail."""
    with pytest.raises(RpcError) as caught:
        await client.request("POST", url, **options)
    return caught.value


async def cut_after(serve, data: bytes):
    """A server that answers with `data` and then closes."""

    async def script(peer):
        server.requests.append(await peer.request())
        await peer.send(data)

    server = await serve(script)
    return server


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nconte",
        HEAD,
        HEAD + b"half",
        CHUNKED + b"4\r\nhalf\r\n",
        CHUNKED + b"4\r\nhalf\r\n0\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n",
    ],
)
async def test_a_reply_cut_anywhere_is_lost_and_unknown(data, serve, client):
    """A connection closed before the reply is whole says nothing about the effect, so the class is UNKNOWN."""
    server = await cut_after(serve, data)
    error = await failure(client, server.url)
    assert (type(error), error.safety) == (ConnectionLost, Safety.UNKNOWN)
    assert (error.endpoint, len(server.requests)) == (server.url, 1)


async def test_a_reset_during_a_body_that_the_close_delimits_is_lost(serve, client):
    """Only a clean end can end such a body; after a reset it may be short."""
    written = asyncio.Event()

    async def script(peer):
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\n\r\nhal")
        await written.wait()
        linger = struct.pack("ii", 1, 0)  # no lingering: the close is a reset
        peer.writer.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        peer.writer.transport.abort()

    server = await serve(script)
    call = asyncio.create_task(client.request("POST", server.url))
    written.set()
    with pytest.raises(ConnectionLost):
        await call


@pytest.mark.parametrize(
    "garbage",
    [
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"HTTP/1.1 abc OK\r\n\r\n",
        b"HTTP/1.1 99 Low\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/2 200 OK\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nbad name: 1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nx: a\0b\r\ncontent-length: 0\r\n\r\n",
        CHUNKED + b"zz\r\n",
        CHUNKED + b"2\r\nabc\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n\x81\x00",
    ],
)
async def test_what_is_no_reply_is_a_violation_and_closes_the_connection(garbage, serve, client):
    """Garbage is never a reply; the request was sent, so UNKNOWN; the connection is not trusted again."""

    async def script(peer):
        await peer.request()
        await peer.send(garbage)
        await peer.gone()

    server = await serve(script)
    for _ in range(2):
        error = await failure(client, server.url)
        assert (type(error), error.safety) == (ProtocolViolation, Safety.UNKNOWN)
    assert server.connections == 2


@pytest.mark.parametrize(
    ("data", "limit"),
    [
        (b"HTTP/1.1 200 OK\r\ncontent-length: 1025\r\n\r\n" + b"x" * 1025, "max_reply_bytes"),
        (b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 1025, "max_reply_bytes"),
        (CHUNKED + b"400\r\n" + b"x" * 1024 + b"\r\n1\r\nx\r\n", "max_reply_bytes"),
        (CHUNKED + b"0\r\n" + b"x-trailer: yyyyyyyyy\r\n" * 400, "max_reply_bytes"),
        (b"HTTP/1.1 200 OK\r\n" + b"x-field: yyyyyyyyyyy\r\n" * 100, "max_head_bytes"),
        (b"HTTP/1.1 200 " + b"x" * 2_000, "max_head_bytes"),
        (b"HTTP/1.1 103 Early\r\n\r\n" * 100, "max_head_bytes"),
    ],
)
async def test_a_reply_over_a_limit_is_refused_and_unknown(data, limit, serve, make_client):
    """Each part of a reply has its limit; one that passes it is cut off and its effect is unknown."""
    client = make_client(limits=HttpLimits(max_reply_bytes=1_024, max_head_bytes=1_500))

    async def script(peer):
        await peer.request()
        await peer.send(data)
        await peer.gone()

    server = await serve(script)
    error = await failure(client, server.url)
    assert (type(error), error.safety, error.limit) == (ReplyTooLarge, Safety.UNKNOWN, limit)


async def test_an_endless_reply_is_cut_off_at_the_limit(serve, make_client):
    """A peer that never stops sending is left as soon as the limit is passed, not when it stops or time is up."""
    client = make_client(limits=HttpLimits(max_reply_bytes=100_000))
    sent = 0

    async def script(peer):
        nonlocal sent
        await peer.request()
        await peer.send(CHUNKED)
        while True:
            await peer.send(b"1000\r\n" + b"x" * 4096 + b"\r\n")
            sent += 4096

    server = await serve(script)
    error = await failure(client, server.url)
    assert isinstance(error, ReplyTooLarge)
    await asyncio.sleep(0)  # let the script see the close
    assert sent < 20_000_000  # what socket buffers hold, and no more


async def test_a_slow_drip_ends_at_the_deadline(serve, make_client):
    """A byte now and then does not extend the call: the deadline is of the whole call."""
    client = make_client()

    async def script(peer):
        await peer.request()
        await peer.send(HEAD)
        while True:
            await peer.send(b"x")
            await asyncio.sleep(0.09)  # the pace of the drip

    server = await serve(script)
    target = client.target(server.url)
    await failure(client, server.url + "/warm", timeout=timedelta(milliseconds=1))
    start = asyncio.get_running_loop().time()
    with pytest.raises(CallTimeout) as caught:
        await target.call(b"{}", timeout_ms=300)
    assert caught.value.safety is Safety.UNKNOWN
    assert 0.29 <= asyncio.get_running_loop().time() - start < 1.5


async def test_a_call_that_was_never_answered_is_unknown_and_its_connection_is_closed(serve, client):
    """After a timeout the late reply must not meet the next call: the peer sees the connection close."""
    closed = asyncio.Event()

    async def script(peer):
        server.requests.append(await peer.request())
        if peer.number == 0:
            assert await peer.gone() == b""
            closed.set()
        else:
            await peer.send(reply(b"second"))

    server = await serve(script)
    error = await failure(client, server.url, timeout=timedelta(milliseconds=80))
    assert (type(error), error.safety) == (CallTimeout, Safety.UNKNOWN)
    await asyncio.wait_for(closed.wait(), 5)
    assert (await client.request("POST", server.url)).body == b"second"


async def test_a_cancelled_call_closes_its_connection(serve, client):
    """Cancelling the caller gives the call up; nobody gets its late reply."""
    arrived, closed = asyncio.Event(), asyncio.Event()

    async def script(peer):
        await peer.request()
        arrived.set()
        assert await peer.gone() == b""
        closed.set()

    server = await serve(script)
    call = asyncio.create_task(client.request("POST", server.url))
    await arrived.wait()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await asyncio.wait_for(closed.wait(), 5)
    assert (client.counters.cancelled, client.in_flight) == (1, 0)


async def test_a_request_on_a_reused_connection_that_the_peer_closes_is_never_resent(serve, client):
    """The close may have crossed the request or followed its execution: UNKNOWN, and the server saw it once."""

    async def script(peer):
        server.requests.append(await peer.request())
        await peer.send(reply())
        server.requests.append(await peer.request())

    server = await serve(script)
    await client.request("POST", server.url, body=b"first")
    error = await failure(client, server.url, body=b"second")
    assert (type(error), error.safety) == (ConnectionLost, Safety.UNKNOWN)
    assert [request.rpartition(b"\r\n\r\n")[2] for request in server.requests] == [b"first", b"second"]
    assert server.connections == 1


async def test_a_connection_closed_while_idle_is_replaced_without_harm(serve, client):
    """A peer may close an idle connection; the next call opens another and succeeds."""

    async def script(peer):
        await peer.request()
        await peer.send(reply())

    server = await serve(script)
    for calls in range(1, 4):
        assert (await client.request("POST", server.url)).status == 200
        await until(lambda: client.counters.connections_open == 0)
        assert server.connections == calls


async def test_an_idle_connection_that_talks_is_not_used_again(serve, client):
    """A second reply to one request must not become the next call's."""

    async def script(peer):
        await peer.request()
        await peer.send(reply(b"mine"))
        await peer.send(reply(b"not asked for"))
        await peer.gone()

    server = await serve(script)
    for calls in range(1, 4):
        assert (await client.request("POST", server.url)).body == b"mine"
        await until(lambda: client.counters.connections_open == 0)
        assert server.connections == calls


async def test_surplus_in_the_same_read_ends_the_connection(serve, client):
    """The first reply counts; what follows it in the same packet is nobody's."""

    async def script(peer):
        await peer.request()
        await peer.send(reply(b"mine") + reply(b"smuggled"))
        await peer.gone()

    server = await serve(script)
    for _ in range(2):
        assert (await client.request("POST", server.url)).body == b"mine"
    assert server.connections == 2


async def test_a_refused_connection_is_not_sent(client, unused_port):
    """Nobody listens: a repeat is safe."""
    error = await failure(client, f"http://127.0.0.1:{unused_port}")
    assert (type(error), error.safety, error.safety.repeatable) == (ConnectFailed, Safety.NOT_SENT, True)


@pytest.fixture
def unused_port():
    """A port that is bound, so that nobody else takes it, and not listened on."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


async def test_every_call_to_a_dead_origin_fails_and_none_connects_for_ever(make_client, unused_port):
    """With more calls than connections each still gets its own answer, after one attempt each."""
    client = make_client(limits=HttpLimits(max_connections=4))
    target = client.target(f"http://127.0.0.1:{unused_port}")
    outcomes = await asyncio.gather(*(target.call(b"{}", timeout_ms=5_000) for _ in range(50)), return_exceptions=True)
    assert {type(outcome) for outcome in outcomes} == {ConnectFailed}
    assert client.counters.failures == {"connect_failed": 50}
