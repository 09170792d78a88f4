"""What the client makes of replies that are right, in every framing that HTTP/1.1 knows."""

import pytest

from placet_rpc import HeaderTemplate, HttpLimits
from placet_rpc.http.pool import HEADS_MAX
from unit.rpc.conftest import reply

ok = reply(b'{"result":"done"}', "200 OK", b"Placet-Outcome: t/a/confirm")


async def answer_with(serve, *parts: bytes, close: bool = False):
    """A server that answers every request with the same parts."""

    async def script(peer):
        while True:
            server.requests.append(await peer.request())
            for part in parts:
                await peer.send(part)
            if close:
                return

    server = await serve(script)
    return server


async def test_a_reply_has_status_headers_and_body(serve, client):
    """A plain reply arrives whole, and its fields are found by lower-case name."""
    server = await answer_with(serve, ok)
    answer = await client.request("POST", f"{server.url}/debit/confirm?x=1", body=b"{}")
    assert (answer.status, answer.body) == (200, b'{"result":"done"}')
    assert answer.header("placet-outcome") == "t/a/confirm"
    assert answer.header("retry-after") is None


async def test_the_request_is_written_as_asked(serve, client):
    """Request line, host, constant fields, fields of the call, length and body are on the wire, in this order."""
    server = await answer_with(serve, ok)
    target = client.target(f"{server.url}/a%20b?q=%C3%A4", headers=[("authorization", "Bearer s")])
    await target.call(b"payload", HeaderTemplate("placet-gid", "placet-attempt").fill("t-1", 2), timeout_ms=5_000)
    host = server.url.removeprefix("http://")
    assert server.requests == [
        (
            f"POST /a%20b?q=%C3%A4 HTTP/1.1\r\nhost: {host}\r\nuser-agent: placet\r\nauthorization: Bearer s\r\n"
            f"placet-gid: t-1\r\nplacet-attempt: 2\r\ncontent-length: 7\r\n\r\npayload"
        ).encode()
    ]


async def test_an_empty_post_states_its_length_and_a_get_does_not(serve, client):
    """Content-length 0 is sent where the method has a body (RFC 9110 8.6), and left out where it has none."""
    server = await answer_with(serve, ok)
    await client.request("POST", server.url)
    await client.request("GET", server.url)
    assert b"content-length: 0\r\n" in server.requests[0]
    assert b"content-length" not in server.requests[1]


async def test_calls_one_after_another_share_a_connection(serve, client):
    """Keep-alive works: three calls, one connection, and it is the only one left open."""
    server = await answer_with(serve, ok)
    for _ in range(3):
        await client.request("POST", server.url)
    assert (server.connections, client.counters.connections_opened, client.counters.connections_open) == (1, 1, 1)


@pytest.mark.parametrize(
    ("raw", "status", "body"),
    [
        (b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", 200, b""),
        (b"HTTP/1.1 204 No Content\r\n\r\n", 204, b""),
        (b"HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\n\r\n", 304, b""),
        (b"HTTP/1.1 404 Not Found\r\ncontent-length: 2\r\n\r\n{}", 404, b"{}"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n", 200, b"abcde"),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}", 200, b"{}"),
        (
            b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\nHTTP/1.1 201 Created\r\ncontent-length: 1\r\n\r\nx",
            201,
            b"x",
        ),
        (b"HTTP/1.1 200 OK\r\nupgrade: h2c\r\nconnection: upgrade\r\ncontent-length: 2\r\n\r\n{}", 200, b"{}"),
        (b"HTTP/1.1 200\r\nx-empty:\r\nx-next: 1\r\ncontent-length: 2\r\n\r\n{}", 200, b"{}"),
        (b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n", 302, b""),
    ],
)
async def test_every_framing_is_read_and_the_connection_used_again(raw, status, body, serve, client):
    """Each framing gives its status and body, twice, on one connection; a redirect is not followed."""
    server = await answer_with(serve, raw)
    for _ in range(2):
        answer = await client.request("POST", server.url, body=b"{}")
        assert (answer.status, answer.body) == (status, body)
    assert server.connections == 1


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 200 OK\r\n\r\nwhole",
        b"HTTP/1.0 200 OK\r\n\r\nwhole",
        b"HTTP/1.0 200 OK\r\ncontent-length: 5\r\n\r\nwhole",
        b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 5\r\n\r\nwhole",
    ],
)
async def test_a_reply_that_ends_its_connection_is_whole_and_the_connection_is_not_used_again(raw, serve, client):
    """A body that the close delimits is taken, and the next call opens a connection."""
    server = await answer_with(serve, raw, close=True)
    for _ in range(2):
        assert (await client.request("POST", server.url)).body == b"whole"
    assert server.connections == 2


