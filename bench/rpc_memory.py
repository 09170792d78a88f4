"""What connections and calls weigh, and that memory stays where it is however many calls are made.

    .venv/bin/python bench/rpc_memory.py [--connections 1000] [--in-flight 1000] [--calls 1000000]

Each side is measured in a process of its own, by the bytes that Python holds for it (tracemalloc): a connection that
is idle after a call, beyond one of the same event loop whose protocol does nothing; a call under way, beyond a task of
its caller's that waits for a future. Messages have 150 bytes, which count. `transport` is a target as the coordinator
uses it, and a hot handler. `typed` is a proxy with the usual chain and statistics, and an `async def` implementation:
per connection that is what a client knows of an instance too (histograms, windows), per call the coroutines of chain
and dispatch. Last, calls go through all of `typed`, and the resident memory of both processes is read after a tenth of
them and at the end.

Promised: at most 4,096 bytes per idle connection and 2,048 per call under way; of what is typed, 4,096 bytes beyond
those of the transport; of all: flat memory (`--calls 10000000` for the whole promise). A typed server's call counts the
implementation's own coroutine and future. Exits with 1 where one is not kept: bytes do not depend on who else uses the
machine.
"""

import argparse
import asyncio
import gc
import itertools
import json
import os
import resource
import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Coroutine
from datetime import timedelta
from pathlib import Path
from typing import Any, Protocol, Self

import uvloop

from placet_contract.service import method, service
from placet_rpc.client import Client
from placet_rpc.filters import Seams
from placet_rpc.frames import CODEC_HTTP
from placet_rpc.governance.counting import CallStatistics
from placet_rpc.governance.statistics import Statistics
from placet_rpc.server import Server
from placet_rpc.tcp import HttpCalls, TcpClient, TcpServer
from placet_rpc.tcp.serving import ServerConnection

CONNECTION_BYTES_MAX = 4_096
CALL_BYTES_MAX = 2_048
GROWTH_MAX = 0.03
"""Of resident memory after the first tenth of the calls: an allocator breathes."""
CALLERS = 64
NOTE = "x" * 109
BODY = b'{"amount":30,"account":"alice","note":"' + NOTE.encode() + b'"}'
LONG = timedelta(hours=1)
LONG_MS = LONG // timedelta(milliseconds=1)


@service("debit")
class Debit(Protocol):
    """What is called."""

    @method(idempotent=True)
    async def confirm(self, gid: str, amount: int, note: str) -> str:
        """Answers at once."""

    @method(timeout=LONG)
    async def hold(self, gid: str, amount: int, note: str) -> str:
        """Never answers."""


class DebitHere:
    """Its implementation."""

    async def confirm(self, gid: str, amount: int, note: str) -> str:  # noqa: ARG002 - a no-op
        """Answers at once."""
        return NOTE

    async def hold(self, gid: str, amount: int, note: str) -> str:  # noqa: ARG002 - a no-op
        """Never answers."""
        await asyncio.get_running_loop().create_future()
        return NOTE


# -- both sides, of each kind ------------------------------------------------------------------------------------


