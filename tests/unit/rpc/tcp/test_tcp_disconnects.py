"""Connections cut in the middle of what they say, by the hundred: no call is lost, none lies about what happened."""

import asyncio
import random
from collections import Counter
from datetime import timedelta

import pytest

from placet_rpc import Reply, RpcError, Safety
from placet_rpc.tcp import TcpLimits
from unit.rpc.conftest import until
from unit.rpc.tcp.conftest import CuttingProxy

CALLS = 4_000


@pytest.mark.parametrize("seed", [1, 2])
async def test_no_call_is_lost_or_run_twice_under_disconnects(seed, hot, serve_tcp, make_tcp_client):
    """Every call gets one outcome; what was NOT_SENT never ran; nothing ran twice; an answer is the call's own."""
    chance = random.Random(seed)
    server = await serve_tcp()
    client = make_tcp_client(limits=TcpLimits(reconnect_first=timedelta(milliseconds=1)))
    outcomes = {}
    async with CuttingProxy(server.port, chance, cut_every_bytes=4_000) as proxy:
        target = client.target(f"{proxy.url}/echo")

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
        await until(lambda: not client.in_flight)

    assert len(outcomes) == CALLS
    assert proxy.cuts > 30
    ran = Counter(int(body) for body in hot.bodies)
    assert max(ran.values()) == 1
    answered = {number for number, outcome in outcomes.items() if isinstance(outcome, Reply)}
    assert all(outcomes[number].body == b"%d" % number for number in answered)
    safeties = Counter(getattr(outcome, "safety", None) for outcome in outcomes.values())
    assert safeties[Safety.UNKNOWN] > 30
    assert len(answered) > CALLS // 10
    not_sent = {n for n, outcome in outcomes.items() if getattr(outcome, "safety", None) is Safety.NOT_SENT}
    assert not not_sent & ran.keys()
    assert answered <= ran.keys()