async def test_trailers_do_not_change_the_headers(serve, client):
    """A trailer can't overrule a field of the head (RFC 9110 6.5.1), nor leak into the next reply."""
    head = b"HTTP/1.1 200 OK\r\nplacet-outcome: a\r\ntransfer-encoding: chunked\r\n\r\n"
    chunked = head + b"2\r\n{}\r\n0\r\nplacet-outcome: b\r\nx-t: 1\r\n\r\n"
    server = await answer_with(serve, chunked)
    for _ in range(2):
        answer = await client.request("POST", server.url)
        assert (answer.header("placet-outcome"), answer.header("x-t")) == ("a", None)
    assert server.connections == 1


async def test_fields_of_an_interim_reply_are_not_the_replys(serve, client):
    """What a 103 said is not mistaken for the final reply's head."""
    server = await answer_with(serve, b"HTTP/1.1 103 Early Hints\r\nplacet-outcome: early\r\n\r\n", ok)
    assert (await client.request("POST", server.url)).header("placet-outcome") == "t/a/confirm"


async def test_a_body_of_exactly_the_limit_is_read(serve, make_client):
    """The limit is the largest body that passes."""
    client = make_client(limits=HttpLimits(max_reply_bytes=300_000))
    server = await answer_with(serve, reply(b"x" * 300_000))
    assert len((await client.request("POST", server.url)).body) == 300_000


async def test_a_large_request_and_reply_pass_whole(serve, client):
    """A megabyte each way passes the transports' buffers, and the connection is used again."""
    body = bytes(range(256)) * 4_096
    server = await answer_with(serve, reply(body))
    for _ in range(2):
        assert (await client.request("POST", server.url, body=body)).body == body
    assert server.requests[1].endswith(body)
    assert server.connections == 1


async def test_ipv6_literals_are_called(serve, client):
    """A bracketed address is connected to, and named with its brackets in the host field."""
    server = await serve(lambda peer: _record(server, peer), host="::1")
    assert (await client.request("POST", server.url)).status == 200
    assert f"host: [::1]:{server.port}\r\n".encode() in server.requests[0]


async def _record(server, peer):
    server.requests.append(await peer.request())
    await peer.send(ok)


async def test_proxies_of_the_environment_are_ignored(serve, client, monkeypatch):
    """A proxy variable does not divert a call that may carry a transaction."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    server = await answer_with(serve, ok)
    assert (await client.request("POST", server.url)).status == 200


async def test_the_early_reply_to_a_large_request_counts_and_its_connection_does_not(serve, client):
    """A refusal sent before the body was read arrives; the rest of the body must not meet the next call."""

    async def script(peer):
        await peer.reader.readuntil(b"\r\n\r\n")
        await peer.send(reply(b"", "413 Content Too Large"))
        await peer.gone()

    server = await serve(script)
    answer = await client.request("POST", server.url, body=b"x" * 20_000_000)
    assert (answer.status, client.in_flight) == (413, 0)
    assert (await client.request("POST", server.url)).status == 413
    assert server.connections == 2


HEAD = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n"


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ((HEAD + b"cd",), b"cd"),
        ((HEAD, b"cd"), b"cd"),
        ((HEAD[:30], HEAD[30:] + b"cd"), b"cd"),
        ((HEAD + b"c", b"d"), b"cd"),
        ((HEAD + b"cdHTTP/1.1 200 OK\r\n",), b"cd"),  # surplus: the reply counts, the connection does not
        ((b"HTTP/1.1 100 Continue\r\n\r\n" + HEAD + b"cd",), b"cd"),
        ((b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\ncde",), b"cde"),
    ],
)
async def test_a_head_that_was_parsed_before_changes_no_reply(serve, client, parts, expected):
    """However the next reply is cut, and whatever follows it, it is what it would have been on a new connection."""

    async def script(peer):
        while True:
            request = await peer.request()
            for part in (HEAD + b"ab",) if b"warm" in request else parts:
                await peer.send(part)

    server = await serve(script)
    for _ in range(2):
        assert (await client.request("POST", f"{server.url}/warm")).body == b"ab"
    for _ in range(2):
        assert (await client.request("POST", server.url)).body == expected
    is_reused = not any(b"cdHTTP" in part for part in parts)
    assert (client.counters.connections_opened == 1) is is_reused


async def test_no_more_heads_are_kept_than_the_limit(serve, client):
    """A server whose fields differ with each reply does not fill the client's memory."""
    number = 0

    async def script(peer):
        nonlocal number
        while True:
            await peer.request()
            number += 1
            await peer.send(reply(b"{}", "200 OK", b"x-number: %d" % number))

    server = await serve(script)
    target = client.target(server.url)
    for _ in range(HEADS_MAX + 10):
        answer = await target.call(b"", timeout_ms=5_000)
        assert answer.header("x-number") == str(number)
    assert len(target.pool.heads) == 10
