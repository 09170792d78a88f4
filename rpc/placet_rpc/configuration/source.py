"""The port: where a configuration is kept, and what is read there."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from datetime import timedelta
from hashlib import sha256
from typing import Protocol

import msgspec

from placet_rpc.chance import Chance
from placet_rpc.clock import Clock

REFRESH = timedelta(seconds=5)
"""A watch says something at least so often, be it that nothing has changed."""
ASK_TIMEOUT = timedelta(seconds=3)
"""A source that does not answer within it counts as unavailable."""
POLL_MS = 1_000
"""How often a watch looks where nobody tells of changes."""
DOCUMENT_BYTES_MAX = 1024 * 1024


class SourceUnavailable(Exception):
    """The source did not answer, or will not tell this client. What it last said still holds."""


class Stored(msgspec.Struct, frozen=True):
    """A document as a source keeps it, unchecked.

    Attributes:
        revision: another one for another content; compared for equality only.
        document: the text. One that is longer than `DOCUMENT_BYTES_MAX` may be cut behind it.
        changed_by: who put it there; empty: the source does not know.
        changed_at_ms: when, in milliseconds since the epoch; None: the source does not know.
    """

    revision: str
    document: bytes
    changed_by: str = ""
    changed_at_ms: int | None = None


class ConfigurationSource(Protocol):
    """Keeps one document. One object belongs to one event loop."""

    async def read(self) -> Stored | None:
        """Returns the document as it is now; None: there is none.

        Raises:
            SourceUnavailable: nobody knows.
        """
        ...

    def watch(self) -> AsyncGenerator[Stored | None, None]:
        """Yields the document: as it is now, then after changes, and at least every `REFRESH` while nothing changes.

        Changes that come fast may be yielded as one.

        Raises:
            SourceUnavailable: from now on changes may be missed: begin another watch.
        """
        ...

    async def aclose(self) -> None:
        """Closes what the source has opened."""
        ...


def revision_of(document: bytes) -> str:
    """Returns a revision made of the content, for sources that count none."""
    return sha256(document).hexdigest()[:16]


async def polled(
    read: Callable[[], Awaitable[Stored | None]], *, clock: Clock, chance: Chance, poll: timedelta
) -> AsyncGenerator[Stored | None, None]:
    """Watches by looking again and again, give or take a fifth, so that many processes do not march in step."""
    while True:
        yield await read()
        await clock.sleep(poll.total_seconds() * chance.uniform(0.8, 1.2))
