"""A raw HTTP server that answers by script, as coordinator and as participant, and breaks connections where told."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import pytest

from placet.client import Client

PROBLEMS = "https://placet.dev/problems/"
HEAD_BYTES_MAX = 1_048_576


@dataclass(frozen=True)
class Request:
    """What the server read, and when."""

    method: str
    path: str
    headers: dict[str, str]
    body: Any
    at: float

    @property
    def gid(self) -> str:
        return self.path.split("/")[3]


@dataclass(frozen=True)
class Answer:
    """What the server does with a request: reply, reply by half, cut the connection, or say nothing.

    `after` holds the reply back until the event is set.
    """

    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    cut: bool = False
    half: bool = False
    hang: bool = False
    after: asyncio.Event | None = None

    def encode(self) -> bytes:
        raw = self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()
        fields = {"content-type": "application/json", "content-length": str(len(raw)), **self.headers}
        lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        return f"HTTP/1.1 {self.status} X\r\n{lines}\r\n".encode() + raw


LOST = Answer(cut=True)
HUNG = Answer(hang=True)


def held(answer: Answer, until: asyncio.Event) -> Answer:
    """The same answer, held back until the event."""
    return replace(answer, after=until)


def problem(status: int, slug: str, **members: Any) -> Answer:
    headers = members.pop("headers", {})
    return Answer(status, {"type": PROBLEMS + slug, "title": slug, "status": status, **members}, headers)


Script = Answer | Callable[[Request], Answer]


class Server:
    """Answers each request by the script of the first path ending that fits; the last answer of a script repeats."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.scripts: dict[str, list[Script]] = {}
        self.tasks: set[asyncio.Task[None]] = set()
        self.url = ""
        self.arrived = asyncio.Condition()

    def on(self, ending: str, *answers: Script) -> None:
        """Sets what requests whose `METHOD path` (without query) ends so are answered."""
        self.scripts = {ending: list(answers)} | {
            known: said for known, said in self.scripts.items() if known != ending
        }

    def sent(self, ending: str) -> list[Request]:
        return [request for request in self.requests if request.path.partition("?")[0].endswith(ending)]

    async def has(self, ending: str, count: int = 1) -> list[Request]:
        """Waits until so many requests have come."""
        async with self.arrived:
            await self.arrived.wait_for(lambda: len(self.sent(ending)) >= count)
        return self.sent(ending)

    def _answer(self, request: Request) -> Answer:
        line = f"{request.method} {request.path.partition('?')[0]}"
        for ending, script in self.scripts.items():
            if line.endswith(ending):
                answer = script.pop(0) if len(script) > 1 else script[0]
                return answer if isinstance(answer, Answer) else answer(request)
        return problem(404, "not-found")

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        self.tasks.add(task)
        try:
            while await self._exchange(reader, writer):
                pass
        except (asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError):
            pass  # the client left, or the test is over
        finally:
            self.tasks.discard(task)
            writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        first, *lines = head.strip().split("\r\n")
        method, path, _ = first.split(" ")
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
        raw = await reader.readexactly(int(headers.get("content-length", "0")))
        body = json.loads(raw) if raw else None
        request = Request(method, path, headers, body, asyncio.get_running_loop().time())
        if path != "/healthz" or any(ending.endswith("/healthz") for ending in self.scripts):
            self.requests.append(request)  # else the SDK asks beside its calls whether there is a way over TCP
        async with self.arrived:
            self.arrived.notify_all()
        answer = self._answer(request)
        if answer.after is not None:
            await answer.after.wait()
        if answer.hang:
            await reader.read()
        if answer.cut or answer.hang:
            return False
        data = answer.encode()
        writer.write(data[: len(data) // 2] if answer.half else data)
        await writer.drain()
        return not answer.half


def transaction(request: Request, status: str, code: int = 200, **members: Any) -> Answer:
    """The coordinator's word on a transaction."""
    gid = request.body["gid"] if request.path.partition("?")[0].endswith("transactions") else request.gid
    said = {"gid": gid, "pattern": "tcc", "status": status, "reason": None, "version": 1, "node": "n1"}
    return Answer(code, said | members)


def done(body: Any = None) -> Script:
    """A participant's 2xx as the SDK's own participants answer it."""
    return lambda request: Answer(200, body, {"placet-outcome": request.headers["idempotency-key"]})


async def start(stack: list[Callable[[], Awaitable[None]]], kind: type[Server] = Server) -> Server:
    server = kind()
    listener = await asyncio.start_server(server.connected, "127.0.0.1", 0, limit=HEAD_BYTES_MAX)
    server.url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"

    async def stop() -> None:
        listener.close()
        for task in tuple(server.tasks):
            task.cancel()
        await asyncio.gather(*server.tasks, return_exceptions=True)

    stack.append(stop)
    return server


@pytest.fixture
async def serve() -> AsyncIterator[Callable[..., Awaitable[Server]]]:
    """Starts scripted servers: `server = await serve()`, or one of a subclass."""
    stack: list[Callable[[], Awaitable[None]]] = []
    yield partial(start, stack)
    for stop in stack:
        await stop()


@pytest.fixture
async def coordinator(serve) -> Server:
    """A coordinator on which all goes well, unless a test scripts it otherwise."""
    server = await serve()
    server.on("/v1/transactions", lambda request: transaction(request, "active", 201))
    server.on("/branches", lambda request: transaction(request, "active"))
    server.on("/commit", lambda request: transaction(request, "committing"))
    server.on("/abort", lambda request: transaction(request, "aborting"))
    return server


@pytest.fixture
async def shop(serve) -> Server:
    """A participant whose actions all succeed, unless a test scripts it otherwise."""
    server = await serve()
    server.on("/try", done({"price": 5}))
    return server


@pytest.fixture
async def placet(coordinator, shop) -> AsyncIterator[Client]:
    """A client of the scripted coordinator, which knows the service `shop`."""
    announce(coordinator, shop=[shop])
    async with Client(coordinator.url) as client:
        yield client


def announce(coordinator: Server, **services: list[Server]) -> None:
    """Lets the coordinator know services by the servers of their instances."""
    for name, servers in services.items():
        instances = [
            {"instance_id": str(number), "base_url": server.url, "actions": {}, "lease_until": "2999-01-01T00:00:00Z"}
            for number, server in enumerate(servers)
        ]
        coordinator.on(f"GET /v1/services/{name}", Answer(200, {"service": name, "instances": instances}))


def paths(*servers: Server) -> list[str]:
    """What came in, over all servers in order of arrival: the last word of each path, without the look for nodes."""
    every = sorted((request for server in servers for request in server.requests), key=lambda request: request.at)
    words = (request.path.partition("?")[0].rsplit("/", 1)[-1] for request in every)
    return [word for word in words if word != "nodes"]
