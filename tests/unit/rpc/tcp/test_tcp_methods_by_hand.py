"""Calls of methods under a client that speaks frames by hand: what comes at the worst moment leaves nothing behind."""

import asyncio
from typing import Protocol

import pytest

from placet_contract.service import method, service
from placet_rpc.frames import CODEC_MSGPACK, Channel, Fault, Hello, Kind
from placet_rpc.frames.call import CallHeader, encode_call
from placet_rpc.server import Server
from unit.rpc.conftest import until


@service("ledger")
class Ledger(Protocol):
    """What is called."""

    @method()
    async def post(self) -> int:
        """Counts calls."""

    @method(detached=True)
    async def settle(self) -> int:
        """Counts calls too, and outlives its caller."""


class LedgerHere:
    def __init__(self):
        self.calls = []

    async def post(self):
        self.calls.append("post")
        return len(self.calls)

    async def settle(self):
        self.calls.append("settle")
        return len(self.calls)


@pytest.fixture
async def ledger() -> LedgerHere:
    """The implementation."""
    return LedgerHere()


@pytest.fixture
async def talk(ledger):
    """A greeted connection to it: `server, channel, reader, writer`."""
    async with Server(tcp="127.0.0.1:0") as server:
        server.expose(Ledger)(ledger)
        reader, writer = await asyncio.open_connection("127.0.0.1", server.tcp_server.port)
        channel = Channel(Hello())
        channel.open()
        writer.write(channel.take())
        while channel.peer is None:
            channel.feed(await reader.read(1000))
        yield server, channel, reader, writer
        writer.close()


def request(channel, request_id, operation, **more):
    header = encode_call(CallHeader(service="ledger/1", operation=operation, caller="test", **more))
    channel.send(Kind.REQUEST, request_id, 5000, CODEC_MSGPACK, header, b"\x80")


async def reply(channel, reader):
    while not (frames := channel.feed(await reader.read(1000))):
        pass
    return frames


async def test_a_call_given_up_before_it_began_does_not_run_and_is_off_the_books(ledger, talk):
    """A request and its CANCEL that come in one read: the task never had its first step, and must still end."""
    server, channel, reader, writer = talk
    request(channel, 1, "post")
    channel.cancel(1)
    writer.write(channel.take())
    (frame,) = await reply(channel, reader)
    assert (frame.request_id, frame.status) == (1, Fault.CANCELLED)
    assert ledger.calls == []
    await until(lambda: server.tcp_server.counters.in_flight == 0)


async def test_a_detached_call_given_up_before_it_began_runs_all_the_same(ledger, talk):
    """It outlives its caller, however early that one leaves."""
    server, channel, _, writer = talk
    request(channel, 1, "settle")
    channel.cancel(1)
    writer.write(channel.take())
    await until(lambda: ledger.calls == ["settle"])
    await until(lambda: server.tcp_server.counters.in_flight == 0)


async def test_a_detached_call_that_a_shutdown_ends_before_it_began_does_not_run(ledger, talk):
    """Its caller was told that it was cancelled, so it must not have an effect after that."""
    server, channel, reader, _ = talk
    request(channel, 1, "settle")
    (connection,) = server.tcp_server.connections
    connection.data_received(channel.take())
    connection.stop_calls()
    (frame,) = await reply(channel, reader)
    assert (frame.request_id, frame.status) == (1, Fault.CANCELLED)
    await until(lambda: server.tcp_server.counters.in_flight == 0)
    assert ledger.calls == []


async def test_what_one_call_carries_is_not_seen_by_the_next(talk):
    """Maps that repeat are kept decoded; one with a key of its own, or with another caller, is read for itself."""
    server, channel, reader, writer = talk
    seen = []
    operation = server.operations.find("ledger/1", "post")

    async def look(call):
        seen.append((call.context.caller, call.context.key, call.context.extra))
        call.context.extra["touched"] = "yes"
        return await answer(call)

    answer, operation._filtered = operation._proceed, look
    for number, more in enumerate(({}, {}, {"key": "k"}, {}, {"extra": {"a": "b"}}), 1):
        request(channel, number, "post", **more)
    writer.write(channel.take())
    replies = []
    while len(replies) < 5:
        replies += await reply(channel, reader)
    assert [(caller, key) for caller, key, _ in seen] == [("test", key) for key in ("", "", "k", "", "")]
    assert [sorted(extra) for _, _, extra in seen] == [["touched"]] * 4 + [["a", "touched"]]
