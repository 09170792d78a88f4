"""A configuration in a file, read again when it changes.

    file:/etc/placet/order.json?poll_ms=1000

Put a new file in the old one's place by renaming it: one that is read while it is half written is refused, and read
again a moment later.
"""

import asyncio
from collections.abc import AsyncGenerator
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from placet_rpc.chance import Chance, new_chance
from placet_rpc.clock import SYSTEM_CLOCK, Clock
from placet_rpc.configuration.opening import SourceContext
from placet_rpc.configuration.source import DOCUMENT_BYTES_MAX, POLL_MS, SourceUnavailable, Stored, polled, revision_of
from placet_rpc.url_options import take_options


class _State(NamedTuple):
    """What tells one content of a file from another without reading it."""

    inode: int
    modified_ns: int
    size: int


class FileSource:
    """Satisfies `ConfigurationSource`.

    Args:
        path: of the file; it need not exist yet.
        poll: how often a watch looks, give or take a fifth.
        clock: where time comes from.
        chance: where jitter comes from.
    """

    def __init__(
        self,
        path: Path,
        *,
        poll: timedelta = timedelta(milliseconds=POLL_MS),
        clock: Clock = SYSTEM_CLOCK,
        chance: Chance | None = None,
    ) -> None:
        self._path = path
        self._poll, self._clock, self._chance = poll, clock, chance or new_chance()
        self._known: tuple[_State, Stored] | None = None

    async def read(self) -> Stored | None:
        """Returns the file's content; None: there is no file."""
        try:
            return await asyncio.to_thread(self._read)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise SourceUnavailable(f"{self._path} can't be read: {error.strerror}") from None

    def watch(self) -> AsyncGenerator[Stored | None, None]:
        """Yields the file's content each time that it has looked."""
        return polled(self.read, clock=self._clock, chance=self._chance, poll=self._poll)

    async def aclose(self) -> None:
        """Nothing is to be closed."""

    def _read(self) -> Stored:
        found = self._path.stat()
        state = _State(found.st_ino, found.st_mtime_ns, found.st_size)
        if self._known is not None and self._known[0] == state:
            return self._known[1]
        with self._path.open("rb") as file:
            document = file.read(DOCUMENT_BYTES_MAX + 1)
        stored = Stored(revision_of(document), document, changed_at_ms=found.st_mtime_ns // 1_000_000)
        self._known = (state, stored)
        return stored


def open_file(url: str, context: SourceContext) -> FileSource:
    """Opens `file:/PATH`."""
    parts = urlsplit(url)
    if parts.netloc or not parts.path.startswith("/"):
        raise ValueError(f"{url!r} names no file: write file:/path/to/configuration.json")
    _, options = take_options(url, {"poll_ms": POLL_MS}, "configuration")
    poll = timedelta(milliseconds=options["poll_ms"])
    return FileSource(Path(parts.path), poll=poll, clock=context.clock, chance=context.chance)
