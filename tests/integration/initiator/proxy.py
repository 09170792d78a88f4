"""A proxy between an HTTP client and a server that knows where requests begin and answers end, and loses them."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from enum import Enum, auto
from typing import Self
from urllib.parse import urlsplit


class Fate(Enum):
    """What becomes of one exchange."""

    PASSED = auto()
    REQUEST_LOST = auto()
    ANSWER_LOST = auto()


Decide = Callable[[str], Fate]
"""From a request's line, such as `POST /v1/transactions HTTP/1.1`, to its fate."""


class Proxy:
    """Passes whole requests and answers on, and cuts the client's connection in place of what it loses.

    Attributes:
        decide: what becomes of the next requests.
        lines: the request lines that came in.
        before_loss: awaited before a request is lost, or after the server has given the answer that is.
    """

    def __init__(self, url: str) -> None:
        self.pass_to(url)
        self._tasks: set[asyncio.Task[None]] = set()
        self.decide: Decide = lambda _line: Fate.PASSED
        self.lines: list[str] = []
        self.before_loss: Callable[[], Awaitable[None]] | None = None

    async def __aenter__(self) -> Self:
        self._listener = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._listener.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_error: object) -> None:
        self._listener.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def pass_to(self, url: str) -> None:
        """Passes requests on to this server from now on, as a balancer does that takes another node."""
        self._host, self._port = urlsplit(url).hostname, urlsplit(url).port

    def lose(self, word: str, fate: Fate, times: int = 1_000_000) -> None:
        """Loses the next exchanges whose request line holds the word."""
        left = times

        def decide(line: str) -> Fate:
            nonlocal left
            if word not in line or left == 0:
                return Fate.PASSED
            left -= 1
            return fate

        self.decide = decide

    def seen(self, word: str) -> int:
        """Returns how many request lines held the word."""
        return sum(word in line for line in self.lines)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        with suppress(OSError, EOFError, asyncio.CancelledError):
            while await self._exchange(reader, writer):
                pass
        self._tasks.discard(task)
        writer.transport.abort()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        request = await _message(reader)
        line = request.partition(b"\r\n")[0].decode()
        self.lines.append(line)
        fate = self.decide(line)
        if fate is Fate.REQUEST_LOST:
            return await self._lose()
        to_reader, to_writer = await asyncio.open_connection(self._host, self._port)
        try:
            to_writer.write(request)
            answer = await _message(to_reader)
        finally:
            to_writer.transport.abort()
        if fate is Fate.ANSWER_LOST:
            return await self._lose()
        writer.write(answer)
        await writer.drain()
        return True

    async def _lose(self) -> bool:
        if self.before_loss is not None:
            await self.before_loss()
        return False


async def _message(reader: asyncio.StreamReader) -> bytes:
    """Reads one request or answer; those of these tests say their length."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(
        (line.split(b":")[1] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length")), 0
    )
    return head + await reader.readexactly(int(length))
