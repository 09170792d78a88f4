"""The coordinator's side of the process that writes journal batches (decision 0018).

A thread that writes has to win the interpreter's lock back after each call into SQLite, and the event loop, which gives
it away at each write to a socket, wakes it in vain dozens of times a batch. A process has a lock of its own.
"""

import asyncio
import socket
import sys
from asyncio.subprocess import DEVNULL, Process
from collections.abc import Sequence
from contextlib import suppress
from typing import Final, cast

import msgspec

from placet_coordinator.ports.rows import Entry
from placet_coordinator.ports.store import BadData, StoreUnavailable
from placet_coordinator.store.reconnect import ReconnectPause
from placet_coordinator.store.sqlite.batch import Written
from placet_coordinator.store.sqlite.writer import LENGTH, Answer, Batch, Failed, Hits, framed

PROGRAM: Final = "placet_coordinator.store.sqlite.writer"
START_LIMIT_S: Final = 20.0
"""How long it may take to open the file."""
END_LIMIT_S: Final = 5.0
"""How long it may take to end once the socket is closed, before it is killed."""

_decode = msgspec.msgpack.Decoder(Answer).decode


class WriterProcess:
    """Starts the process, again if it has died, and hands it one batch at a time.

    Args:
        path: the file.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._process: Process | None = None
        self._link = _Link()
        self._pause = ReconnectPause()

    @property
    def id(self) -> int | None:
        """Its process id, None if it does not run."""
        return None if self._process is None else self._process.pid

    async def start(self) -> None:
        """Start it, if it does not run.

        Raises:
            StoreUnavailable: it can't be started, or can't open the file; nothing was written.
        """
        if self._link.is_open:
            return
        await self.close()
        self._pause.check()
        try:
            async with asyncio.timeout(START_LIMIT_S):
                answer = await self._started()
        except (OSError, StoreUnavailable) as error:  # a TimeoutError is an OSError
            await self.close()
            why = str(error) or f"no answer within {START_LIMIT_S:g} s"
            raise self._pause.failed(f"the process that writes to SQLite does not start: {why}") from error
        except BaseException:
            self._link.abort()
            raise
        if isinstance(answer, Failed):
            await self.close()
            raise self._pause.failed(answer.message)
        self._pause.succeeded()

    async def write(self, batch: Sequence[Entry], busy_ms: int) -> Written:
        """Write a batch in one transaction; it is durable when this returns. Raises as the store port's `write`.

        If this is cancelled, or the process dies, the batch may have been written or not.
        """
        await self.start()
        try:
            frame = framed(Batch(list(batch), busy_ms))
        except (UnicodeEncodeError, OverflowError) as error:
            raise BadData(f"a value that SQLite can't hold: {error}") from error
        try:
            answer = await self._link.ask(frame)
        except asyncio.CancelledError:
            self._link.abort()  # the answer is still to come, and would be taken for the next one's
            raise
        if isinstance(answer, Hits):
            return answer.hits, answer.statements
        raise cast("Failed", answer).error()

    async def close(self) -> None:
        """End it, after the batch that it is writing; it is gone when this returns."""
        self._link.abort()
        process, self._process = self._process, None
        if process is None:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(END_LIMIT_S):
                await process.wait()
                return
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()

    async def _started(self) -> Answer:
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                self._process = await asyncio.create_subprocess_exec(
                    *(sys.executable, "-P", "-m", PROGRAM, self._path, str(theirs.fileno())),
                    pass_fds=(theirs.fileno(),),
                    stdin=DEVNULL,
                    start_new_session=True,  # a terminal's Ctrl-C is the coordinator's
                )
                self._link = _Link()
                answer = self._link.answer()
                ours.settimeout(0)
                await asyncio.get_running_loop().create_connection(lambda: self._link, sock=ours)
            except BaseException:
                ours.close()
                raise
        return await answer


class _Link(asyncio.Protocol):
    """The socket to the process: one frame asks, one answers."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._received = bytearray()
        self._answer: asyncio.Future[Answer] | None = None

    @property
    def is_open(self) -> bool:
        """Whether the process can be asked."""
        return self._transport is not None and not self._transport.is_closing()

    def answer(self) -> "asyncio.Future[Answer]":
        """Return the answer that comes next; `StoreUnavailable` if the process dies first."""
        self._answer = asyncio.get_running_loop().create_future()
        return self._answer

    def ask(self, frame: bytes) -> "asyncio.Future[Answer]":
        """Send a frame, and return its answer."""
        answer = self.answer()
        cast("asyncio.Transport", self._transport).write(frame)
        return answer

    def abort(self) -> None:
        """Close it: the process sees that, and ends."""
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Take a part of an answer, and tell it once it is whole."""
        self._received += data
        if len(self._received) < LENGTH.size:
            return
        end = LENGTH.size + LENGTH.unpack_from(self._received)[0]
        if len(self._received) < end:
            return
        body = bytes(self._received[LENGTH.size : end])
        del self._received[:end]
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(_decode(body))

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell whoever waits that no answer comes: what was asked may be done, or not."""
        if self._answer is not None and not self._answer.done():
            why = f": {exc}" if exc else ""
            error = StoreUnavailable(f"the process that writes to SQLite has ended{why}", wrote_nothing=False)
            self._answer.set_exception(error)
