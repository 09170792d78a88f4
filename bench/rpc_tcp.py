"""Calls per second, CPU per call and delays of each transport, beside others: client and server one process each.

    .venv/bin/python bench/rpc_tcp.py [--calls 60000] [--in-flight 64] [--loop uvloop|asyncio] [--only tcp,grpcio]

150 bytes each way. grpcio, aiohttp and httpx2 are measured where they are installed (dependency group `bench`). CPU is
read from the processes themselves. `tcp` is a target as the coordinator uses it, one future per call; `tcp-typed` a
proxy with the usual chain and an `async def` implementation; `-chain` has all policies on. The delays are those at
half of the rate that was just reached, from when each call was due, so that a stall counts for all that it held up.
"""

import argparse
import asyncio
import importlib.util
import json
import os
import platform
import subprocess
import sys
import time
from contextlib import AsyncExitStack
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import uvloop
from rpc_contenders import KINDS, Call, serve

HALF_LOAD_SECONDS = 2.0


def cpu_seconds(pid: int) -> float:
    stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(stat[11]) + int(stat[12])) / os.sysconf("SC_CLK_TCK")


async def drive(call: Call, calls: int, in_flight: int) -> None:
    async def caller() -> None:
        for _ in range(calls // in_flight):
            await call()

    await asyncio.gather(*(caller() for _ in range(in_flight)))


async def delays_at(call: Call, calls_per_second: float, in_flight: int) -> list[float]:
    """Lets each caller make a call whenever one is due, as soon as its last one is answered; returns sorted delays."""
    loop = asyncio.get_running_loop()
    delays: list[float] = []
    began, pause = loop.time(), in_flight / calls_per_second

    async def caller(number: int) -> None:
        due_at = began + number / calls_per_second
        while due_at < began + HALF_LOAD_SECONDS:
            await asyncio.sleep(max(due_at - loop.time(), 0))
            await call()
            delays.append(loop.time() - due_at)
            due_at += pause

    await asyncio.gather(*(caller(number) for number in range(in_flight)))
    return sorted(delays)


async def measure(kind: str, server: subprocess.Popen[str], options: argparse.Namespace) -> dict[str, object]:
    make, share = KINDS[kind][2:]
    port = int(server.stdout.readline())  # type: ignore[union-attr]  # it is a pipe
    calls = int(options.calls * share) // options.in_flight * options.in_flight
    async with AsyncExitStack() as stack:
        call = await make(port, stack)
        await drive(call, max(calls // 10, options.in_flight), options.in_flight)
        server_cpu, cpu, wall = cpu_seconds(server.pid), time.process_time(), time.perf_counter()
        await drive(call, calls, options.in_flight)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        server_cpu = cpu_seconds(server.pid) - server_cpu
        delays = await delays_at(call, calls / wall / 2, options.in_flight)
    return {
        "kind": kind,
        "in_flight": options.in_flight,
        "calls_per_second": round(calls / wall),
        "client_us": round(cpu / calls * 1e6, 1),
        "server_us": round(server_cpu / calls * 1e6, 1),
        "p50_ms": round(delays[len(delays) // 2] * 1e3, 2),
        "p99_ms": round(delays[len(delays) * 99 // 100] * 1e3, 2),
    }


def run(kind: str, options: argparse.Namespace) -> None:
    """One contender, in this process and a server's."""
    command = [sys.executable, __file__, "--role", "server", "--only", KINDS[kind][0], "--loop", options.loop]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        factory = uvloop.new_event_loop if options.loop == "uvloop" else asyncio.new_event_loop
        with asyncio.Runner(loop_factory=factory) as runner:
            print(json.dumps(runner.run(measure(kind, server, options))), flush=True)
    finally:
        server.terminate()
        server.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--role", choices=["all", "one", "server"], default="all")
    parser.add_argument("--calls", type=int, default=60_000)
    parser.add_argument("--in-flight", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--loop", choices=["uvloop", "asyncio"], default="uvloop")
    parser.add_argument("--only", default=",".join(KINDS))
    options = parser.parse_args()
    if options.role == "server":
        factory = uvloop.new_event_loop if options.loop == "uvloop" else asyncio.new_event_loop
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(serve(options.only))
    elif options.role == "one":
        run(options.only, options)
    else:
        run_all(options)


MEDIANS = ("calls_per_second", "client_us", "server_us", "p50_ms", "p99_ms")


def run_all(options: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Every contender in processes of its own, in turns, so that a noisy minute hits all; prints medians."""
    kinds = [kind for kind in options.only.split(",") if importlib.util.find_spec(KINDS[kind][1])]
    names = {"grpcio": "grpcio", "aiohttp": "aiohttp", "httpx2": "httpx2", "tcp": "uvloop"}
    machine = f"{platform.machine()}, {os.cpu_count()} CPUs, Python {platform.python_version()}"
    print(f"{machine}, {options.loop}, {options.in_flight} callers", end="")
    for name in (names[kind] for kind in kinds if kind in names):
        try:
            print(f", {name} {version(name)}", end="")
        except PackageNotFoundError:
            print(f", {name}", end="")
    print()
    results: dict[str, list[dict[str, float]]] = {kind: [] for kind in kinds}
    passed = ["--calls", str(options.calls), "--in-flight", str(options.in_flight), "--loop", options.loop]
    for _ in range(options.rounds):
        for kind in kinds:
            command = [sys.executable, __file__, "--role", "one", "--only", kind, *passed]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            results[kind].append(json.loads(done.stdout))
    medians = {}
    for kind, rounds in results.items():
        best = max(found["calls_per_second"] for found in rounds)
        middle = medians[kind] = {name: sorted(found[name] for found in rounds)[len(rounds) // 2] for name in MEDIANS}
        print(
            f"{kind:10} {best:7.0f} calls/s best {middle['calls_per_second']:7.0f} median"
            f"   CPU per call: client {middle['client_us']:6.1f} us, server {middle['server_us']:6.1f} us"
            f"   at half load: p50 {middle['p50_ms']:6.2f} ms, p99 {middle['p99_ms']:6.2f} ms"
        )
    return medians


if __name__ == "__main__":
    main()
