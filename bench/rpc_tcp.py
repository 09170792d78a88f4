"""Calls per second and CPU per call of the TCP transport, beside others: client and server one process each.

    .venv/bin/python bench/rpc_tcp.py [--calls 60000] [--in-flight 64] [--loop uvloop|asyncio] [--only tcp,grpcio]

150 bytes each way. grpcio and aiohttp are measured where they are installed (dependency group `bench`); both speak to
the least server that there is: grpcio to its own aio server, HTTP clients to a protocol with a constant answer. CPU is
read from the processes themselves. `tcp` is a target as the
coordinator uses it, one future per call; `tcp-typed` a proxy and an `async def` implementation.
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
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Protocol

import rpc_http
import uvloop
from rpc_http import BODY, FIELDS, RESULT

from placet_contract.service import service
from placet_rpc import HttpClient
from placet_rpc.client import Client
from placet_rpc.frames import CODEC_HTTP
from placet_rpc.server import Server
from placet_rpc.tcp import HttpCalls, TcpClient, TcpServer

Call = Callable[[], Awaitable[Any]]


def fields() -> bytes:
    return FIELDS.fill("t-0123456789", "a", "confirm", 1, 10_000, 1_790_000_000_000, 1_790_000_000_123)


@service("debit")
class Debit(Protocol):
    """The typed contender's service."""

    async def confirm(self, gid: str, amount: int, note: str) -> str:
        """Answers with a constant."""


class DebitAtOnce:
    """Its implementation."""

    async def confirm(self, gid: str, amount: int, note: str) -> str:  # noqa: ARG002 - a no-op
        """Answers with a constant."""
        return NOTE


NOTE = "y" * 109

# -- servers ---------------------------------------------------------------------------------------------------


