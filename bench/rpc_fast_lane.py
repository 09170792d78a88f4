"""The server CPU that one small POST costs: a bare protocol, uvicorn with a bare ASGI app, uvicorn's fast lane.

    .venv/bin/python bench/rpc_fast_lane.py [--calls 40000] [--in-flight 64]

300 bytes in, 150 bytes of JSON out, keep-alive connections. The server's CPU is read from /proc, so Linux only.
"""

import argparse
import asyncio
import os
import platform
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import httptools
import uvicorn
import uvloop
from rpc_http import with_completions

from placet_rpc import HttpClient
from placet_rpc.http.fast_lane import fast_lane
from placet_rpc.http.hot_request import HotHandler, HotRequest

RESULT = b'{"gid":"t-0123456789","status":"committing","version":2,"pad":"' + b"x" * 85 + b'"}'
HEADERS = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(RESULT))]


class Bare(asyncio.Protocol):
    """The least that answers: no pipelining, no limits, no timeouts."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Takes the transport."""
        self.transport: Any = transport
        self.parser = httptools.HttpRequestParser(self)

    def data_received(self, data: bytes) -> None:
        """Parses."""
        self.parser.feed_data(data)

    def on_url(self, url: bytes) -> None:
        """Keeps the target."""
        self.url = url
        self.headers: list[tuple[bytes, bytes]] = []

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keeps a field."""
        self.headers.append((name, value))

    def on_body(self, part: bytes) -> None:
        """Keeps the body."""
        self.body = part

    def on_message_complete(self) -> None:
        """Answers."""
        head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: "
        self.transport.write(b"%b%d\r\n\r\n%b" % (head, len(RESULT), RESULT))


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        return
    body, more = b"", True
    while more:
        message = await receive()
        body, more = body + message["body"], message["more_body"]
    await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
    await send({"type": "http.response.body", "body": RESULT})


def answer(request: HotRequest) -> None:
    request.respond(200, RESULT)


def routes(method: bytes, target: bytes) -> HotHandler | None:
    return answer if method == b"POST" and target.startswith(b"/v1/transactions") else None


async def serve(kind: str) -> None:
    loop = asyncio.get_running_loop()
    if kind == "bare":
        server = await loop.create_server(Bare, "127.0.0.1", 0, backlog=2048)
        print(server.sockets[0].getsockname()[1], flush=True)
        await server.serve_forever()
    lane: Any = fast_lane(routes) if kind == "fast-lane" else "httptools"
    options: dict[str, Any] = {"lifespan": "off", "access_log": False, "log_config": None, "backlog": 2048}
    http = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, http=lane, **options))
    serving = loop.create_task(http.serve())
    while not http.started:  # noqa: ASYNC110 - uvicorn has no event for it
        await asyncio.sleep(0.01)
    print(http.servers[0].sockets[0].getsockname()[1], flush=True)
    await serving


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def measure(kind: str, pid: int, port: int, calls: int, in_flight: int) -> None:
    async with HttpClient() as client:
        target = client.target(f"http://127.0.0.1:{port}/v1/transactions/t-0123456789/commit")
        await with_completions(target, 2_000, in_flight)
        cpu, wall = cpu_seconds(pid), time.perf_counter()
        await with_completions(target, calls, in_flight)
        cpu, wall = cpu_seconds(pid) - cpu, time.perf_counter() - wall
    figures = f"{calls / wall:7.0f} requests/s  {cpu / calls * 1e6:5.1f} us server CPU per request"
    print(f"{kind:10} {in_flight:4d} in flight  {figures}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("role", nargs="?", choices=["run", "server"], default="run")
    parser.add_argument("kind", nargs="?", default="")
    parser.add_argument("--calls", type=int, default=40_000)
    parser.add_argument("--in-flight", type=int, default=64)
    options = parser.parse_args()
    if options.role == "server":
        uvloop.run(serve(options.kind))
        return
    libraries = ", ".join(f"{name} {version(name)}" for name in ("httptools", "uvicorn", "uvloop"))
    print(f"{platform.machine()}, {os.cpu_count()} CPUs, Python {platform.python_version()}, {libraries}")
    for kind in ("bare", "fast-lane", "uvicorn") * 2:
        command = [sys.executable, __file__, "server", kind]
        server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            port = int(server.stdout.readline())  # type: ignore[union-attr]  # it is a pipe
            uvloop.run(measure(kind, server.pid, port, options.calls, options.in_flight))
        finally:
            server.terminate()
            server.wait()


if __name__ == "__main__":
    main()
