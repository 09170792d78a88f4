"""Connections cut at every stage, by the thousand: no call is lost, none is sent twice, none lies about it."""

import asyncio
import random
from collections import Counter

import pytest

from placet_rpc import ConnectionLost, HttpLimits, Reply, RpcError, Safety
from unit.rpc.conftest import reply, until

CALLS = 2_000
ANSWER = reply(b'{"result":"done"}', "200 OK", b"placet-outcome: t/a/confirm")


class Saboteur:
    """A server's script that cuts connections at every stage, by a seeded chance, and records what arrived."""

    def __init__(self, chance):
        self.chance = chance
        self.arrived = Counter()

    async def __call__(self, peer):
        if self.chance.random() < 0.1:
            return  # closed as soon as it is open
        while True:
            self.arrived[int((await peer.request()).rpartition(b"\r\n\r\n")[2])] += 1
            fate = self.chance.random()
            if fate < 0.1:
                peer.writer.transport.abort()
                return
            if fate < 0.7:
                await peer.send(ANSWER[: max(0, self.chance.randrange(-50, len(ANSWER)))])
                return  # closed before or within the reply
            await peer.send(ANSWER)
            if fate < 0.85:
                return  # closed while idle, or just as the next request is written


@pytest.mark.parametrize("seed", [1, 2])
async def test_no_call_is_lost_or_repeated_under_disconnects(seed, serve, make_client):
    """Every call gets one outcome; NOT_SENT never reached the server; nothing reached it twice; nothing leaks."""
    chance = random.Random(seed)
    saboteur = Saboteur(chance)
    server = await serve(saboteur)
    client = make_client(limits=HttpLimits(max_connections=16))
    target = client.target(server.url)
    outcomes = {}

    async def caller(numbers):
        for number in numbers:
            call = target.call(b"%d" % number, timeout_ms=60_000)
            if chance.random() < 0.05:
                call.cancel()
            try:
                outcomes[number] = await call
            except (RpcError, asyncio.CancelledError) as error:
                outcomes[number] = error

    numbers = iter(range(CALLS))
    await asyncio.gather(*(caller(numbers) for _ in range(32)))

    assert len(outcomes) == CALLS
    assert max(saboteur.arrived.values()) == 1
    answered = {number for number, outcome in outcomes.items() if isinstance(outcome, Reply)}
    lost = {number for number, outcome in outcomes.items() if isinstance(outcome, ConnectionLost)}
    not_sent = {n for n, outcome in outcomes.items() if getattr(outcome, "safety", None) is Safety.NOT_SENT}
    assert min(len(answered), len(lost)) > CALLS // 10  # both happened, and often
    assert answered <= saboteur.arrived.keys()
    assert not not_sent & saboteur.arrived.keys()
    await until(lambda: not client.in_flight)  # those given up by their callers
    counters = client.counters
    assert counters.calls == CALLS == counters.replies + counters.cancelled + sum(counters.failures.values())