async def serve_tcp() -> int:
    def answer(request: Any) -> None:
        request.respond(200, RESULT)

    async def app(_scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
        await send({"type": "http.response.body", "body": RESULT})

    calls = HttpCalls(app, routes=lambda _method, target: answer if target == b"/hot" else None)
    server = TcpServer({CODEC_HTTP: calls})
    await server.start()
    return server.port


async def serve_typed() -> int:
    server = Server(tcp="127.0.0.1:0")
    server.expose(Debit)(DebitAtOnce())
    await server.start()
    assert server.tcp_server is not None
    return server.tcp_server.port


async def serve_http() -> int:
    server = await asyncio.get_running_loop().create_server(rpc_http.NoOpServer, "127.0.0.1", 0, backlog=2048)
    KEPT.append(server)
    return int(server.sockets[0].getsockname()[1])


async def serve_grpcio() -> int:
    import grpc.aio  # noqa: PLC0415 - only where it is installed

    class Generic(grpc.GenericRpcHandler):  # type: ignore[misc]  # grpcio ships no types
        def service(self, _details: Any) -> Any:
            async def echo(_request: bytes, _context: Any) -> bytes:
                return RESULT

            return grpc.unary_unary_rpc_method_handler(echo)

    server = grpc.aio.server()
    server.add_generic_rpc_handlers((Generic(),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    KEPT.append(server)
    return int(port)


KEPT: list[object] = []


async def serve(kind: str) -> None:
    starts = {"tcp": serve_tcp, "typed": serve_typed, "http": serve_http, "grpcio": serve_grpcio}
    print(await starts[kind](), flush=True)
    await asyncio.get_running_loop().create_future()


# -- clients ---------------------------------------------------------------------------------------------------


async def tcp_call(port: int, stack: AsyncExitStack, path: str = "/hot") -> Call:
    client = await stack.enter_async_context(TcpClient())
    target = client.target(f"tcp://127.0.0.1:{port}{path}")
    return lambda: target.call(BODY, fields(), timeout_ms=10_000)


async def tcp_bare_call(port: int, stack: AsyncExitStack) -> Call:
    client = await stack.enter_async_context(TcpClient())
    target = client.target(f"tcp://127.0.0.1:{port}/hot")
    return lambda: target.call(BODY, timeout_ms=10_000)


async def tcp_asgi_call(port: int, stack: AsyncExitStack) -> Call:
    return await tcp_call(port, stack, "/asgi")


async def typed_call(port: int, stack: AsyncExitStack) -> Call:
    client = await stack.enter_async_context(Client(f"tcp://127.0.0.1:{port}", app="bench"))
    debit = client.reference(Debit)
    return lambda: debit.confirm("t-0123456789", 30, NOTE)


async def http_call(port: int, stack: AsyncExitStack) -> Call:
    client = await stack.enter_async_context(HttpClient())
    target = client.target(f"http://127.0.0.1:{port}/debit/confirm")
    return lambda: target.call(BODY, fields(), timeout_ms=10_000)


async def aiohttp_call(port: int, stack: AsyncExitStack) -> Call:
    import aiohttp  # noqa: PLC0415 - only where it is installed

    session = await stack.enter_async_context(aiohttp.ClientSession())
    url = f"http://127.0.0.1:{port}/debit/confirm"

    async def call() -> bytes:
        async with session.post(url, data=BODY, headers={"placet-gid": "t-0123456789"}) as reply:
            return await reply.read()

    return call


async def httpx2_call(port: int, stack: AsyncExitStack) -> Call:
    import httpx2  # noqa: PLC0415 - only where it is installed

    client = await stack.enter_async_context(httpx2.AsyncClient())
    url = f"http://127.0.0.1:{port}/debit/confirm"
    return lambda: client.post(url, content=BODY, headers={"placet-gid": "t-0123456789"})


async def grpcio_call(port: int, stack: AsyncExitStack) -> Call:
    import grpc.aio  # noqa: PLC0415 - only where it is installed

    channel = await stack.enter_async_context(grpc.aio.insecure_channel(f"127.0.0.1:{port}"))
    method = channel.unary_unary("/debit/confirm")
    return lambda: method(BODY)


KINDS: dict[str, tuple[str, str, Callable[[int, AsyncExitStack], Awaitable[Call]], float]] = {
    # name: server, library, client, share of the calls (the slow ones need not make them all)
    "tcp": ("tcp", "msgspec", tcp_call, 1),
    "tcp-bare": ("tcp", "msgspec", tcp_bare_call, 1),
    "tcp-asgi": ("tcp", "msgspec", tcp_asgi_call, 1),
    "tcp-typed": ("typed", "msgspec", typed_call, 1),
    "http": ("http", "httptools", http_call, 1),
    "aiohttp": ("http", "aiohttp", aiohttp_call, 0.3),
    "httpx2": ("http", "httpx2", httpx2_call, 0.05),
    "grpcio": ("grpcio", "grpc", grpcio_call, 0.2),
}


def cpu_seconds(pid: int) -> float:
    stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(stat[11]) + int(stat[12])) / os.sysconf("SC_CLK_TCK")


async def drive(call: Call, calls: int, in_flight: int) -> None:
    async def caller() -> None:
        for _ in range(calls // in_flight):
            await call()

    await asyncio.gather(*(caller() for _ in range(in_flight)))


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
    return {
        "kind": kind,
        "in_flight": options.in_flight,
        "calls_per_second": round(calls / wall),
        "client_us": round(cpu / calls * 1e6, 1),
        "server_us": round(server_cpu / calls * 1e6, 1),
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


def run_all(options: argparse.Namespace) -> None:
    """Every contender in processes of its own, in turns, so that a noisy minute hits all; prints medians."""
    kinds = [kind for kind in options.only.split(",") if importlib.util.find_spec(KINDS[kind][1])]
    names = {"grpcio": "grpcio", "aiohttp": "aiohttp", "httpx2": "httpx2", "tcp": "uvloop"}
    print(f"{platform.machine()}, {os.cpu_count()} CPUs, Python {platform.python_version()}, {options.loop}", end="")
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
    for kind, rounds in results.items():
        best = max(found["calls_per_second"] for found in rounds)
        middle = {
            name: sorted(found[name] for found in rounds)[len(rounds) // 2]
            for name in ("calls_per_second", "client_us", "server_us")
        }
        print(
            f"{kind:9} {options.in_flight:4d} callers  {best:7.0f} calls/s best"
            f"  {middle['calls_per_second']:7.0f} median"
            f"   CPU per call: client {middle['client_us']:6.1f} us  server {middle['server_us']:6.1f} us"
        )


if __name__ == "__main__":
    main()