class Side:
    """What this process keeps of connections and calls, so that they stay."""

    def __init__(self) -> None:
        self.kept: list[Any] = []
        self.number = itertools.count(1)
        self.loop = asyncio.get_running_loop()

    async def serve(self, kind: str, addresses: int) -> list[str]:
        """Listens, on so many loopback addresses: a client has one connection to each."""
        factory: Callable[[], asyncio.Protocol] = asyncio.Protocol
        if kind != "bare":
            tcp_server = await (self._typed_server() if kind == "typed" else self._bare_handlers())
            factory = lambda: ServerConnection(tcp_server)  # noqa: E731
        hosts = [f"127.1.{number // 250}.{number % 250 + 1}" for number in range(addresses)]
        servers = [await self.loop.create_server(factory, host, 0) for host in hosts]
        self.kept.append(servers)
        return ["{}:{}".format(*each.sockets[0].getsockname()) for each in servers]

    async def _typed_server(self) -> TcpServer:
        server = Server(tcp="127.0.0.1:0")
        server.expose(Debit)(DebitHere())
        await server.start()
        assert server.tcp_server is not None
        return server.tcp_server

    async def _bare_handlers(self) -> TcpServer:
        def answer(request: Any) -> None:
            request.respond(200, BODY)

        held: list[Any] = []
        routes = {b"/echo": answer, b"/hold": held.append}
        server = TcpServer({CODEC_HTTP: HttpCalls(routes=lambda _method, target: routes[target])})
        await server.start()
        return server

    def client(self, kind: str, addresses: list[str]) -> "Callable[[str], Coroutine[Any, Any, Any]]":
        """Returns what makes a call (`confirm` or `hold`) to each of the addresses in turn."""
        turn = itertools.cycle(addresses)
        if kind == "bare":
            return lambda _name: self.loop.create_connection(asyncio.Protocol, *next(turn).split(":"))
        if kind == "typed":
            statistics = CallStatistics(Statistics())
            seams = Seams(statistics=(statistics,), attempts=(statistics,))
            client = Client([f"tcp://{each}" for each in addresses], app="bench", seams=seams)
            self.kept.append(client)
            debit = client.reference(Debit, balancer="round_robin")
            return lambda name: getattr(debit, name)("t-0123456789", 30, NOTE)
        tcp_client = TcpClient()
        self.kept.append(tcp_client)

        async def call(name: str) -> None:
            path = "hold" if name == "hold" else "echo"
            await tcp_client.target(f"tcp://{next(turn)}/{path}").call(BODY, timeout_ms=LONG_MS)

        return call


