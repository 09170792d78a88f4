"""No lost future: connections are cut in the middle of what they say, 100,000 times, under load.

    .venv/bin/python bench/rpc_disconnects.py [--cuts 100000] [--seed 1]

Every call must get exactly one outcome; what was NOT_SENT must not have run, nothing may run twice, and at the end
memory must be where it was after the first tenth. Prints the tally; exits with 1 if a claim fails.
"""

import argparse
import asyncio
import random
import resource
import sys
import time
from collections import Counter
from datetime import timedelta
from pathlib import Path

import uvloop

from placet_rpc import Reply, RpcError, Safety
from placet_rpc.frames import CODEC_HTTP
from placet_rpc.tcp import HttpCalls, TcpClient, TcpLimits, TcpServer

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from unit.rpc.tcp.conftest import CuttingProxy


class Books:
    """What ran, and what callers were told; only what is not settled is kept."""

    def __init__(self) -> None:
        self.ran: set[bytes] = set()
        self.tally: Counter[str] = Counter()

    def run(self, body: bytes) -> None:
        """A request ran."""
        if body in self.ran:
            self.tally["RAN TWICE"] += 1
        self.ran.add(body)

    def told(self, body: bytes, outcome: Reply | RpcError) -> None:
        """A caller got an outcome."""
        if isinstance(outcome, Reply):
            self.tally["answered" if outcome.body == body and body in self.ran else "WRONG ANSWER"] += 1
        else:
            self.tally[outcome.safety.value] += 1
            if outcome.safety is Safety.NOT_SENT and body in self.ran:
                self.tally["NOT_SENT RAN"] += 1


async def caller(number: int, target: object, books: Books, proxy: CuttingProxy, cuts: int) -> None:
    call = 0
    while proxy.cuts < cuts:
        call += 1
        body = b"%d-%d" % (number, call)
        try:
            books.told(body, await target.call(body, timeout_ms=60_000))  # type: ignore[attr-defined]  # a TcpTarget
        except RpcError as error:
            books.told(body, error)
            if error.safety is Safety.NOT_SENT:
                await asyncio.sleep(0.001)
        books.ran.discard(body)


async def run(cuts: int, seed: int) -> bool:
    books = Books()

    def answer(request: object) -> None:
        books.run(request.body)  # type: ignore[attr-defined]  # a hot request
        request.respond(200, request.body)  # type: ignore[attr-defined]

    server = TcpServer({CODEC_HTTP: HttpCalls(routes=lambda _method, _target: answer)})
    await server.start()
    client = TcpClient(
        limits=TcpLimits(reconnect_first=timedelta(milliseconds=1), reconnect_cap=timedelta(milliseconds=2))
    )
    started, early = time.perf_counter(), 0
    async with CuttingProxy(server.port, random.Random(seed), cut_every_bytes=1500) as proxy:
        target = client.target(f"{proxy.url}/echo")
        callers = [asyncio.ensure_future(caller(number, target, books, proxy, cuts)) for number in range(32)]
        while proxy.cuts < cuts:
            await asyncio.sleep(0.2)
            early = early or (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss if proxy.cuts > cuts // 10 else 0)
        done, lost = await asyncio.wait(callers, timeout=5)
    for task in done:
        task.result()
    late = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(f"{proxy.cuts} cuts in {time.perf_counter() - started:.0f} s, {len(lost)} callers without an outcome")
    print(dict(books.tally), f"peak memory {early / 1024:.0f} MiB after a tenth, {late / 1024:.0f} MiB at the end")
    counters = client.counters
    whole = counters.calls == counters.replies + counters.cancelled + sum(counters.failures.values())
    await client.aclose()
    await server.aclose(linger=timedelta(), grace=timedelta())
    return whole and not lost and not any(name.isupper() for name in books.tally)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cuts", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    if not uvloop.run(run(options.cuts, options.seed)):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
