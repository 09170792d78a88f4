"""The server under a client that speaks frames by hand, as one of another make might."""

import asyncio
from datetime import timedelta

import pytest

from placet_rpc.frames import CODEC_HTTP, Channel, Hello, Kind
from placet_rpc.frames.call import HttpCallTemplate
from placet_rpc.tcp import TcpServerLimits
from unit.rpc.conftest import until
from unit.rpc.tcp.conftest import AT_ONCE


@pytest.fixture
async def talk(serve_tcp):
    """A client that speaks frames by hand: `server, channel, reader, writer`, greeted."""
    writers = []

    async def talk(*, ping_interval_ms=5000, **options):
        server = await serve_tcp(**options)
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writers.append(writer)
        channel = Channel(Hello(ping_interval_ms=ping_interval_ms))
        channel.open()
        writer.write(channel.take())
        while channel.peer is None:
            channel.feed(await reader.read(1000))
        return server, channel, reader, writer

    yield talk
    for writer in writers:
        writer.close()


async def test_a_client_that_falls_silent_is_closed(talk):
    """One that has greeted and then not even pings is gone: its connection is closed after three of its intervals."""
    server, _, reader, _ = await talk(ping_interval_ms=20)
    assert await reader.read() == b""
    await until(lambda: not server.connections)


async def test_a_request_without_a_reply_runs_and_is_counted(hot, talk):
    """ONEWAY runs like any other; nothing comes back, not even of one that is refused."""
    server, channel, reader, writer = await talk(limits=TcpServerLimits(max_message_bytes=1000))
    fill = HttpCallTemplate("POST", "/echo", b"").fill(b"")
    channel.send(Kind.ONEWAY, 1, 0, CODEC_HTTP, fill, b"once")
    channel.send(Kind.ONEWAY, 2, 0, CODEC_HTTP, fill, b"x" * 1001)
    channel.send(Kind.ONEWAY, 3, 0, 99, fill, b"")
    channel.send(Kind.REQUEST, 4, 0, CODEC_HTTP, fill, b"last")
    writer.write(channel.take())
    replies = []
    while not replies:
        replies = channel.feed(await reader.read(1000))
    assert [(reply.request_id, reply.body) for reply in replies] == [(4, b"last")]
    assert hot.bodies == [b"once", b"last"]
    assert (server.counters.refused["too_large"], server.counters.refused["unknown_codec"]) == (1, 1)
    assert server.counters.in_flight == 0


@pytest.mark.parametrize("kind", [Kind.REQUEST, Kind.ONEWAY])
async def test_a_request_id_in_use_ends_the_connection(kind, hot, talk):
    """A second request under it would be taken for the first, and the books would never be right again."""
    held = hot.hold("/held")
    server, channel, reader, writer = await talk()
    fill = HttpCallTemplate("POST", "/held", b"").fill(b"")
    channel.send(Kind.REQUEST, 7, 0, CODEC_HTTP, fill, b"")
    channel.send(kind, 7, 0, CODEC_HTTP, fill, b"")
    writer.write(channel.take())
    assert await reader.read() == b""
    assert len(held) == 1
    held[0].respond(200, b"")
    assert server.counters.in_flight == 0


async def test_a_drain_waits_for_a_request_without_a_reply_and_no_longer(hot, talk):
    """The connection closes when it has run, not when the grace is over."""
    held = hot.hold("/held")
    server, channel, _, writer = await talk()
    fill = HttpCallTemplate("POST", "/held", b"").fill(b"")
    channel.send(Kind.ONEWAY, 1, 0, CODEC_HTTP, fill, b"")
    writer.write(channel.take())
    await until(lambda: held)
    closing = asyncio.ensure_future(server.aclose(linger=AT_ONCE, grace=timedelta(minutes=5)))
    await until(lambda: not any(connection.is_taking for connection in server.connections))
    assert not closing.done()
    held[0].respond(200, b"")
    await closing
