"""One load generator process: closed-loop callers that run whole transactions, and the latencies they saw.

Prints one JSON line: transactions per second, latencies in milliseconds, errors. Its own CPU time is part of it, for it
takes the cores that it measures.
"""

import argparse
import asyncio
import json
import resource
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import timedelta

import uvloop

from placet import Client, Settings
from placet_rpc import HeaderTemplate, HttpClient, HttpLimits, Target
from placet_rpc.tcp import TcpClient

Prepare = Callable[[str], Target]
Transaction = Callable[[str], Awaitable[None]]
PAYLOAD = b'{"amount":30,"account":"alice"}'
_TRY_HEADERS = HeaderTemplate("placet-gid", "placet-branch", "placet-op")
_TIMEOUT_MS = 60_000


class Failed(Exception):
    """The coordinator answered what it should not have."""


class Plans:
    """The transactions that can be run; each is one coroutine per transaction.

    Args:
        target: prepares calls of a URL.
        coordinator: its base URL.
        participants: their base URL, for the tries.
        targets: what the branches' targets begin with: that URL, or a service's name.
    """

    def __init__(self, target: Prepare, coordinator: str, participants: str, targets: str) -> None:
        self._target, self._coordinator = target, coordinator
        self._begin = target(f"{coordinator}/v1/transactions")
        self._begin_and_wait = target(f"{coordinator}/v1/transactions?wait_ms=30000")
        self._tries = [target(f"{participants}/{name}/try") for name in ("a", "b")]
        self._branches = b",".join(
            b'{"branch_id":"%b","target":"%b/%b","payload":%b}' % (name, targets.encode(), name, PAYLOAD)
            for name in (b"a", b"b")
        )

    async def tcc(self, gid: str) -> None:
        """Begin with two planned branches, two tries, commit."""
        await self._expect(self._begin, self._begin_body(gid, b"tcc"), 201)
        for name, target in zip(("a", "b"), self._tries, strict=True):
            await target.call(PAYLOAD, _TRY_HEADERS.fill(gid, name, "try"), timeout_ms=_TIMEOUT_MS)
        commit = self._target(f"{self._coordinator}/v1/transactions/{gid}/commit")
        await self._expect(commit, b"{}", 200)

    async def drive(self, gid: str) -> None:
        """One request: the coordinator calls the tries too."""
        await self._expect(self._begin_and_wait, self._begin_body(gid, b"tcc", b',"drive":true'), 201)

    async def saga(self, gid: str) -> None:
        """One request: two steps, one after the other."""
        await self._expect(self._begin_and_wait, self._begin_body(gid, b"saga"), 201)

    async def saga_begin(self, gid: str) -> None:
        """One request that does not wait for the end: comparable to a tcc's commit, which does not either."""
        await self._expect(self._begin, self._begin_body(gid, b"saga"), 201)

    def _begin_body(self, gid: str, pattern: bytes, more: bytes = b"") -> bytes:
        return b'{"gid":"%b","pattern":"%b"%b,"branches":[%b]}' % (gid.encode(), pattern, more, self._branches)

    @staticmethod
    async def _expect(target: Target, body: bytes, status: int) -> None:
        reply = await target.call(body, b"", timeout_ms=_TIMEOUT_MS)
        if reply.status != status:
            raise Failed(f"HTTP {reply.status}: {reply.body[:200]!r}")


def sdk_form(sdk: Client, targets: str) -> Transaction:
    """Return the SDK's own form: `async with`, two calls."""

    async def run(_gid: str) -> None:
        async with sdk.tcc("bench", timeout=timedelta(seconds=30)) as tx:
            await tx.call(f"{targets}/a", {"amount": 30, "account": "alice"})
            await tx.call(f"{targets}/b", {"amount": 30, "account": "alice"})

    return run


async def measure(transaction: Transaction, callers: int, seconds: float) -> dict[str, float | int]:
    """Run closed-loop callers for a warm-up second and the given time."""
    prefix, sequence = f"{time.time_ns():x}", iter(range(1 << 60))
    latencies: list[float] = []
    fifths = [0] * 5  # what ended in each fifth of the time: whether it slows down as tables fill
    start = time.perf_counter() + 1
    stop = start + seconds

    async def caller() -> None:
        while (begun := time.perf_counter()) < stop:
            await transaction(f"{prefix}-{next(sequence):08x}")
            now = time.perf_counter()
            if begun > start:
                latencies.append(now - begun)
                fifths[min(int((now - start) / seconds * 5), 4)] += 1

    async with asyncio.TaskGroup() as group:
        for _ in range(callers):
            group.create_task(caller())
    latencies.sort()

    def at(share: float) -> float:
        return round(latencies[min(int(len(latencies) * share), len(latencies) - 1)] * 1_000, 2)

    usage = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "callers": callers,
        "tx_per_s": round(len(latencies) / seconds, 1),
        "first_fifth_tx_per_s": round(fifths[0] * 5 / seconds, 1),
        "last_fifth_tx_per_s": round(fifths[4] * 5 / seconds, 1),
        "count": next(sequence),
        "p50_ms": at(0.5),
        "p99_ms": at(0.99),
        "p999_ms": at(0.999),
        "load_cpu_s": round(usage.ru_utime + usage.ru_stime, 2),
    }


async def main() -> None:
    """Run one measurement."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("form", choices=["tcc", "drive", "saga", "saga_begin", "sdk"])
    parser.add_argument("--coordinator", required=True)
    parser.add_argument("--participants", required=True)
    parser.add_argument("--targets", help="what the branches' targets begin with; default: --participants")
    parser.add_argument("--transport", choices=["http", "tcp"], default="http")
    parser.add_argument("--callers", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=8)
    options = parser.parse_args()
    targets = options.targets or options.participants
    settings = Settings(url=options.coordinator, transport="auto" if options.transport == "tcp" else "http")
    async with AsyncExitStack() as stack:
        if options.form == "sdk":
            sdk = await stack.enter_async_context(Client(settings=settings))
            transaction = sdk_form(sdk, targets)
        else:
            if options.transport == "tcp":
                tcp = await stack.enter_async_context(TcpClient())
                prepare: Prepare = tcp.target
            else:
                limits = HttpLimits(max_connections=options.callers)
                http = await stack.enter_async_context(HttpClient(limits=limits))
                prepare = http.target
            plans = Plans(prepare, options.coordinator, options.participants, targets)
            transaction = getattr(plans, options.form)
        print(json.dumps(await measure(transaction, options.callers, options.seconds)))


if __name__ == "__main__":
    uvloop.run(main())
