"""A TCP proxy between a store and its server that loses answers or requests, or changes them, when told to."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Self
from urllib.parse import urlsplit


class Proxy:
    """Passes bytes on, until told otherwise; an async context manager.

    Attributes:
        loses_answers: what the server says from now on is dropped.
        loses_requests: what the client says from now on is dropped.
        answers_flow: while it is not set, nothing of what the server says is taken from it.
        refuses: new connections are closed at once.
        rewrites: what the client says is passed on as this makes it.
    """

    def __init__(self, url: str) -> None:
        self._parts = urlsplit(url)
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self.loses_answers = self.loses_requests = self.refuses = False
        self.rewrites: Callable[[bytes], bytes] | None = None
        self.answers_flow = asyncio.Event()
        self.answers_flow.set()
        self.got_request = asyncio.Event()
        """Set when a request was dropped."""

    @property
    def port(self) -> int:
        """Where it listens, on loopback."""
        assert self._server is not None
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    @property
    def url(self) -> str:
        """The database's URL by way of the proxy."""
        user = self._parts.netloc.rpartition("@")[0]
        return self._parts._replace(netloc=f"{user}@127.0.0.1:{self.port}").geturl()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_error: object) -> None:
        assert self._server is not None
        self._server.close()
        self.cut()
        await asyncio.gather(*self._tasks)

    def cut(self) -> None:
        """Cut every connection, and pass bytes on again from now on."""
        for writer in self._writers:
            writer.transport.abort()
        self.loses_answers = self.loses_requests = False
        self.answers_flow.set()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.refuses:
            writer.transport.abort()
            return
        to_reader, to_writer = await asyncio.open_connection(self._parts.hostname, self._parts.port)
        self._writers |= {writer, to_writer}
        for one, other, is_answer in ((reader, to_writer, False), (to_reader, writer, True)):
            task = asyncio.create_task(self._pass_on(one, other, is_answer=is_answer))
            self._tasks.add(task)

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, is_answer: bool) -> None:
        with suppress(OSError):
            while data := await reader.read(65_536):
                if is_answer:
                    await self.answers_flow.wait()
                if is_answer and self.loses_answers:
                    continue
                if not is_answer and self.loses_requests:
                    self.got_request.set()
                    continue
                if not is_answer and self.rewrites is not None:
                    data = self.rewrites(data)
                writer.write(data)
                await writer.drain()
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()
