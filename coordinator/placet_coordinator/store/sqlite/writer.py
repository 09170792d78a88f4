"""The process that writes journal batches: `python -m placet_coordinator.store.sqlite.writer FILE SOCKET`.

It reads batches from the inherited socket, writes each in one transaction, and answers. It ends when the coordinator
closes the socket, or dies: signals that a terminal or a supervisor sends to all processes are left to the coordinator,
whose last batches are still to come then.
"""

import signal
import socket
import sqlite3
import sys
from struct import Struct as Layout
from typing import IO, Final

import msgspec

from placet_coordinator.ports.rows import Entry, Row
from placet_coordinator.ports.store import BadData, StoreError, StoreUnavailable, WriteConflict
from placet_coordinator.store.sqlite import batch as batches
from placet_coordinator.store.sqlite.connection import WritingConnection

LENGTH: Final = Layout("<I")
"""What a frame begins with: the size of the rest, in bytes."""
_ITSELF: Final = {None: None}.__getitem__
_LEFT_TO_THE_COORDINATOR: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Batch(msgspec.Struct):
    """What the coordinator asks: a journal batch to be written."""

    entries: list[Entry]
    busy_ms: int


class Ready(msgspec.Struct, tag=True):
    """The file is open."""


class Hits(msgspec.Struct, tag=True):
    """The batch is durable; see the store port's `write`."""

    hits: dict[int, Row | None]
    statements: int


class Failed(msgspec.Struct, tag=True):
    """It failed, as the store's error says."""

    kind: str
    message: str
    wrote_nothing: bool = True

    def error(self) -> StoreError:
        """Return the error to raise."""
        match self.kind:
            case "WriteConflict":
                return WriteConflict(self.message)
            case "BadData":
                return BadData(self.message)
            case _:
                return StoreUnavailable(self.message, wrote_nothing=self.wrote_nothing)


Answer = Ready | Hits | Failed

_decode = msgspec.msgpack.Decoder(Batch).decode
_encode = msgspec.msgpack.Encoder().encode


def framed(message: Batch | Answer) -> bytes:
    """Return a message as it is sent.

    Raises:
        UnicodeEncodeError, OverflowError: a value can't be sent, so SQLite can't hold it either.
    """
    body = _encode(message)
    return LENGTH.pack(len(body)) + body


def main(path: str, descriptor: int) -> None:
    """Serve one coordinator until it is gone."""
    for number in _LEFT_TO_THE_COORDINATOR:
        signal.signal(number, signal.SIG_IGN)
    # Of what is neither text nor a number the driver asks whether it can be adapted, by two attributes that are missing
    # (CPython 3.11, Modules/_sqlite/statement.c): a tenth of a batch. With an adapter it does not search.
    sqlite3.register_adapter(type(None), _ITSELF)
    sqlite3.register_adapter(bool, int)
    with socket.socket(fileno=descriptor) as link, link.makefile("rb") as asked:
        try:
            writer = WritingConnection(path)
        except (sqlite3.Error, StoreError) as error:
            link.sendall(framed(Failed("StoreUnavailable", f"{path}: {error}")))
            return
        link.sendall(framed(Ready()))
        while (body := _received(asked)) is not None:
            link.sendall(framed(_written(writer, body)))
        writer.connection.close()


def _received(asked: IO[bytes]) -> bytes | None:
    head = asked.read(LENGTH.size)
    if len(head) < LENGTH.size:
        return None
    (size,) = LENGTH.unpack(head)
    body = asked.read(size)
    return body if len(body) == size else None  # half a batch: the coordinator died, and nobody waits for it


def _written(writer: WritingConnection, body: bytes) -> Answer:
    try:
        batch = _decode(body)
        hits, statements = writer.run(lambda connection: batches.write(connection, batch.entries), batch.busy_ms)
    except msgspec.ValidationError as error:
        return Failed("BadData", f"a value that the table can't hold: {error}")
    except StoreError as error:
        return Failed(type(error).__name__, str(error), getattr(error, "wrote_nothing", True))
    return Hits(hits, statements)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