class Peer:
    """The other side's process."""

    def __init__(self, *arguments: object) -> None:
        command = [sys.executable, __file__, "--role", *map(str, arguments)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.pid = self._process.pid

    async def said(self) -> list[str]:
        """Waits until it has said something, while this side's event loop runs."""
        assert self._process.stdout is not None
        return list(json.loads(await asyncio.to_thread(self._process.stdout.readline)))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self._process.kill()
        self._process.communicate()


async def stay() -> None:
    """Ends with whoever started this process."""
    await asyncio.to_thread(sys.stdin.read)


async def serve_until_killed(kind: str, addresses: int) -> None:
    side = Side()
    print(json.dumps(await side.serve(kind, addresses)), flush=True)
    await stay()


async def call_until_killed(kind: str, address: str, connections: int, held: int) -> None:
    """Opens connections, each by a client of its own, and makes calls on the last that are not answered."""
    side = Side()
    for _ in range(connections):
        call = side.client(kind, [address])
        side.kept.append(await call("confirm"))
    side.kept += [asyncio.ensure_future(call("hold")) for _ in range(held)]
    await asyncio.sleep(1)  # held calls have no sign of their arrival; they need a few milliseconds
    print(json.dumps(["done"]), flush=True)
    await stay()


# -- what they weigh ---------------------------------------------------------------------------------------------


def traced_bytes() -> int:
    gc.collect()
    return tracemalloc.get_traced_memory()[0]


async def weigh_client(kind: str, connections: int, calls: int) -> dict[str, float]:
    side = Side()
    with Peer("serve", kind, connections + 1) as peer:
        warm, *addresses = await peer.said()
        first = side.client(kind, [warm])
        side.kept.append(await first("confirm"))
        call = side.client(kind, addresses)  # what a client knows of an instance weighs too
        before = traced_bytes()
        side.kept += [await call("confirm") for _ in addresses]
        await asyncio.sleep(0.1)
        after = traced_bytes()
        found = {"connection": (after - before) / connections}
        if kind != "bare":
            own = await weigh_calls(calls, wait)
            found["call"] = await weigh_calls(calls, lambda: first("hold")) - own
    return found


async def wait() -> None:
    """What any caller has under way: a coroutine that waits."""
    await asyncio.get_running_loop().create_future()


async def weigh_calls(calls: int, make: Callable[[], Coroutine[Any, Any, Any]]) -> float:
    tasks: list[asyncio.Task[Any]] = [asyncio.ensure_future(make())]  # what only the first one brings does not count
    await asyncio.sleep(0.1)
    before = traced_bytes()
    tasks += [asyncio.ensure_future(make()) for _ in range(calls)]
    await asyncio.sleep(0.5)
    weight = (traced_bytes() - before) / calls
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await asyncio.sleep(0.1)
    return weight


async def weigh_server(kind: str, connections: int, calls: int) -> dict[str, float]:
    side = Side()
    (address,) = await side.serve(kind, 1)
    with Peer("call", kind, address, 1, 0 if kind == "bare" else 1) as warm:
        await warm.said()
        before = traced_bytes()
        with Peer("call", kind, address, connections, 0) as idle:
            await idle.said()
            found = {"connection": (traced_bytes() - before) / connections}
        if kind == "bare":
            return found
        await asyncio.sleep(0.5)  # for the server to see them gone
        before = traced_bytes()
        with Peer("call", kind, address, 1, calls) as busy:
            await busy.said()
            found["call"] = (traced_bytes() - before - found["connection"]) / calls
    return found


async def weigh(which: str, kind: str, connections: int, calls: int) -> None:
    tracemalloc.start()
    found = await (weigh_client if which == "client" else weigh_server)(kind, connections, calls)
    print(json.dumps(found), flush=True)


# -- that they leave nothing -------------------------------------------------------------------------------------


def resident_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def stays_flat(calls: int) -> bool:
    side = Side()
    with Peer("serve", "typed", 1) as peer:
        call = side.client("typed", await peer.said())

        async def caller(times: int) -> None:
            for _ in range(times):
                await call("confirm")

        early, late = {}, {}
        for share, found in ((0.1, early), (0.9, late)):
            await asyncio.gather(*(caller(int(calls * share / CALLERS)) for _ in range(CALLERS)))
            found.update(client=resident_bytes(os.getpid()), server=resident_bytes(peer.pid))
    flat = True
    for name, then in early.items():
        growth = late[name] / then - 1
        flat &= growth <= GROWTH_MAX
        sizes = [
            f"{size / 2**20:.1f} MiB after {count} calls" for size, count in ((then, calls // 10), (late[name], calls))
        ]
        print(f"{name}: {', '.join(sizes)}")
    return flat


def run_all(options: argparse.Namespace) -> bool:
    def found(which: str, kind: str) -> dict[str, float]:
        command = [sys.executable, __file__, "--role", "weigh", which, kind]
        command += [str(options.connections), str(options.in_flight)]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        return dict(json.loads(done.stdout))

    kept = True
    for which in ("client", "server"):
        beneath, below = found(which, "bare")["connection"], "the event loop's"
        for kind in ("transport", "typed"):
            weights = found(which, kind)
            idle, call = weights["connection"] - beneath, weights["call"]
            kept &= idle <= CONNECTION_BYTES_MAX and call <= CALL_BYTES_MAX
            print(
                f"{which} {kind:9}  {idle:6.0f} bytes per idle connection beyond {below:16}"
                f"  {call:6.0f} bytes per call under way",
                flush=True,
            )
            beneath, below = weights["connection"], "the transport's"
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(stays_flat(options.calls)) and kept


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--connections", type=int, default=1_000)
    parser.add_argument("--in-flight", type=int, default=1_000)
    parser.add_argument("--calls", type=int, default=1_000_000)
    parser.add_argument("--role", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    match options.role:
        case None:
            raise SystemExit(not run_all(options))
        case ["serve", kind, addresses]:
            uvloop.run(serve_until_killed(kind, int(addresses)))
        case ["call", kind, address, connections, held]:
            uvloop.run(call_until_killed(kind, address, int(connections), int(held)))
        case ["weigh", which, kind, connections, calls]:
            uvloop.run(weigh(which, kind, int(connections), int(calls)))


if __name__ == "__main__":
    main()
