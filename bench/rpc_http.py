"""The client CPU that one HTTP call costs, against a no-op server in a process of its own.

    .venv/bin/python bench/rpc_http.py [--calls 60000] [--in-flight 1,16,64,256] [--loop uvloop|asyncio]

Sends a POST with a body of 150 bytes and the header fields of a branch call; the reply is 150 bytes of JSON. Prints
calls per second and microseconds of this process's CPU per call, for the future form and the completion form.
"""

import argparse
import asyncio
import os
import platform
import resource
import subprocess
import sys
import time
from importlib.metadata import version

import httptools
import uvloop

from placet_rpc import HeaderTemplate, HttpClient, HttpTarget, Reply, RpcError

BODY = b'{"amount":30,"account":"alice","note":"' + b"x" * 109 + b'"}'
RESULT = b'{"result":"' + b"y" * 137 + b'"}'
OK = (
    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ndate: Tue, 24 Nov 2026 00:00:00 GMT\r\n"
    b"placet-outcome: t-0123456789/a/confirm\r\nplacet-rpc: 1\r\ncontent-length: %d\r\n\r\n%b" % (len(RESULT), RESULT)
)
FIELDS = HeaderTemplate(
    "placet-gid",
    "placet-branch",
    "placet-op",
    "placet-attempt",
    "placet-deadline-ms",
    "placet-begun-at-ms",
    "placet-time-ms",
)


class NoOpServer(asyncio.Protocol):
    """Answers every request with the same reply."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Takes the transport."""
        self.transport = transport
        self.parser = httptools.HttpRequestParser(self)

    def data_received(self, data: bytes) -> None:
        """Parses."""
        self.parser.feed_data(data)

    def on_message_complete(self) -> None:
        """Answers."""
        self.transport.write(OK)  # type: ignore[attr-defined]  # a stream transport


async def serve() -> None:
    server = await asyncio.get_running_loop().create_server(NoOpServer, "127.0.0.1", 0, backlog=2048)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


class Caller:
    """Keeps one call under way: the next is sent from the completion of the last."""

    def __init__(self, target: HttpTarget, calls: int, finished: asyncio.Future[None]) -> None:
        self.target, self.left, self.finished = target, calls, finished

    def done(self) -> bool:
        """Always waits."""
        return False

    def set_result(self, _reply: Reply) -> None:
        """Sends the next."""
        self.left -= 1
        if self.left:
            self.send()
        else:
            self.finished.set_result(None)

    def set_exception(self, error: RpcError) -> None:
        """Ends the run."""
        self.finished.set_exception(error)

    def send(self) -> None:
        """Sends one call."""
        block = FIELDS.fill("t-0123456789", "a", "confirm", 1, 10_000, 1_790_000_000_000, 1_790_000_000_123)
        self.target.send(BODY, block, timeout_ms=10_000, completion=self)


async def with_completions(target: HttpTarget, calls: int, in_flight: int) -> None:
    futures = [asyncio.get_running_loop().create_future() for _ in range(in_flight)]
    for future in futures:
        Caller(target, calls // in_flight, future).send()
    await asyncio.gather(*futures)


async def with_futures(target: HttpTarget, calls: int, in_flight: int) -> None:
    async def caller() -> None:
        for _ in range(calls // in_flight):
            block = FIELDS.fill("t-0123456789", "a", "confirm", 1, 10_000, 1_790_000_000_000, 1_790_000_000_123)
            await target.call(BODY, block, timeout_ms=10_000)

    await asyncio.gather(*(caller() for _ in range(in_flight)))


async def measure(port: int, calls: int, levels: list[int]) -> None:
    async with HttpClient() as client:
        target = client.target(f"http://127.0.0.1:{port}/debit/confirm")
        for in_flight in levels:
            for form in (with_futures, with_completions):
                await form(target, max(in_flight, calls // 20), in_flight)  # opens the connections
                cpu, wall = time.process_time(), time.perf_counter()
                await form(target, calls, in_flight)
                cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
                figures = f"{calls / wall:7.0f} calls/s  {cpu / calls * 1e6:5.1f} us CPU per call"
                print(f"{in_flight:4d} in flight  {form.__name__:17}  {figures}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("role", nargs="?", choices=["run", "server"], default="run")
    parser.add_argument("--calls", type=int, default=60_000)
    parser.add_argument("--in-flight", default="1,16,64,256")
    parser.add_argument("--loop", choices=["uvloop", "asyncio"], default="uvloop")
    options = parser.parse_args()
    factory = uvloop.new_event_loop if options.loop == "uvloop" else asyncio.new_event_loop
    with asyncio.Runner(loop_factory=uvloop.new_event_loop if options.role == "server" else factory) as runner:
        if options.role == "server":
            runner.run(serve())
            return
        server = subprocess.Popen([sys.executable, __file__, "server"], stdout=subprocess.PIPE, text=True)
        try:
            port = int(server.stdout.readline())  # type: ignore[union-attr]  # it is a pipe
            libraries = ", ".join(f"{name} {version(name)}" for name in ("httptools", "uvloop"))
            print(f"{platform.machine()}, {os.cpu_count()} CPUs, Python {platform.python_version()}, {libraries}")
            print(f"client's loop: {options.loop}")
            runner.run(measure(port, options.calls, [int(level) for level in options.in_flight.split(",")]))
            print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")
        finally:
            server.terminate()
            server.wait()


if __name__ == "__main__":
    main()
